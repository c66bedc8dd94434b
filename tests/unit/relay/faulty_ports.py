"""Ports of simulated ledgers with one fault each; all else is passed on."""

from __future__ import annotations

import dataclasses
from typing import Any

from caimi.ports.call_errors import CallTooLarge
from caimi.ports.chain import CallStatus, ChainUnavailable, FinalEvent, NotIncluded, PreparedCall, StatusUnknown
from caimi.simulators.chain import SimulatedChain
from caimi.types.errors import WrongEpoch
from caimi.types.primitives import Sequence
from caimi.wire.functions import decode_call

__all__ = [
    "FaultyPort",
    "Forgetful",
    "HoldsOneItem",
    "LiesAtFirst",
    "LiesUntilForgotten",
    "RefusesTheEpochOnce",
    "SendsNothing",
    "Unknowing",
]


class FaultyPort:
    """Passes everything on."""

    def __init__(self, port: SimulatedChain) -> None:
        self.port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


class HoldsOneItem(FaultyPort):
    """A ledger whose transactions hold one carried event."""

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        name, arguments = decode_call(call)
        calls = arguments[0] if name == "multicall" else (call,)
        items = [len(decode_call(c)[1][1]) for c in calls if decode_call(c)[0] == "applyRun"]
        if sum(items) > 1:
            raise CallTooLarge(f"{sum(items)} items")
        return await self.port.prepare(call, slot=slot)


class RefusesTheEpochOnce(FaultyPort):
    """A registry that has just seen another validator set and then back."""

    def __init__(self, port: SimulatedChain) -> None:
        super().__init__(port)
        self.refused = 0

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        if decode_call(call)[0] == "applyRun" and self.refused == 0:
            self.refused += 1
            raise WrongEpoch(2, 1)
        return await self.port.prepare(call, slot=slot)


class LiesAtFirst(FaultyPort):
    """A node that shows a changed event until it is asked for the second time."""

    def __init__(self, port: SimulatedChain) -> None:
        super().__init__(port)
        self.answers = 0

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        events = await self.port.events(first, limit)
        if not events or self.answers:
            return events
        self.answers += 1
        event = dataclasses.replace(events[0].item.event, subject=b"\xff" * 32)
        item = dataclasses.replace(events[0].item, event=event)
        return (dataclasses.replace(events[0], item=item), *events[1:])


class LiesUntilForgotten(FaultyPort):
    """An adapter that keeps what its node once said falsely; the node has long become honest."""

    def __init__(self, port: SimulatedChain) -> None:
        super().__init__(port)
        self.kept: tuple[FinalEvent, ...] = ()
        self.answers = 0

    async def forget(self, first: Sequence) -> None:
        self.kept = tuple(event for event in self.kept if event.item.sequence < first)

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        events = await self.port.events(first, limit)
        if events and not self.answers:
            self.answers += 1
            event = dataclasses.replace(events[0].item.event, subject=b"\xff" * 32)
            item = dataclasses.replace(events[0].item, event=event)
            self.kept = (dataclasses.replace(events[0], item=item),)
        known = {event.item.sequence: event for event in self.kept}
        return tuple(known.get(event.item.sequence, event) for event in events)


class Unknowing(FaultyPort):
    """A node that never knows what became of anything."""

    async def status(self, prepared: PreparedCall) -> CallStatus:
        return StatusUnknown(because="the node has forgotten")


class Forgetful(FaultyPort):
    """A node that was started again: it says so of what it does not have any more."""

    async def status(self, prepared: PreparedCall) -> CallStatus:
        status = await self.port.status(prepared)
        return NotIncluded(is_forgotten=True) if isinstance(status, NotIncluded) else status


class SendsNothing(FaultyPort):
    """A node behind a broken line: what is sent does not arrive, `is_broken` times."""

    def __init__(self, port: SimulatedChain) -> None:
        super().__init__(port)
        self.is_broken = 1

    async def send(self, prepared: PreparedCall) -> None:
        if self.is_broken:
            self.is_broken -= 1
            raise ChainUnavailable("the line broke")
        await self.port.send(prepared)
