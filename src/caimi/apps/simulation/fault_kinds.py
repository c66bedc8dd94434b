"""The kinds of faults, and the steps at which they strike."""

from __future__ import annotations

from enum import Enum
from typing import Final

from caimi.ports.attestation_store import ValidatorStep
from caimi.ports.host_store import HostStep
from caimi.ports.key_vault import KeyStep
from caimi.ports.relay_store import RelayStep

__all__ = ["STEPS", "FaultKind", "coverable"]


class FaultKind(Enum):
    """What can go wrong."""

    KILLED = "process killed"
    NODE_DOWN = "node down"
    NODE_BEHIND = "node behind"
    NODE_LIES = "relay's node lies"
    LINES_BAD = "messages lost, late and doubled"
    BOARD_MUTE = "board's answers lost"
    REORGANISED = "reorganised within the depth"
    TAKEN_BACK = "final blocks taken back"
    POOL_DROPPED = "pool dropped"
    NO_BLOCKS = "no blocks for a while"
    LITTLE_ROOM = "little room in blocks"
    PAUSED = "registry paused"
    BLOCKS_MISSING = "blocks of content missing"
    RUNNER_DIES = "runner dies"
    RUNNER_SLOW = "runner slow"

    @property
    def needs_hosts(self) -> bool:
        """Whether it strikes only where there are hosts."""
        return self in _OF_HOSTS


_OF_HOSTS: Final = frozenset(
    {FaultKind.BOARD_MUTE, FaultKind.BLOCKS_MISSING, FaultKind.RUNNER_DIES, FaultKind.RUNNER_SLOW}
)


STEPS: Final = tuple(str(step) for enum in (RelayStep, ValidatorStep, KeyStep, HostStep) for step in enum)
"""Every step that a process of a simulation persists."""
_OF_BATCHES: Final = frozenset[str]({RelayStep.ABANDONED, RelayStep.TAKE_OUTS_QUEUED})
_BEFORE_BLOCKS: Final = frozenset({FaultKind.REORGANISED, FaultKind.TAKEN_BACK})


def coverable() -> frozenset[tuple[FaultKind, str]]:
    """Every fault at every step, but for what cannot be.

    Vaults are made before the first block, so that none can be taken back then; batches are published where there is no
    inference, so that hosts' faults do not meet them.
    """
    return frozenset(
        (kind, step)
        for kind in FaultKind
        for step in STEPS
        if not (kind in _BEFORE_BLOCKS and step == KeyStep.VAULT_MADE)
        and not (kind.needs_hosts and step in _OF_BATCHES)
    )
