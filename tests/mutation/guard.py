"""Guards: lines that refuse something, and the tests that have to notice when one is gone."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

__all__ = ["THREATS", "Guard", "GuardLost", "Ledger", "mutated", "read_guards"]

_HERE: Final = Path(__file__).parent


class Ledger(Enum):
    """Where a guard is: the name of its table, and of the row in the summary."""

    MODEL = "model"
    """Python: the reference model, and the validators around it."""
    CHAINCODE = "chaincode"
    CONTRACT = "contract"

    @property
    def source(self) -> Path:
        """Folder that the files of its table are in, below the repository."""
        return Path(_SOURCES[self])


_SOURCES: Final[dict[Ledger, str]] = {
    Ledger.MODEL: ".",
    Ledger.CHAINCODE: "onchain/fabric/internal",
    Ledger.CONTRACT: "onchain/ethereum/src",
}
_EVERYWHERE: Final = (1, 3, 4, 6, 7, 9, 10, 11, 12, 15, 16, 18, 19, 21, 22, 23, 27, 28, 29)
THREATS: Final[dict[Ledger, frozenset[str]]] = {
    # Of validators: keys at rest, lying and disagreeing nodes, branches that were left.
    Ledger.MODEL: frozenset(f"T{n}" for n in (*_EVERYWHERE, 13, 24, 25, 26, 30)),
    # A contract is created by its constructor; a chaincode has to see to it that it is created once.
    Ledger.CHAINCODE: frozenset(f"T{n}" for n in (*_EVERYWHERE, 5)),
    Ledger.CONTRACT: frozenset(f"T{n}" for n in _EVERYWHERE),
}
"""The numbers of spec 90 §8 that need a guard there."""


class GuardLost(Exception):
    """A table names a text that its file does not have exactly once: the table has to follow the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One guard and its mutant."""

    ledger: Ledger
    threats: tuple[str, ...]
    says: str
    """What it sees to."""
    file: str
    text: str
    becomes: str
    tests: tuple[str, ...]
    """Each of them fails on the mutant."""


def read_guards(ledger: Ledger) -> tuple[Guard, ...]:
    """The table of a ledger, in its order."""
    rows = tomllib.loads((_HERE / f"{ledger.value}.toml").read_text(encoding="utf-8"))["guard"]
    return tuple(
        Guard(
            ledger=ledger,
            threats=tuple(row["threats"]),
            says=row["says"],
            file=row["file"],
            text=row["text"],
            becomes=row["becomes"],
            tests=tuple(row["tests"]),
        )
        for row in rows
    )


def mutated(source: str, guard: Guard) -> str:
    """The file's content without the guard.

    Raises:
        GuardLost: The text is not there exactly once.
    """
    count = source.count(guard.text)
    if count != 1:
        raise GuardLost(f"{guard.ledger.value}: {guard.says}: its text is {count} times in {guard.file}")
    return source.replace(guard.text, guard.becomes)
