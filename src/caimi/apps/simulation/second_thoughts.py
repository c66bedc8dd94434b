"""A publisher's second thoughts: models taken back, money taken out and put in again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from caimi.apps.simulation.publishers import Published, Publisher
from caimi.apps.simulation.world import World
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Funding, Revocation, Withdrawal
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call

__all__ = ["SecondThoughts"]

_LIFE_S = 60


class SecondThoughts:
    """Everything is sent straight to a registry."""

    def __init__(self, world: World, publisher: Publisher) -> None:
        self._world = world
        self._publisher = publisher
        self._rng = world.rng("second thoughts")
        self._ports = {name: world.port(name, "second thoughts") for name in world.ledgers}

    async def run(self) -> None:
        """Until the calm; a revocation goes on until it is told."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._move_money(self._world.rng("money")))
            seen = 0
            while asyncio.get_running_loop().time() < self._world.plan.calm_at:
                await asyncio.sleep(self._rng.uniform(5.0, 15.0))
                for place, published in enumerate(self._publisher.published[seen:], start=seen):
                    if self._rng.random() < self._world.plan.revokes:
                        tasks.create_task(self._take_back(published, self._world.rng(f"taking back {place}")))
                seen = len(self._publisher.published)

    async def _take_back(self, published: Published, rng: random.Random) -> None:
        world = self._world
        lanes = (published.record.home, *published.record.mirrors)
        name = rng.choice([n for n, ledger in world.ledgers.items() if ledger.lane in lanes])
        await asyncio.sleep(rng.uniform(0.0, 40.0))
        while not self._is_over(name, published):
            revocation = Revocation(
                at=world.ledgers[name].lane,
                publication=published.id,
                publisher=world.publisher.address,
                reason=1,
                nonce=Bytes32(rng.randbytes(32)),
                deadline=UnixSeconds(world.clock.now() + _LIFE_S),
            )
            await self._send(name, lambda signature, r=revocation: encode_call("revoke", r, signature), revocation)
            await asyncio.sleep(rng.uniform(2.0, 6.0))

    def _is_over(self, name: str, published: Published) -> bool:
        # A registry that never heard of it has nothing to take back.
        record = self._world.registries()[name].publications.get(published.id)
        is_late = asyncio.get_running_loop().time() > self._world.plan.calm_at
        return is_late if record is None else record.revoked

    async def _move_money(self, rng: random.Random) -> None:
        world, account = self._world, self._world.publisher.address
        while asyncio.get_running_loop().time() < world.plan.calm_at:
            await asyncio.sleep(rng.uniform(6.0, 25.0))
            name = rng.choice(list(world.ledgers))
            lane, amount = world.ledgers[name].lane, rng.randint(1, 90)
            nonce, deadline = Bytes32(rng.randbytes(32)), UnixSeconds(world.clock.now() + _LIFE_S)
            if rng.random() < 0.7:
                out = Withdrawal(
                    at=lane, account=account, recipient=account, amount=amount, nonce=nonce, deadline=deadline
                )
                await self._send(name, lambda signature, r=out: encode_call("withdraw", r, signature), out)
            else:
                back = Funding(at=lane, account=account, amount=amount, nonce=nonce, deadline=deadline)
                await self._send(name, lambda signature, r=back: encode_call("fund", r, signature), back)

    async def _send(self, name: str, call: Callable[[bytes], bytes], action: Revocation | Withdrawal | Funding) -> None:
        signature = self._world.publisher.sign(typed_digest(self._world.network, action)).to_bytes()
        try:
            await self._ports[name].send(await self._ports[name].prepare(call(signature), slot=None))
        except CaimiError as error:
            self._world.trace.note(f"publisher: {name} {type(action).__name__} {type(error).__name__}")
        else:
            self._world.trace.note(f"publisher: {name} {type(action).__name__}")
