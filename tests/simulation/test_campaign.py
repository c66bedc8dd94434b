"""Many schedules: what is counted, and when a campaign fails."""

from __future__ import annotations

import pytest

from caimi.apps.simulation import campaign
from caimi.apps.simulation.campaign import Campaign, main
from caimi.apps.simulation.fault_kinds import STEPS, FaultKind, coverable
from caimi.ports.attestation_store import ValidatorStep
from caimi.ports.host_store import HostStep
from caimi.ports.key_vault import KeyStep
from caimi.ports.relay_store import RelayStep


def test_every_fault_has_to_strike_at_every_step_but_where_it_cannot() -> None:
    every = {(kind, step) for kind in FaultKind for step in (*RelayStep, *ValidatorStep, *KeyStep, *HostStep)}
    assert set(STEPS) == {step for _, step in every}
    hosts = {FaultKind.BOARD_MUTE, FaultKind.BLOCKS_MISSING, FaultKind.RUNNER_DIES, FaultKind.RUNNER_SLOW}
    without = {(kind, step) for kind in hosts for step in (RelayStep.ABANDONED, RelayStep.TAKE_OUTS_QUEUED)}
    without |= {(kind, KeyStep.VAULT_MADE) for kind in (FaultKind.REORGANISED, FaultKind.TAKEN_BACK)}
    assert coverable() == every - without


def test_a_campaign_tells_what_struck_and_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "3", "--count", "6", "--processes", "2"]) == 0
    told = capsys.readouterr().out
    assert "6 schedules, 0 broken rules" in told
    assert "process killed " in told and "publication COMMITTED " in told
    assert "direct " in told
    assert "  not met: process killed at relay.filled" in told


def test_a_campaign_of_all_schedules_fails_while_a_fault_missed_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "_ALL_HAVE_TO_BE_MET", 1)
    assert main(["--first", "3", "--count", "1", "--processes", "1"]) == 1


def test_what_is_met_is_missing_no_more() -> None:
    made = Campaign(struck=set(coverable()))
    assert made.missing == []
    made.struck.remove((FaultKind.KILLED, RelayStep.SENT))
    assert made.missing == [(FaultKind.KILLED, RelayStep.SENT)]
    assert list(made.summary())[-1] == "  not met: process killed at relay.sent"
