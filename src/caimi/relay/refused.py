"""Why an attempt at a call failed, as a thing to act upon: code, class, culprit, next step (spec 00 §5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from caimi.ports import call_errors
from caimi.ports.relay_store import CallRow
from caimi.types.failure import Blame, CaimiError, Certainty, Refusal, Retry
from caimi.types.refusals import BY_NAME

__all__ = ["CallLost", "CallProblem", "CallReverted", "problem_of_call"]


class CallReverted(CaimiError):
    """A ledger included a transaction whose call its registry then refused, though it had taken it before."""

    retry = Retry.AFTER
    hint = "see the cause; what has changed meanwhile is in the steps"


class CallLost(CaimiError):
    """Another transaction took the place of this one, or its time has passed; its call was not tried."""

    blame = Blame.RELAY
    retry = Retry.SAFE
    hint = "nothing: it is sent again by itself; see that no other program uses the relay's account"


_IN_PORTS: Final = [cast("type[CaimiError]", getattr(call_errors, name)) for name in call_errors.__all__]
_OUTSIDE_OF_THE_TABLE: Final = {kind.__name__: kind for kind in (*_IN_PORTS, CallReverted, CallLost)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProblem:
    """What the last failed attempt at a call said."""

    error: str
    """Name of the class: of spec/errors.toml, of `caimi.ports.call_errors`, or what a ledger called it."""
    code: int | None
    """Of spec/errors.toml; None for what is not in it."""
    blame: Blame
    certainty: Certainty
    retry: Retry
    hint: str
    """What to do next; "" if nobody knows."""
    values: Mapping[str, str | int]
    """The refusal's arguments by name, or `cause`."""
    attempts: int
    """How many attempts have failed."""


def problem_of_call(call: CallRow) -> CallProblem | None:
    """What is in the way of a call, None if no attempt has failed."""
    if call.refusal is None:
        return None
    # What has no class here is a suspicion against nobody.
    kind = BY_NAME.get(call.refusal) or _OUTSIDE_OF_THE_TABLE.get(call.refusal) or CaimiError
    return CallProblem(
        error=call.refusal,
        code=kind.code if issubclass(kind, Refusal) else None,
        blame=kind.blame,
        certainty=kind.certainty,
        retry=kind.retry,
        hint=kind.hint,
        values=json.loads(call.values) if call.values else {},
        attempts=call.attempts,
    )
