"""The lanes that a relay serves, and the budgets for sending to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caimi.ports.chain import ChainPort
from caimi.types.errors import Blame, CaimiError, Certainty, Retry
from caimi.types.primitives import Generation
from caimi.types.records import Lane

__all__ = ["RelayLane", "RelayLanes", "UnknownLane"]


class UnknownLane(CaimiError):
    """This relay does not serve that registry."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "use a relay that serves this chain and registry; see its /v1/status"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLane:
    """One registry, as a source of events and a destination of calls."""

    name: str
    port: ChainPort
    generation: Generation
    in_flight: int = 4
    """Transactions of ours that may wait on the ledger at once."""
    apart_seconds: float = 0.0
    """So long one is waited for before the next is prepared. On Fabric two of one block that change the same balance
    contradict each other, and the second is void; but one that does not come through must not stop the others."""
    batch_calls: int = 32
    """Calls packed into one transaction."""
    batch_bytes: int = 48_000
    """Bytes of calls packed into one transaction; one larger call goes alone."""
    batch_items: int = 256
    """Publications of one batch whose home this is: as many as one transaction holds."""
    run_items: int = 64
    """Events applied by one call."""

    @property
    def lane(self) -> Lane:
        """The registry."""
        return self.port.lane


class RelayLanes:
    """All lanes of a relay, by name and by (chain, registry)."""

    def __init__(self, lanes: Sequence[RelayLane]) -> None:
        self._lanes = tuple(lanes)
        self._by_lane = {lane.lane: lane for lane in self._lanes}

    def __iter__(self) -> Iterator[RelayLane]:
        return iter(self._lanes)

    def get(self, lane: Lane) -> RelayLane | None:
        """The lane, None if this relay does not serve it."""
        return self._by_lane.get(lane)

    def name(self, lane: Lane) -> str:
        """A lane's name, or its identifiers if this relay does not know it."""
        known = self._by_lane.get(lane)
        return known.name if known else f"0x{lane.chain.hex()}/0x{lane.registry.hex()}"

    def pairs(self) -> Iterator[tuple[RelayLane, RelayLane]]:
        """Every ordered pair of different lanes: (source, destination)."""
        return ((a, b) for a in self._lanes for b in self._lanes if a is not b)
