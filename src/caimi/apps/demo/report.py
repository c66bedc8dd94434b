"""What the demonstration found: the object that `caimi demo --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caimi.sdk.json_fields import hex_text
from caimi.types.primitives import Bytes32, PublicationId

__all__ = ["DemoReport", "ModelResult", "PublicationResult", "ReceiptResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationResult:
    """One publication."""

    id: PublicationId
    name: str
    home: str
    mirrors: tuple[str, ...]
    states: Mapping[str, str]
    """By lane, asked of the ledgers themselves."""
    expected: Mapping[str, str]
    deposit_is_right: bool
    """Whether home holds the deposit exactly if the outcome is COMMITTED."""
    seconds: float
    """From handing it to the relay until every ledger had the outcome."""

    @property
    def is_as_expected(self) -> bool:
        """Whether all states are the expected ones and the deposit is where it belongs."""
        return self.states == self.expected and self.deposit_is_right

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "id": hex_text(self.id),
            "name": self.name,
            "home": self.home,
            "mirrors": list(self.mirrors),
            "states": dict(self.states),
            "expected": dict(self.expected),
            "deposit_is_right": self.deposit_is_right,
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """One model's answers against onnxruntime in this process."""

    name: str
    matches_local: bool
    """Same label on every input, and no logit off by more than 1e-5 of the largest."""
    accuracy: float | None
    """On held-out inputs; None for a model with generated weights."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"name": self.name, "matches_local": self.matches_local, "accuracy": self.accuracy}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptResult:
    """One receipt, verified offline and against the registry."""

    id: Bytes32
    requested_on: str
    verified: bool
    verdicts: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "id": hex_text(self.id),
            "requested_on": self.requested_on,
            "verified": self.verified,
            "verdicts": dict(self.verdicts),
        }


@dataclass(slots=True, kw_only=True)
class DemoReport:
    """Filled as the demonstration goes on."""

    publications: list[PublicationResult] = field(default_factory=list[PublicationResult])
    models: list[ModelResult] = field(default_factory=list[ModelResult])
    receipts: list[ReceiptResult] = field(default_factory=list[ReceiptResult])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """By phase."""
    is_complete: bool = False
    """Whether everything was done."""
    balances_match: bool = False
    """Whether the publisher's balances changed by exactly the deposits of what was committed."""
    block_interval_s: dict[str, float] = field(default_factory=dict[str, float])
    """By lane: mean time between the blocks of this run; Fabric makes blocks only when there is something to order."""
    pss_bytes: int | None = None
    """Memory of all processes of the devnet at the end, shared pages by share; None where the system does not tell."""
    home: str | None = None
    """State folder, if it was kept."""

    @property
    def is_as_expected(self) -> bool:
        """Whether everything came out as it has to."""
        return (
            self.is_complete
            and self.balances_match
            and all(publication.is_as_expected for publication in self.publications)
            and all(model.matches_local for model in self.models)
            and all(receipt.verified for receipt in self.receipts)
        )

    def to_json(self) -> dict[str, Any]:
        """The whole object."""
        return {
            "ok": self.is_as_expected,
            "publications": [publication.to_json() for publication in self.publications],
            "models": [model.to_json() for model in self.models],
            "receipts": [receipt.to_json() for receipt in self.receipts],
            "balances_match": self.balances_match,
            "seconds": {phase: round(seconds, 2) for phase, seconds in self.seconds.items()},
            "block_interval_s": {lane: round(seconds, 3) for lane, seconds in self.block_interval_s.items()},
            "pss_mb": None if self.pss_bytes is None else round(self.pss_bytes / 1e6, 1),
            "attestation": "UNATTESTED",
            "home": self.home,
        }
