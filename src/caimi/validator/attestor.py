"""Signing checkpoints: ranges are asked for, and nothing is ever signed that contradicts what was (spec 20 §1)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.attestation_store import AttestationStore
from caimi.ports.clock import Clock
from caimi.ports.metrics import (
    CHECKPOINTS_REFUSED,
    CHECKPOINTS_SIGNED,
    LANE_CLOCK_OFFSET,
    LANE_CONDITION,
    LANE_FINAL_HEIGHT,
    LANE_HEIGHT,
    LANE_READ_AGE,
    LANE_SEQUENCE,
    SIGNING_SECONDS,
)
from caimi.ports.observer import Observer
from caimi.ports.validators import Abstains
from caimi.types.errors import CaimiError, EmptyRun, RunTooLong, WrongGeneration
from caimi.types.primitives import Address, Bytes32, Epoch, Generation, SignerIndex
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Checkpoint, Lane, Signature
from caimi.validator.lane import AttestedLane, LaneCondition, LaneStatus, SourceLane
from caimi.wire.digests import typed_digest
from caimi.wire.merkle import merkle_root

__all__ = ["MAX_RUN", "Attestor", "AttestorStatus", "Seat"]

MAX_RUN: Final = 1024
"""Longest range that is signed (spec 20 §1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A validator's place: which network, which epoch, which signer."""

    network: Bytes32
    epoch: Epoch
    signer: SignerIndex
    root: Lane
    """The registry whose word governs lanes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestorStatus:
    """What /v1/status shows."""

    address: Address
    seat: Seat
    lanes: tuple[LaneStatus, ...]


class Attestor:
    """The attesting part of a validator; a `ValidatorPort` for whoever is in its process."""

    def __init__(
        self,
        seat: Seat,
        *,
        key: SigningKey,
        sources: Sequence[SourceLane],
        store: AttestationStore,
        clock: Clock,
        observer: Observer,
        poll_seconds: float = 1.0,
    ) -> None:
        self._seat = seat
        self._key = key
        self._clock = clock
        self._observer = observer
        self._poll_seconds = poll_seconds
        self._store = store
        self._sources = {source.reader.lane: source for source in sources}
        self._lanes = {lane: self._attested(lane) for lane in self._sources}
        self._read_at = dict.fromkeys(self._lanes, clock.monotonic())

    async def run(self) -> None:
        """Follow all lanes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(self._follow(lane))

    async def turn(self) -> None:
        """Follow every lane once."""
        for lane in self._lanes:
            await self._follow_once(lane)

    def status(self) -> AttestorStatus:
        """Who this is and how its lanes are."""
        lanes = tuple(lane.status() for lane in self._lanes.values())
        return AttestorStatus(address=self._key.address, seat=self._seat, lanes=lanes)

    async def checkpoint(
        self, source: Lane, generation: Generation, first: EventSequence, last: EventSequence
    ) -> tuple[Checkpoint, Signature]:
        """Sign the root over events `first` to `last` of `source`; equal ranges give equal bytes.

        Raises:
            EmptyRun, RunTooLong, WrongGeneration: The range makes no sense here.
            NotYet: It is not final in this validator's view.
            Abstains: Sources disagree, or the lane is halted or not read here.
        """
        lane, began = self.lane(source), self._clock.monotonic()
        name = "unknown" if lane is None else lane.source.name
        try:
            signed = await self._sign(source, generation, first, last)
        except CaimiError as error:
            named = type(error).__name__ if lane is None or not isinstance(error, Abstains) else lane.condition.value
            self._observer.count(CHECKPOINTS_REFUSED, lane=name, cause=named)
            raise
        self._observer.count(CHECKPOINTS_SIGNED, lane=name)
        self._observer.observe(SIGNING_SECONDS, self._clock.monotonic() - began, lane=name)
        self._observer.step("validator.signed", lane=name, first=first, last=last)
        return signed

    def lane(self, source: Lane) -> AttestedLane | None:
        """A lane in the generation that governance gave it last; None if this validator does not read it."""
        lane = self._lanes.get(source)
        if lane is None or self._store.decision(source) == lane.decided:
            return lane
        fresh = self._lanes[source] = self._attested(source)
        self._observer.step(
            "validator.governed",
            lane=fresh.source.name,
            version=fresh.decided.version,
            generation=fresh.life.generation,
            condition=fresh.condition.value,
        )
        return fresh

    def collect(self) -> None:
        """Set the gauges of all lanes."""
        for lane in self._lanes.values():
            status, head = lane.status(), lane.head
            self._observer.gauge(LANE_HEIGHT, status.height, lane=status.name)
            self._observer.gauge(LANE_FINAL_HEIGHT, status.final_height, lane=status.name)
            self._observer.gauge(LANE_SEQUENCE, status.last_sequence, lane=status.name)
            self._observer.gauge(LANE_READ_AGE, self.unread_seconds(lane.life.lane), lane=status.name)
            if head is not None:
                self._observer.gauge(LANE_CLOCK_OFFSET, self._clock.now() - head.time, lane=status.name)
            for condition in LaneCondition:
                here = status.condition is condition
                self._observer.gauge(LANE_CONDITION, float(here), lane=status.name, condition=condition.value)

    def unread_seconds(self, lane: Lane) -> float:
        """For how long a lane of this validator was not read without an error; from its start on if it never was."""
        return self._clock.monotonic() - self._read_at[lane]

    async def _sign(
        self, source: Lane, generation: Generation, first: EventSequence, last: EventSequence
    ) -> tuple[Checkpoint, Signature]:
        if first < 1 or last < first:
            raise EmptyRun
        if last - first + 1 > MAX_RUN:
            raise RunTooLong(MAX_RUN, last - first + 1)
        lane = self.lane(source)
        if lane is None:
            raise Abstains("this validator does not read that lane")
        if generation != lane.life.generation:
            raise WrongGeneration(lane.life.generation, generation)
        async with lane.lock:
            events = await lane.attested_run(first, last)
        checkpoint = Checkpoint(
            source=source,
            generation=generation,
            epoch=self._seat.epoch,
            first_sequence=first,
            last_sequence=last,
            root=merkle_root([event.leaf for event in events]),
            height=events[-1].height,
            block_hash=events[-1].block_hash,
        )
        signature = self._key.sign(typed_digest(self._seat.network, checkpoint))
        return checkpoint, signature.as_record(self._seat.signer)

    def _attested(self, lane: Lane) -> AttestedLane:
        return AttestedLane(
            self._sources[lane],
            decided=self._store.decision(lane),
            is_root=lane == self._seat.root,
            store=self._store,
            observer=self._observer,
        )

    async def _follow_once(self, source: Lane) -> None:
        lane = self.lane(source)
        if lane is None:
            return
        await lane.follow()
        if lane.condition is LaneCondition.FOLLOWING:
            self._read_at[source] = self._clock.monotonic()

    async def _follow(self, lane: Lane) -> None:
        while True:
            await self._follow_once(lane)
            await self._clock.sleep(self._poll_seconds)
