"""What may be told of an error: of a refusal that plaintext caused, its class only (spec 60 §5)."""

from __future__ import annotations

from typing import Final

from caimi.bundle.errors import BlockRefused, BundleError
from caimi.ports.model_runtime import RuntimeRefused
from caimi.types.errors import CaimiError

__all__ = ["public_text"]

_LONGEST: Final = 500


def public_text(error: CaimiError) -> str:
    """What may be told of an error beyond its name: nothing that a plaintext wrote; at most 500 characters."""
    told_by_plaintext = isinstance(error, BundleError | RuntimeRefused) and not isinstance(error, BlockRefused)
    return error.hint if told_by_plaintext else str(error)[:_LONGEST]
