"""What both ledgers say about publications, looked at again and again, through nodes that the faults leave alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from caimi.ports.chain import ChainReader
from caimi.protocol.publication import State
from caimi.sdk.connections import Connections
from caimi.sdk.network import FabricLane, Network
from caimi.sdk.patience import Patience
from caimi.sdk.publishing import SignedPublication
from caimi.types.errors import CaimiError
from caimi.types.primitives import PublicationId
from tests.crash.devnet_fixture import PATIENCE_S, Devnet

__all__ = ["WITNESS", "Stage", "Watch"]

WITNESS: Final = 3
"""Place of the Fabric peer that is asked; no fault hits it."""
_POLL_S: Final = 0.1
_ENDED: Final = (State.COMMITTED, State.ABORTED)


class Stage(Enum):
    """How far a publication is, by the ledgers."""

    UNKNOWN = "unknown"
    LOCKED = "locked"
    """At home; nothing is decided."""
    DECIDED = "decided"
    """At home; a mirror has not got it yet."""
    CARRIED = "carried"
    """Everywhere."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """One publication."""

    signed: SignedPublication
    names: tuple[str, ...]
    """Home first."""
    states: dict[str, State] = field(default_factory=dict[str, State])
    locked_at: float | None = None
    """When its lock at home was seen; monotonic seconds."""
    moved_at: float = 0.0
    """When its state anywhere was last seen to change."""

    @property
    def stage(self) -> Stage:
        """How far it is."""
        home, *mirrors = (self.states.get(name) for name in self.names)
        if home is None:
            return Stage.UNKNOWN
        if home is State.LOCKED:
            return Stage.LOCKED
        return Stage.CARRIED if all(state in _ENDED for state in mirrors) else Stage.DECIDED


class Watch:
    """Reads both ledgers at their tips while `running`."""

    def __init__(self, devnet: Devnet) -> None:
        self._names = {lane.lane: name for name, lane in devnet.network.lanes.items()}
        self._connections = Connections(_through_witness(devnet.network), token=None, patience=Patience(0.0))
        self.all: dict[PublicationId, Watched] = {}
        self._open: dict[PublicationId, Watched] = {}
        self.decided_at = 0.0
        """When a change that needs a certificate was last seen."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Look while the block runs."""
        looking = asyncio.create_task(self._run())
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            await self._connections.close()

    def add(self, signed: SignedPublication) -> Watched:
        """Look at this one too; at the registries that exist."""
        lanes = (signed.publication.home, *signed.publication.mirrors)
        watched = Watched(signed=signed, names=tuple(self._names[lane] for lane in lanes if lane in self._names))
        self.all[signed.id] = self._open[signed.id] = watched
        return watched

    def count(self, stage: Stage) -> int:
        """How many are so far."""
        if stage is Stage.CARRIED:
            return len(self.all) - len(self._open)
        return sum(watched.stage is stage for watched in self._open.values())

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until what was seen has this property."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            seen = {i.hex()[:8]: w.states for i, w in self._open.items()}
            assert time.monotonic() < end, f"{what}: {seen}"
            await asyncio.sleep(_POLL_S / 2)

    async def _run(self) -> None:
        while True:
            looks = [
                self._look(watched, name)
                for watched in self._open.values()
                for name in watched.names
                if watched.states.get(name) not in _ENDED
            ]
            await asyncio.gather(*looks)
            await asyncio.sleep(_POLL_S)

    async def _look(self, watched: Watched, name: str) -> None:
        reader: ChainReader = self._connections.reader(name)
        try:
            view = await reader.publication(watched.signed.id)
        except CaimiError:
            # A node that is away says nothing.
            return
        if view is None or watched.states.get(name) is view.state:
            return
        now = time.monotonic()
        watched.states[name], watched.moved_at = view.state, now
        if name == watched.names[0] and watched.locked_at is None:
            watched.locked_at = now
        if view.state in _ENDED:
            self.decided_at = now
        if watched.stage is Stage.CARRIED:
            self._open.pop(watched.signed.id, None)


def _through_witness(network: Network) -> Network:
    lanes = {
        name: replace(lane, peers=(lane.peers[WITNESS],)) if isinstance(lane, FabricLane) else lane
        for name, lane in network.lanes.items()
    }
    return replace(network, lanes=lanes)
