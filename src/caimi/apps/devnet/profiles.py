"""What a network can be made as: how many Fabric nodes, and who keeps the blocks. Chosen once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from caimi.devnet.fabric.network import NODES, Ordering

__all__ = ["SHAPES", "Choice", "ProfileName", "Shape", "StorageName"]

ProfileName = Literal["full", "light"]
"""`full`: nobody is trusted alone. `light`: one orderer and two organisations, for small machines."""
StorageName = Literal["embedded", "kubo"]
"""`embedded`: files of the content store. `kubo`: a Kubo node behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What somebody asks for; None is what the folder has, and the first of each for a new one."""

    profile: ProfileName | None = None
    storage: StorageName | None = None
    block_time_ms: int | None = None
    """Between Ethereum's blocks."""
    finality_depth: int | None = None
    """Blocks below Ethereum's tip."""

    def made(self) -> dict[str, Any]:
        """What is asked for, by the plan's names."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The Fabric network of a profile."""

    orderers: int
    peers: int
    ordering: Ordering
    note: str
    """What this profile does not show, "" for nothing; said by status."""


SHAPES: Final[Mapping[ProfileName, Shape]] = {
    "full": Shape(orderers=NODES, peers=NODES, ordering=Ordering.SMART_BFT, note=""),
    # Two organisations are the fewest of which f+1 = 2 different ones can endorse.
    "light": Shape(
        orderers=1,
        peers=2,
        ordering=Ordering.RAFT,
        note="profile light: one raft orderer decides the order alone, 2 organisations endorse, each peer serves two "
        "validators; no fault of an orderer or a peer is tolerated",
    ),
}
