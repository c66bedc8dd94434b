"""When a block counts as final: a stated depth on development chains, the chain's own tag elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DepthFinality", "Finality", "FinalizedTag"]


@dataclass(frozen=True, slots=True)
class DepthFinality:
    """Final is what lies `depth` blocks below the tip."""

    depth: int
    """Blocks, 0 or more; 0 makes the tip final."""

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ValueError("a depth is 0 or more")


@dataclass(frozen=True, slots=True)
class FinalizedTag:
    """Final is what the node's tag `finalized` names."""


Finality = DepthFinality | FinalizedTag
