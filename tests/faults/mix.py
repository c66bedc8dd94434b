"""Publications in all four states at once, for a fault to hit, and the judgement over all of them from the ledgers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from caimi.protocol.publication import State
from caimi.sdk.connections import Connections
from caimi.sdk.direct import DirectLine
from caimi.sdk.direct_wire import DirectWire
from caimi.sdk.errors import HostOverloaded, ServiceAnswer, ServiceUnavailable, UnreadableInput
from caimi.sdk.publishing import SignedPublication
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import Kind, Lane
from caimi.wire.functions import decode_body
from tests.crash.devnet_fixture import PATIENCE_S, Devnet
from tests.crash.models import PublishedModel, Question, answered, ask
from tests.crash.publications import NOWHERE, histories, judge, settle, signed_publication, submit
from tests.faults.watch import Stage, Watch, Watched

__all__ = ["Census", "Mix"]

_PACE_S: Final = 0.8
_HOMES: Final = (("ethereum", "fabric"), ("fabric", "ethereum"))
_MOST: Final = 60

Census = Mapping[str, int]
"""How many publications are in which state."""


@dataclass(slots=True, kw_only=True)
class Mix:
    """Publications on their way in both directions, and questions to a model that is served."""

    devnet: Devnet
    model: PublishedModel
    watch: Watch
    line: DirectLine
    others: tuple[Connections, ...] = ()
    """Of further relays, which get every publication too."""
    expected: dict[PublicationId, State] = field(default_factory=dict[PublicationId, State])
    questions: list[Question] = field(default_factory=list[Question])
    _replaced: dict[Bytes32, Question] = field(default_factory=dict[Bytes32, Question])
    _publishing: list[asyncio.Task[Watched]] = field(default_factory=list[asyncio.Task[Watched]])
    _homes: Iterator[tuple[str, str]] = field(default_factory=lambda: itertools.cycle(_HOMES))

    @staticmethod
    @asynccontextmanager
    async def begun(devnet: Devnet, model: PublishedModel, *, relays: tuple[str, ...] = ()) -> AsyncGenerator[Mix]:
        """A mix that is watched while the block runs.

        Arguments:
            relays: addresses of further ones.
        """
        watch, token = Watch(devnet), devnet.ledgers.folder.token.read_text().strip()
        others = tuple(Connections(replace(devnet.network, relay_url=url), token=token) for url in relays)
        wire = DirectWire(devnet.network.host_url or "", connections=1)
        line = DirectLine(devnet.connections, devnet.accounts["consumer"], wire)
        try:
            async with watch.running():
                yield Mix(devnet=devnet, model=model, watch=watch, line=line, others=others)
        finally:
            await wire.close()
            for other in others:
                await other.close()

    async def publish(self, home: str, mirror: str, *more: Lane, deadline_s: int = 900) -> Watched:
        """Hand one to the relay, again and again while that dies; with a mirror that nobody serves it is aborted."""
        signed = await signed_publication(self.devnet, home, mirror, *more, deadline_s=deadline_s)
        return await self.hand_in(signed, State.ABORTED if more else State.COMMITTED)

    async def hand_in(self, signed: SignedPublication, expected: State = State.COMMITTED) -> Watched:
        """Hand this one to the relay; it has to end like that."""
        self.expected[signed.id] = expected
        watched = self.watch.add(signed)
        await asyncio.gather(*(submit(self.devnet, signed, to=to) for to in (None, *self.others)))
        return watched

    async def publish_next(self) -> Watched:
        """One more, the homes in turn."""
        return await self.publish(*next(self._homes))

    async def fill(self) -> Census:
        """Publish until some are LOCKED, decided, carried and served at the same moment; what there is then."""
        for number in range(_MOST):
            begin = time.monotonic()
            await self.publish_next()
            census = self.census
            if number and all(census[stage.value] for stage in (Stage.LOCKED, Stage.DECIDED, Stage.CARRIED)):
                await self.answer()
                self.questions.append(await ask(self.devnet, self.model, ("fabric", "ethereum")[number % 2]))
                census = self.census
                if all(census.values()):
                    return census
            await asyncio.sleep(max(0.0, _PACE_S - (time.monotonic() - begin)))
        raise AssertionError(f"never all four at once: {self.census}")

    async def fill_aborting(self, deadline_s: int) -> None:
        """One more that stays LOCKED until its deadline."""
        await self.publish("ethereum", "fabric", NOWHERE, deadline_s=deadline_s)

    @property
    def census(self) -> Census:
        """How many are in which state now; served: questions under way to the model, which has answered before."""
        stages = (Stage.LOCKED, Stage.DECIDED, Stage.CARRIED)
        return {**{stage.value: self.watch.count(stage) for stage in stages}, "served": len(self.questions)}

    # --- the next progress

    async def lock(self, home: str) -> float:
        """Hand in a fresh one; when its lock at home was seen."""
        mirror = next(mirror for there, mirror in _HOMES if there == home)
        watched = await self.publish(home, mirror)
        await self.watch.until(lambda: watched.locked_at is not None, f"the next lock on {home}")
        return watched.locked_at or 0.0

    async def decision(self) -> float:
        """When the next change that needs a certificate was seen."""
        begin = time.monotonic()
        # Also handed to relays that are stopped: that ends when they go on.
        self._publishing.append(asyncio.create_task(self.publish_next()))
        await self.watch.until(lambda: self.watch.decided_at > begin, "the next certified change")
        return self.watch.decided_at

    async def answer(self) -> float:
        """When a direct call, made now and repeated until there is an answer, was answered rightly.

        What was asked by a registry is not timed: even with nothing wrong its answer takes until it is final there.
        """
        given = np.random.default_rng().standard_normal((3, self.model.weights.shape[0])).astype(np.float32)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                found = await self.line.ask(self.model.id, {"given": given}, deadline_s=60)
                break
            except (ServiceUnavailable, ServiceAnswer, HostOverloaded):
                assert time.monotonic() < end, "no direct answer"
        answered_at, result = time.monotonic(), found.outputs["result"]
        np.testing.assert_allclose(result, given @ self.model.weights + self.model.bias, rtol=1e-4, atol=1e-4)
        assert found.verification.is_valid
        return answered_at

    # --- the end

    async def finish(self) -> None:
        """Wait until everything has ended, and judge from the ledgers alone."""
        await asyncio.gather(*self._publishing)
        for question in self.questions:
            await self._answered(question)
        for identifier, state in self.expected.items():
            watched = self.watch.all[identifier]
            await self.watch.until(
                lambda w=watched, s=state: all(w.states.get(name) is s for name in w.names),
                f"{identifier.hex()} is {state.name} everywhere",
            )
            # Read anew: what was seen at a tip may have been taken back since.
            await settle(self.devnet, watched.signed, state)
        await judge(self.devnet, self.expected)
        await self._judge_questions()

    async def _answered(self, question: Question) -> None:
        # A host that died took its keys with it: what was sealed to them is never read, and has to be asked again.
        while question.id in self._replaced:
            question = self._replaced[question.id]
        try:
            await answered(self.devnet, question)
        except UnreadableInput:
            self._replaced[question.id] = await ask(self.devnet, self.model, question.lane)
            await self._answered(question)

    async def _judge_questions(self) -> None:
        # Asked once and answered once, at one registry; what nobody could read was never answered.
        told = await histories(self.devnet)
        counted: Counter[tuple[Kind, Bytes32]] = Counter()
        for item in (item for history in told for item in history.items):
            if item.event.kind in (Kind.REQUESTED, Kind.ANSWERED):
                kind = Kind(item.event.kind)
                counted[kind, decode_body(kind, item.event.body)[0]] += 1
        for question in (*self.questions, *self._replaced.values()):
            assert counted[Kind.REQUESTED, question.id] == 1, question.id.hex()
            assert counted[Kind.ANSWERED, question.id] == (question.id not in self._replaced), question.id.hex()
