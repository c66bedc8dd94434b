"""Where a validator keeps its secrets and what it released; every write names the step that it persists."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from caimi.types.primitives import Bytes32, Epoch

__all__ = ["KeyStep", "KeyVault"]


class KeyStep(StrEnum):
    """Every persisted step of the key-holding part of a validator."""

    VAULT_MADE = "validator.vault-made"
    """A new vault has its salt; it holds no secret yet."""
    GENERATION_STATE = "validator.generation-state"
    """What the participant has heard, and its seed, before it says anything that follows from it."""
    SHARE_STORED = "validator.share-stored"
    """The key share of an epoch; the state of its generation is erased in the same write."""
    RELEASE_RECORDED = "validator.release-recorded"
    """The sealed partial of a lease, before it leaves: a repetition posts the same bytes."""


class KeyVault(Protocol):
    """Durable before it returns; secrets are encrypted at rest. One process at a time."""

    def generation_state(self, epoch: Epoch) -> bytes | None:
        """State of the key generation of an epoch (secret)."""
        ...

    def store_generation_state(self, step: KeyStep, epoch: Epoch, state: bytes) -> None:
        """Replace it."""
        ...

    def share(self, epoch: Epoch) -> bytes | None:
        """The encoded key share of an epoch (secret)."""
        ...

    def transcript(self, epoch: Epoch) -> Bytes32 | None:
        """Hash of the messages from which the share of an epoch came (public)."""
        ...

    def store_share(self, step: KeyStep, epoch: Epoch, share: bytes, transcript: Bytes32) -> None:
        """Store the share and erase the state of its generation."""
        ...

    def released(self, lease: Bytes32) -> bytes | None:
        """The sealed partial that was released for a lease."""
        ...

    def record_release(self, step: KeyStep, lease: Bytes32, publication: Bytes32, sealed: bytes) -> None:
        """Record a release: who may open what, and the bytes that leave."""
        ...

    def releases(self) -> int:
        """How many leases got a partial."""
        ...
