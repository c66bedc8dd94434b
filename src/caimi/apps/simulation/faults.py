"""What goes wrong, by schedule, until the calm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import World
from caimi.simulators.processes import Process

__all__ = ["Faults"]

_KINDS: Final = 8
_WITH_INFERENCE: Final = 12


class Faults:
    """Kills processes, loses messages, breaks nodes and branches."""

    def __init__(self, world: World, validators: Sequence[ValidatorSite], hosts: Sequence[HostSite]) -> None:
        self._world = world
        self._validators = validators
        self._hosts = hosts
        self._rng = world.rng("faults")

    async def run(self) -> None:
        """Do so until the calm, then mend everything."""
        rng, calm_at = self._rng, self._world.plan.calm_at
        if self._world.has_inference and rng.random() < 0.5:
            # Key generation is over within seconds.
            rng.choice(self._validators).process.kill_at_step(rng.randint(1, 12), pause=rng.uniform(0.1, 10.0))
        while (now := asyncio.get_running_loop().time()) < calm_at:
            await asyncio.sleep(rng.uniform(0.5, 6.0))
            kind = rng.randrange(_WITH_INFERENCE if self._world.has_inference else _KINDS)
            self._world.trace.note(f"fault {kind}")
            if kind < _KINDS:
                self._break(kind, calm_at - now)
            else:
                self._break_inference(kind)
        self._mend()

    def _break(self, kind: int, left: float) -> None:
        rng, world = self._rng, self._world
        match kind:
            case 0 | 1:
                pause = rng.uniform(0.1, min(20.0, max(1.0, left)))
                self._kill(rng.choice(world.processes), pause)
            case 2:
                rng.choice([*world.nodes, *world.board_nodes]).is_up = False
            case 3:
                rng.choice(world.nodes).behind = rng.randint(1, 6)
            case 4:
                self._mend_nodes()
            case 5:
                for line in world.lines:
                    line.loss, line.delay = rng.uniform(0, 0.4), rng.uniform(0, 3.0)
            case 6:
                world.ledgers["ethereum"].reorganise(rng.randint(1, 2))
            case _:
                rng.choice(list(world.ledgers.values())).drop_pool()

    def _break_inference(self, kind: int) -> None:
        rng = self._rng
        match kind:
            case 8:
                self._world.blocks.gaps = rng.uniform(0.0, 0.8)
            case 9:
                for host in self._hosts:
                    host.runtime.failure = rng.uniform(0.0, 0.5)
            case _:
                # Of a host's steps most are those that follow a ledger: only some of these kills hit another one.
                rng.choice(self._hosts).process.kill_at_step(rng.randint(1, 8), pause=rng.uniform(0.1, 10.0))

    def _kill(self, process: Process, pause: float) -> None:
        if self._rng.random() < 0.5:
            process.kill(pause=pause)
        else:
            process.kill_at_step(self._rng.randint(1, 6), pause=pause)

    def _mend(self) -> None:
        for process in self._world.processes:
            process.spare()
        for line in self._world.lines:
            line.loss = line.delay = 0.0
        for host in self._hosts:
            host.runtime.failure = 0.0
        self._world.blocks.gaps = 0.0
        self._mend_nodes()

    def _mend_nodes(self) -> None:
        for node in self._world.nodes:
            node.is_up, node.behind = True, 0
        for node in self._world.board_nodes:
            node.is_up = True
