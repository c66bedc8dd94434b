"""How long a publication takes on real networks, computed from their rules: no machine was asked.

The steps are those of the protocol (spec 30): both ledgers lock in parallel; what a ledger says counts elsewhere once
it is final there; the outcome is readable on a mirror when the transaction that carries it is in a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["ETHEREUM", "FABRIC", "Case", "LedgerRules", "htlc_seconds", "publication_seconds"]


class Case(Enum):
    """How lucky one is with the moment."""

    BEST = "best"
    MEAN = "mean"
    WORST = "worst"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRules:
    """Seconds, each for the best, the mean and the worst moment."""

    name: str
    inclusion: tuple[float, float, float]
    """From sending a transaction until its block is there, with room in the block."""
    finality: tuple[float, float, float]
    """From the block until it is final."""

    def included(self, case: Case) -> float:
        """See `inclusion`."""
        return self.inclusion[_PLACES[case]]

    def final(self, case: Case) -> float:
        """From sending until it is final."""
        return self.included(case) + self.finality[_PLACES[case]]


_PLACES: Final = {Case.BEST: 0, Case.MEAN: 1, Case.WORST: 2}
_SLOT: Final = 12.0
_EPOCH: Final = 32

ETHEREUM: Final = LedgerRules(
    name="Ethereum, finalized",
    inclusion=(0.0, _SLOT / 2, _SLOT),
    # A block is final with the checkpoint after it: at the end of its own epoch, which is 1 to 32 slots away, and of
    # two more.
    finality=(65 * _SLOT, (64 + (_EPOCH + 1) / 2) * _SLOT, 96 * _SLOT),
)
"""The main network and its test networks, when no slot is missed."""
FABRIC: Final = LedgerRules(name="Fabric, default batch timeout", inclusion=(0.0, 1.0, 2.0), finality=(0.0, 0.0, 0.0))
"""What is committed is final; blocks after at most 2 s, which is Fabric's default."""


def publication_seconds(home: LedgerRules, mirror: LedgerRules, case: Case) -> float:
    """Until both ledgers show it as COMMITTED at their tips, without the time of processes and lines."""
    # Home decides in a block of its own after the mirror's lock is final, and not before its own lock is there.
    decided = max(mirror.final(case), home.included(case)) + home.included(case)
    # The mirror hears of it when the outcome is final at home.
    return decided + home.finality[_PLACES[case]] + mirror.included(case)


def htlc_seconds(home: LedgerRules, mirror: LedgerRules, case: Case) -> float:
    """The same for hash time-locks: lock, lock, each final; claim, claim, each included."""
    return home.final(case) + mirror.final(case) + mirror.included(case) + home.included(case)
