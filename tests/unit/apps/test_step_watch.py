"""Durable steps are counted, and what brings a workflow forward is told apart from what is only tried again."""

from __future__ import annotations

import pytest

from caimi.apps.step_watch import RELAY_PROGRESS, StepWatch
from caimi.ports.crash import NoCrash
from caimi.ports.metrics import LAST_PROGRESS, STEPS
from caimi.ports.relay_store import RelayStep
from tests.unit.relay.world import Crashed, Recorder, StepClock, Stop


def test_steps_are_counted_and_only_progress_moves_the_clock() -> None:
    clock, told = StepClock(), Recorder()
    watch = StepWatch(NoCrash(), clock=clock, observer=told, progress=RELAY_PROGRESS)
    clock.advance(5)
    watch.reached(RelayStep.RETRIED)
    watch.reached(RelayStep.PASSED)
    watch.collect()
    assert told.gauges[LAST_PROGRESS, ()] == 5
    watch.reached(RelayStep.DONE)
    clock.advance(2)
    watch.collect()
    assert told.gauges[LAST_PROGRESS, ()] == 2
    assert [labels["step"] for metric, labels in told.counts if metric is STEPS] == [
        "relay.retried",
        "relay.passed",
        "relay.done",
    ]


def test_a_crash_point_behind_it_still_kills() -> None:
    watch = StepWatch(Stop("relay.sent"), clock=StepClock(), observer=Recorder())
    with pytest.raises(Crashed):
        watch.reached("relay.sent")
