"""Brings a killed Anvil's state to its last block before it starts again."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from caimi.devnet.ethereum.anvil import AnvilPlan
from caimi.devnet.ethereum.block_journal import read_journal, replay, write_genesis
from caimi.devnet.ethereum.node_rpc import NodeFailed
from caimi.devnet.ethereum.state_keeper import NO_BLOCK, StateKeeper
from caimi.devnet.ports import NoFreePorts, choose_ports

__all__ = ["restore"]


def restore(plan: AnvilPlan, *, anvil: Path, log: Path) -> None:
    """Take the newest sound state and make the journaled blocks again that follow it.

    What cannot be made again is lost, as if there were no journal: the node starts in any case.
    """
    height = StateKeeper(plan).mend()
    blocks = read_journal(plan)
    with contextlib.suppress(NodeFailed, NoFreePorts, OSError):
        (port,) = choose_ports(1, order=random.Random(), taken=(plan.port,))
        if height == NO_BLOCK:
            write_genesis(plan, anvil=anvil, log=log, port=port)
        elif height is not None and blocks and blocks[-1].number > height:
            replay(plan, blocks, anvil=anvil, log=log, port=port)
