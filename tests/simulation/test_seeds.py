"""A thousand seeds: no split outcome, no lost deposit, everything ends; and the same run finds what is planted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from caimi.apps.simulation import Plan, simulate
from caimi.crypto import quorum

SEEDS = 1_000
CHUNK = 25


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_rule_is_broken(first: int) -> None:
    for seed in range(first, first + CHUNK):
        result = simulate(seed)
        assert result.findings == (), f"seed {seed}: {result.states}"


def test_most_runs_commit_and_some_abort() -> None:
    states = [s for seed in range(40) for lane in simulate(seed).states.values() for s in lane.values()]
    assert states.count("COMMITTED") > 40
    assert states.count("ABORTED") > 10
    assert states.count("SUPERSEDED") > 5


def test_seven_validators_two_of_them_bad() -> None:
    for seed in range(20):
        assert simulate(seed, Plan(n=7, f=2, relays=2)).findings == ()


def test_finds_the_split_of_a_quorum_of_f(monkeypatch: pytest.MonkeyPatch) -> None:
    def lowered(n: int, f: int) -> int:
        return f

    monkeypatch.setattr(quorum, "quorum_size", lowered)
    found = {finding.rule for seed in range(10) for finding in simulate(seed).findings}
    assert "split" in found


def test_finds_the_split_of_a_mirror_with_a_timer() -> None:
    plan = Plan(mirrors_have_timers=True)
    found = {finding.rule for seed in range(60) for finding in simulate(seed, plan).findings}
    assert "split" in found


def test_same_seed_same_trace_in_another_process() -> None:
    script = "from caimi.apps.simulation import simulate; print([simulate(s).trace.digest() for s in (3, 4)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(salt)},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for salt in (1, 2)
    }
    assert len(traces) == 1


def test_other_seed_other_trace() -> None:
    assert simulate(3).trace.digest() != simulate(4).trace.digest()
