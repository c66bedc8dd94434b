"""One run: from the first block to the judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from caimi.apps.simulation.attackers import forge, repeat, steal_keys
from caimi.apps.simulation.consumers import Consumers
from caimi.apps.simulation.direct import DirectConsumers
from caimi.apps.simulation.direct_judgement import direct_states, judge_direct, receipts_of, wanted_directly
from caimi.apps.simulation.faults import Faults
from caimi.apps.simulation.histories import audit_ledgers
from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.judgement import bugs, judge_inference, leaks, request_states, unsettled
from caimi.apps.simulation.operators import Operators
from caimi.apps.simulation.order_judgement import judge_orders, judge_receipts_of_revoked
from caimi.apps.simulation.plan import Plan, Result
from caimi.apps.simulation.publishers import Publisher
from caimi.apps.simulation.relays import RelaySite
from caimi.apps.simulation.second_thoughts import SecondThoughts
from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import START, World
from caimi.protocol.audit import Finding
from caimi.simulators.actors import Crashed
from caimi.simulators.virtual_time import run_virtual

__all__ = ["Simulation", "simulate"]

_LOOK_EVERY: Final = 5.0


class Simulation:
    """One run."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self._world = world = World(seed, plan)
        self._validators = [ValidatorSite(world, signer) for signer in range(plan.n)]
        attesting = [validator.attesting() for validator in self._validators]
        self._relays = [RelaySite(world, f"relay-{i}", attesting) for i in range(plan.relays)]
        self._hosts = self._make_hosts()
        self._publisher = Publisher(world, self._relays, self._validators)
        self._consumers = Consumers(world, self._publisher, self._relays, self._hosts)
        self._direct = DirectConsumers(world, self._consumers, self._hosts)
        self._operators = Operators(world, self._validators)
        self._second_thoughts = SecondThoughts(world, self._publisher)
        self._faults = Faults(world, self._validators, self._hosts, self._operators)
        self._accidents: list[str] = []

    async def run(self) -> Result:
        """From the first block to the judgement."""
        world = self._world
        asyncio.get_running_loop().set_exception_handler(self._unheard)
        tasks = [asyncio.ensure_future(actor) for actor in self._actors()]
        try:
            await self._until_ended(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        findings = [*audit_ledgers(world), *judge_orders(world), *leaks(world), *bugs(world)]
        findings += [Finding("bug", "all", "loop", text) for text in self._accidents]
        if world.has_inference:
            findings += unsettled(world, self._consumers)
            findings += wanted_directly(self._direct, can_be_had=self._consumers.can_be_had())
            findings += await judge_inference(world, self._consumers, self._hosts)
            findings += judge_direct(world, self._direct, self._hosts)
            findings += judge_receipts_of_revoked(world, receipts_of(world, self._hosts))
        states = {
            name: {i.hex()[:8]: p.state.name for i, p in state.publications.items()}
            for name, state in world.registries().items()
        }
        requests = request_states(world, self._consumers)
        direct = direct_states(self._direct, self._hosts)
        return Result(
            seed=world.seed,
            findings=tuple(findings),
            states=states,
            requests=requests,
            direct=direct,
            struck=frozenset(world.struck),
            trace=world.trace,
        )

    def close(self) -> None:
        """Let go of all stores."""
        self._world.at_end.close()

    def _make_hosts(self) -> list[HostSite]:
        world = self._world
        count = world.rng("hosts").choice((1, 2)) if world.has_inference else 0
        relays = self._relays
        return [HostSite(world, f"host-{i}", relays[i % len(relays)], self._validators) for i in range(count)]

    def _actors(self) -> list[Coroutine[Any, Any, None]]:
        world = self._world
        actors: list[Coroutine[Any, Any, None]] = [world.mine(name) for name in world.ledgers]
        actors += [process.run() for process in world.processes]
        actors += [self._publisher.run(), self._second_thoughts.run(), self._operators.run()]
        actors += [self._faults.run(), forge(world), repeat(world)]
        if world.has_inference:
            actors += [self._consumers.run(), self._direct.run()]
            actors += [steal_keys(world, self._publisher, self._validators)]
        return actors

    async def _until_ended(self, tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.sleep(self._world.plan.calm_at + _LOOK_EVERY)
        while asyncio.get_running_loop().time() < self._world.plan.end_at:
            for task in tasks:
                if task.done():
                    # An actor that failed would make the rest of the run look peaceful.
                    task.result()
            if self._has_ended():
                return
            await asyncio.sleep(_LOOK_EVERY)

    def _has_ended(self) -> bool:
        world = self._world
        records = [p for state in world.registries().values() for p in state.publications.values()]
        batches = [b for state in world.registries().values() for b in state.batches.values()]
        deadlines = [*(p.deadline for p in records), *(b.latest for b in batches)]
        if world.clock.now() <= max(deadlines, default=START) or world.clock.monotonic() < world.not_before:
            return False
        if len(self._publisher.published) < world.plan.publications:
            return False
        if any(finding.rule == "unfinished" for finding in audit_ledgers(world)):
            return False
        if not world.has_inference:
            return True
        late = wanted_directly(self._direct, can_be_had=self._consumers.can_be_had())
        return not any(late) and not any(unsettled(world, self._consumers))

    def _unheard(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Tasks whose error nobody took: a write that was cut by a kill is no accident.
        error = context.get("exception")
        if not isinstance(error, Crashed):
            self._accidents.append(f"{context.get('message')}: {error!r}")


def simulate(seed: int, plan: Plan | None = None) -> Result:
    """Run one seed to its end, audit the ledgers, and judge what they cannot show."""
    simulation = Simulation(seed, plan or Plan())
    try:
        return run_virtual(simulation.run())
    finally:
        simulation.close()
