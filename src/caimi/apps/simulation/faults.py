"""What goes wrong until the calm: by chance, and at named steps of named processes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from caimi.apps.simulation.fault_kinds import STEPS, FaultKind
from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.operators import Operators
from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import World
from caimi.ports.attestation_store import ValidatorStep
from caimi.ports.host_store import HostStep
from caimi.ports.key_vault import KeyStep
from caimi.ports.relay_store import RelayStep
from caimi.simulators.processes import Process

__all__ = ["Faults"]

_AT_STEPS: Final = 0.35
"""Probability that a step's next fault waits at its first time; else it waits for a later one."""


_BY_CHANCE: Final = (
    (FaultKind.KILLED, 20),
    (FaultKind.NODE_DOWN, 10),
    (FaultKind.NODE_BEHIND, 10),
    (FaultKind.LINES_BAD, 10),
    (FaultKind.REORGANISED, 10),
    (FaultKind.POOL_DROPPED, 10),
    (FaultKind.TAKEN_BACK, 4),
    (FaultKind.NO_BLOCKS, 2),
    (FaultKind.NODE_LIES, 3),
    (FaultKind.LITTLE_ROOM, 3),
    (FaultKind.BOARD_MUTE, 3),
    (FaultKind.BLOCKS_MISSING, 10),
    (FaultKind.RUNNER_DIES, 6),
    (FaultKind.RUNNER_SLOW, 6),
)
"""With their weights; pauses are the operators' own."""
_SELDOM: Final = frozenset[str](
    {
        RelayStep.REWOUND,
        RelayStep.RECERTIFIED,
        RelayStep.SPLIT,
        RelayStep.ABANDONED,
        RelayStep.TAKE_OUTS_QUEUED,
        RelayStep.REPRICED,
        RelayStep.FILLED,
        RelayStep.RETRIED,
        ValidatorStep.REWOUND,
        ValidatorStep.HALTED,
        KeyStep.VAULT_MADE,
        KeyStep.SHARE_STORED,
        HostStep.REWOUND,
        # Not seldom, but each answer leaves its host once.
        HostStep.SENT,
        HostStep.REFUSED,
        HostStep.EXPIRED,
    }
)
_LATE: Final = frozenset[str]({RelayStep.ABANDONED})
"""Minutes after a deadline: what strikes there is mended again."""
_LATE_S: Final = 8.0
_MENDED: Final = 10
_HOST_AT_STEP: Final = 15


