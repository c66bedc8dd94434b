"""What relays ask of validators."""

from __future__ import annotations

from typing import Protocol

from caimi.types.errors import Blame, CaimiError, Retry
from caimi.types.primitives import Generation, Sequence
from caimi.types.records import Checkpoint, Lane, Signature

__all__ = ["Abstains", "NotYet", "ValidatorPort", "ValidatorUnavailable"]


class ValidatorUnavailable(CaimiError):
    """The validator does not answer."""

    blame = Blame.VALIDATOR
    retry = Retry.SAFE
    hint = "the validator is asked again by itself; q of the others suffice"


class NotYet(CaimiError):
    """The range is not final in the validator's view: an answer, not a refusal."""

    retry = Retry.SAFE
    hint = "ask again when the source chain has finalised the range"


class Abstains(CaimiError):
    """The validator will not sign: its sources disagree, or the lane is halted."""

    blame = Blame.NODE
    retry = Retry.AFTER
    hint = "see the validator's /v1/status for the lane and its cause"


class ValidatorPort(Protocol):
    """One validator."""

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        """Its signed checkpoint of the range. Raises NotYet, Abstains, ValidatorUnavailable or a Refusal."""
        ...
