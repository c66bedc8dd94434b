"""Latency on real networks: what it consists of, and its order."""

from __future__ import annotations

import pytest

from benchmarks.finality import ETHEREUM, FABRIC, Case, LedgerRules, htlc_seconds, publication_seconds

_SLOW = LedgerRules(name="slow", inclusion=(1.0, 2.0, 3.0), finality=(10.0, 20.0, 30.0))
_QUICK = LedgerRules(name="quick", inclusion=(0.5, 0.5, 0.5), finality=(0.0, 0.0, 0.0))


def test_a_mirror_that_is_slow_is_waited_for_once() -> None:
    # its lock final, home's decision, its copy of the outcome
    assert publication_seconds(_QUICK, _SLOW, Case.MEAN) == (2.0 + 20.0) + 0.5 + 2.0


def test_a_home_that_is_slow_is_waited_for_once() -> None:
    # its lock, its decision, final, the quick copy
    assert publication_seconds(_SLOW, _QUICK, Case.WORST) == 3.0 + 3.0 + 30.0 + 0.5


def test_hash_time_locks_wait_for_both_locks() -> None:
    assert htlc_seconds(_SLOW, _QUICK, Case.BEST) == 11.0 + 0.5 + 0.5 + 1.0


@pytest.mark.parametrize(("home", "mirror"), [(ETHEREUM, FABRIC), (FABRIC, ETHEREUM)])
def test_on_ethereum_finality_is_nearly_all_of_it(home: LedgerRules, mirror: LedgerRules) -> None:
    found = [publication_seconds(home, mirror, case) for case in Case]
    assert found == sorted(found)
    assert 13 * 60 <= found[0] < found[2] <= 20 * 60