class Faults:
    """Kills processes, loses messages, breaks nodes and branches."""

    def __init__(
        self, world: World, validators: Sequence[ValidatorSite], hosts: Sequence[HostSite], operators: Operators
    ) -> None:
        self._world = world
        self._validators = validators
        self._hosts = hosts
        self._operators = operators
        self._rng = world.rng("faults")
        self._kinds = tuple(
            kind
            for kind in FaultKind
            if (world.has_inference or not kind.needs_hosts)
            and (world.plan.takes_back or kind is not FaultKind.TAKEN_BACK)
        )
        self._ambushes = self._lay_ambushes()
        for process in world.processes:
            process.switch.watch = lambda step, process=process: self._reached(process, step)

    async def run(self) -> None:
        """Do so until the calm, then mend everything."""
        rng, calm_at = self._rng, self._world.plan.calm_at
        if self._world.has_inference and rng.random() < 0.5:
            # Key generation is over within seconds.
            rng.choice(self._validators).process.kill_at_step(rng.randint(1, 12), pause=rng.uniform(0.1, 10.0))
        weighted = [(kind, weight) for kind, weight in _BY_CHANCE if kind in self._kinds]
        kinds: list[FaultKind | None] = [None, *(kind for kind, _ in weighted)]
        weights = [_MENDED, *(weight for _, weight in weighted)]
        while asyncio.get_running_loop().time() < calm_at:
            await asyncio.sleep(rng.uniform(0.5, 6.0))
            (kind,) = rng.choices(kinds, weights)
            if kind is None:
                self._mend_nodes()
            elif kind is FaultKind.KILLED:
                self._kill_one()
            else:
                self.strike(kind)
            self._world.trace.note(f"fault {kind.value if kind else 'nodes mended'}")
        self._mend()

    def strike(self, kind: FaultKind) -> bool:
        """Do it now, somewhere; whether it could be done."""
        rng, world = self._rng, self._world
        match kind:
            case FaultKind.KILLED:
                self._kill(rng.choice(world.processes))
            case FaultKind.NODE_DOWN:
                rng.choice([*world.nodes, *world.board_nodes]).is_up = False
            case FaultKind.NODE_BEHIND:
                rng.choice(world.nodes).behind = rng.randint(1, 6)
            case FaultKind.NODE_LIES:
                rng.choice(world.relay_nodes).is_lying = True
            case FaultKind.LINES_BAD:
                for line in world.lines:
                    line.loss, line.delay = rng.uniform(0, 0.4), rng.uniform(0, 3.0)
            case FaultKind.BOARD_MUTE:
                rng.choice(world.board_nodes).answers = False
            case FaultKind.PAUSED:
                self._operators.want_pause(rng.choice(list(world.ledgers)))
            case FaultKind.BLOCKS_MISSING | FaultKind.RUNNER_DIES | FaultKind.RUNNER_SLOW:
                self._break_hosts(kind)
            case _:
                return self._break_ledger(kind)
        return True

    def _break_hosts(self, kind: FaultKind) -> None:
        if kind is FaultKind.BLOCKS_MISSING:
            self._world.blocks.gaps = self._rng.uniform(0.0, 0.8)
            return
        for host in self._hosts:
            if kind is FaultKind.RUNNER_DIES:
                host.runtime.failure = self._rng.uniform(0.0, 0.5)
            else:
                host.runtime.seconds = self._rng.uniform(0.0, 3.0)

    def _break_ledger(self, kind: FaultKind) -> bool:
        rng, world = self._rng, self._world
        ledger = world.ledgers["ethereum"]
        match kind:
            case FaultKind.REORGANISED:
                # Several, one after the other, do not add up to what no chain does.
                room = ledger.tip.height - ledger.promised
                if room < 1:
                    return False
                ledger.reorganise(rng.randint(1, room))
            case FaultKind.TAKEN_BACK:
                if ledger.promised < 1:
                    return False
                depth = ledger.tip.height - ledger.promised
                ledger.reorganise(depth + rng.randint(1, min(8, ledger.promised)))
            case FaultKind.NO_BLOCKS:
                # Longer than a relay waits before it sends the same transaction at a higher price.
                world.idle_until[rng.choice(list(world.ledgers))] = world.clock.monotonic() + rng.uniform(10.0, 75.0)
            case FaultKind.LITTLE_ROOM:
                # For some single calls too: they wait until there is room.
                rng.choice(list(world.ledgers.values())).room = rng.randint(700, 2_500)
            case _:
                rng.choice(list(world.ledgers.values())).drop_pool()
        return True

    # --- at steps

    def _lay_ambushes(self) -> dict[str, tuple[FaultKind, int]]:
        # The kinds take turns; some wait for a later time of their step.
        plan, rng = self._world.plan, self._world.rng("ambushes")
        turn, armed = plan.turn(self._world.seed), rng.sample(STEPS, plan.ambushes)
        return {
            step: (self._kinds[(turn + place) % len(self._kinds)], 1 if step in _SELDOM else _which(rng))
            for place, step in enumerate(STEPS)
            if step in armed or step in _SELDOM
        }

    def _reached(self, process: Process, step: str) -> None:
        kind, left = self._ambushes.get(step, (None, 0))
        is_calm = self._world.clock.monotonic() >= self._world.plan.calm_at
        if kind is None or (is_calm and step not in _LATE):
            return
        if left > 1:
            self._ambushes[step] = kind, left - 1
            return
        if kind is FaultKind.KILLED:
            process.kill_at_step(1, pause=self._rng.uniform(0.1, 20.0))
        elif not self.strike(kind):
            return
        del self._ambushes[step]
        self._world.struck.add((kind, step))
        self._world.trace.note(f"fault {kind.value} at {step}")
        if is_calm:
            asyncio.get_running_loop().call_later(_LATE_S, self._mend)

    # --- by chance

    def _kill_one(self) -> None:
        rng, world = self._rng, self._world
        if world.has_inference and rng.random() < _HOST_AT_STEP / 40:
            # Of a host's steps most are those that follow a ledger: only some of these kills hit another one.
            rng.choice(self._hosts).process.kill_at_step(rng.randint(1, 8), pause=rng.uniform(0.1, 10.0))
        elif rng.random() < 0.5:
            self._kill(rng.choice(world.processes))
        else:
            rng.choice(world.processes).kill_at_step(rng.randint(1, 6), pause=self._pause())

    def _kill(self, process: Process) -> None:
        process.kill(pause=self._pause())

    def _pause(self) -> float:
        left = self._world.plan.calm_at - self._world.clock.monotonic()
        return self._rng.uniform(0.1, min(20.0, max(1.0, left)))

    # --- the calm

    def _mend(self) -> None:
        world = self._world
        for process in world.processes:
            process.spare()
        for line in world.lines:
            line.loss = line.delay = 0.0
        for host in self._hosts:
            host.runtime.failure = host.runtime.seconds = 0.0
        world.blocks.gaps = 0.0
        world.idle_until.clear()
        self._mend_nodes()

    def _mend_nodes(self) -> None:
        for ledger in self._world.ledgers.values():
            ledger.lift_room()
        for node in self._world.nodes:
            node.is_up, node.is_lying, node.behind = True, False, 0
        for node in self._world.board_nodes:
            node.is_up = node.answers = True


def _which(rng: random.Random) -> int:
    return 1 if rng.random() < _AT_STEPS else rng.randint(2, 4)
