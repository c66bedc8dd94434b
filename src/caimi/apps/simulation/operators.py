"""Who runs the validators: they pause registries and resume them, and decide about a lane that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import EPOCH, World
from caimi.ports.attestation_store import AttestedBlock
from caimi.ports.validators import ValidatorUnavailable
from caimi.simulators.processes import ProcessDown
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Generation
from caimi.types.records import Governance, GovernanceAction, Lane, Pause, Resume, Signature
from caimi.validator.lane import LaneCondition
from caimi.validator.orders import Order
from caimi.wire.functions import encode_call

__all__ = ["Operators"]

T = TypeVar("T")
_STANDS_STILL: Final = (LaneCondition.HALTED, LaneCondition.ASTRAY)
_NAMES: Final = {Pause: "pause", Resume: "resume", Governance: "govern"}


class Operators:
    """They ask all validators for their signatures and send the order themselves, until it took effect."""

    def __init__(self, world: World, validators: Sequence[ValidatorSite]) -> None:
        self._world = world
        self._rng = world.rng("operators")
        self._validators = validators
        self._lines = [
            world.line(f"operator to {v.name}", ValidatorUnavailable, patience_s=30.0) for v in self._validators
        ]
        self._ports = {name: world.port(name, "operators") for name in world.ledgers}
        self._root = next(name for name, ledger in world.ledgers.items() if ledger.lane == world.root)
        self._wanted = dict.fromkeys(world.ledgers, False)
        self._drops = self._rng.random() < world.plan.drops

    def want_pause(self, name: str) -> None:
        """Begin to pause a registry now."""
        self._wanted[name] = True

    async def run(self) -> None:
        """Look after all registries and lanes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._world.ledgers:
                tasks.create_task(self._brake(name))
                tasks.create_task(self._change_their_mind(name))
                if name != self._root:
                    tasks.create_task(self._watch_lane(name))

    # --- brakes

    async def _change_their_mind(self, name: str) -> None:
        while self._rng.random() < self._world.plan.pauses:
            await asyncio.sleep(self._rng.uniform(5.0, 60.0))
            if not self._is_calm():
                self._wanted[name] = True

    async def _brake(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.5, 3.0))
            if self._world.registries()[name].brakes.paused:
                # Some do so too early, or with too few signatures, and again until it is resumed.
                await asyncio.sleep(self._rng.uniform(0.0, 8.0))
                await self._order(name, self._resume(name))
            elif self._wanted[name] and not (self._is_calm() and self._world.has_inference):
                self._wanted[name] = False
                await self._order(name, self._pause(name))

    async def _pause(self, name: str) -> Pause:
        brakes = await self._ports[name].brakes()
        return Pause(at=self._ports[name].lane, epoch=EPOCH, counter=brakes.counter + 1)

    async def _resume(self, name: str) -> Resume:
        brakes = await self._ports[name].brakes()
        return Resume(at=self._ports[name].lane, epoch=EPOCH, counter=brakes.counter + 1)

    # --- lanes

    async def _watch_lane(self, name: str) -> None:
        lane = self._world.ledgers[name].lane
        while True:
            await asyncio.sleep(self._rng.uniform(2.0, 6.0))
            conditions = await self._ask(lambda v: v.condition(lane))
            if not any(condition in _STANDS_STILL for condition in conditions):
                continue
            # Whoever decides looks first.
            await asyncio.sleep(self._rng.uniform(0.0, 10.0))
            await self._order(self._root, self._decision(lane))

    async def _decision(self, lane: Lane) -> Governance:
        before = await self._ports[self._root].governed(lane)
        kept = AttestedBlock(height=0, block_hash=ZERO32)
        action, generation = GovernanceAction.DROP_LANE, before.generation
        if not self._drops:
            # The lowest of what validators could keep: whoever signed less has nothing against it.
            blocks = await self._ask(lambda v: v.kept_block(lane))
            if len(blocks) < self._world.validator_set.q:
                raise ValidatorUnavailable("too few say what they could keep")
            kept = min(blocks, key=lambda block: (block.height, block.block_hash))
            action, generation = GovernanceAction.RESUME_LANE, Generation(before.generation + 1)
        return Governance(
            at=self._world.root,
            epoch=EPOCH,
            action=action,
            lane=lane,
            version=before.version + 1,
            generation=generation,
            height=kept.height,
            block_hash=kept.block_hash,
        )

    # --- signing and sending

    async def _order(self, name: str, drafting: Awaitable[Order]) -> None:
        try:
            order = await drafting
            signatures = await self._ask(lambda v: v.order(order))
            call = encode_call(_NAMES[type(order)], order, self._chosen(signatures))
            await self._ports[name].send(await self._ports[name].prepare(call, slot=None))
        except CaimiError as error:
            self._world.trace.note(f"operators: {name} {type(error).__name__}")
        else:
            self._world.trace.note(f"operators: {name} {type(order).__name__}")

    def _chosen(self, signatures: list[Signature]) -> tuple[Signature, ...]:
        # Now and then as few as suffice for a pause and for nothing else.
        ordered = sorted(signatures, key=lambda signature: signature.signer)
        return tuple(ordered[: self._world.plan.f + 1] if self._rng.random() < 0.2 else ordered)

    async def _ask(self, question: Callable[[ValidatorSite], Awaitable[T]]) -> list[T]:
        answers = await asyncio.gather(*(self._said(i, question) for i in range(len(self._validators))))
        return [answer[0] for answer in answers if answer]

    async def _said(self, index: int, question: Callable[[ValidatorSite], Awaitable[T]]) -> tuple[T, ...]:
        try:
            return (await self._lines[index].ask(lambda: question(self._validators[index])),)
        except (CaimiError, ProcessDown) as error:
            self._world.trace.note(f"operators: {self._validators[index].name} {type(error).__name__}")
            return ()

    def _is_calm(self) -> bool:
        return asyncio.get_running_loop().time() >= self._world.plan.calm_at
