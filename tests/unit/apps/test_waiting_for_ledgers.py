"""What a process waits out at its start, and what ends it."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from caimi.apps.json_observer import JsonObserver
from caimi.apps.process import when_reachable
from caimi.ports.chain import ChainUnavailable
from caimi.types.errors import CaimiError, ClockSkew, NotInitialised, WrongChain
from caimi.types.primitives import UnixSeconds


class _Clock:
    """Time passes only by waiting."""

    def __init__(self) -> None:
        self.waited = 0.0

    def now(self) -> UnixSeconds:
        return UnixSeconds(0)

    def monotonic(self) -> float:
        return self.waited

    async def sleep(self, seconds: float) -> None:
        self.waited += seconds


def _start(*failures: CaimiError) -> tuple[str, _Clock, list[str]]:
    clock, output, left = _Clock(), io.StringIO(), list(failures)

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "seat"

    found = asyncio.run(when_reachable(ask, clock=clock, observer=JsonObserver("v", output)))
    return found, clock, [json.loads(line)["error"] for line in output.getvalue().splitlines()]


def test_ledger_that_is_away_and_a_wrong_clock_are_waited_out_and_told() -> None:
    found, clock, told = _start(ChainUnavailable("away"), ClockSkew(), NotInitialised())
    assert found == "seat"
    assert told == ["ChainUnavailable", "ClockSkew", "NotInitialised"]
    assert clock.waited > 0


def test_wrong_chain_ends_the_process() -> None:
    with pytest.raises(WrongChain):
        _start(ChainUnavailable("away"), WrongChain())
