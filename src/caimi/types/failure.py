"""What every error of CAIMI says: who is to blame, how surely, and what the caller may do."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

__all__ = ["Blame", "CaimiError", "Certainty", "Refusal", "Retry"]


class Blame(Enum):
    """Who made the failure."""

    CALLER = "caller"
    PUBLISHER = "publisher"
    RELAY = "relay"
    VALIDATOR = "validator"
    HOST = "host"
    NODE = "node"
    OPERATOR = "operator"
    NOBODY = "nobody"


class Certainty(Enum):
    """How surely. Nobody may be punished on a suspicion."""

    PROVEN = "proven"
    SUSPECTED = "suspected"


class Retry(Enum):
    """Whether the same call may be sent again. The exit code of the command line is `exit_code`."""

    NEVER = "never"
    AFTER = "after"
    SAFE = "safe"

    @property
    def exit_code(self) -> int:
        """2 never, 3 after something else has changed, 4 safe to repeat."""
        return {"never": 2, "after": 3, "safe": 4}[self.value]


class CaimiError(Exception):
    """Root of all typed errors."""

    blame: ClassVar[Blame] = Blame.NOBODY
    certainty: ClassVar[Certainty] = Certainty.SUSPECTED
    retry: ClassVar[Retry] = Retry.NEVER
    hint: ClassVar[str] = ""


class Refusal(CaimiError):
    """The protocol says no. Subclasses are generated from spec/errors.toml."""

    code: ClassVar[int] = 0
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.values: tuple[Any, ...] = values

    def __str__(self) -> str:
        name = type(self).__name__
        pairs = zip((a.split(" ")[1] for a in self.arguments), self.values, strict=False)
        shown = ", ".join(f"{k} {'0x' + v.hex() if isinstance(v, bytes) else v}" for k, v in pairs)
        return f"{name}: {shown}" if shown else name
