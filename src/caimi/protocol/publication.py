"""The publication state machine: a table and a pure step (spec 30 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

__all__ = ["TRANSITIONS", "AbortReason", "Disposition", "Input", "Role", "State", "step"]


class State(IntEnum):
    """State of one publication at one registry."""

    NONE = 0
    LOCKED = 1
    COMMITTED = 2
    ABORTED = 3
    REFUSED = 4
    SUPERSEDED = 5
    REVOKED = 6


class Role(IntEnum):
    """What a registry is to a publication."""

    HOME = 1
    MIRROR = 2


class Disposition(IntEnum):
    """What applying one carried event did."""

    APPLIED = 1
    PENDING = 2
    REFUSED = 3
    IGNORED = 4


class AbortReason(IntEnum):
    """Why home aborted (body of OUTCOME)."""

    NONE = 0
    DEADLINE = 1
    MIRROR_REFUSED = 2
    NEVER_LOCKED = 3


class Input(Enum):
    """What can happen to a publication at a registry."""

    LOCK = "signed bytes, lawful"
    REFUSE = "signed bytes, permanent reason"
    ALL_LOCKED = "last mirror's LOCKED, by the deadline"
    MIRROR_REFUSED = "a mirror's REFUSED"
    DEADLINE = "abort after the deadline"
    NEVER_LOCKED = "abortUnlocked after the deadline"
    HIGHER_VERSION = "a higher version is committed"
    HOME_COMMITTED = "home's OUTCOME, committed"
    HOME_ABORTED = "home's OUTCOME, aborted"
    HOME_SUPERSEDED = "home's SUPERSEDED"
    REVOKED = "its publisher's revocation"


TRANSITIONS: Final[Mapping[tuple[Role, State, Input], State]] = {
    (Role.HOME, State.NONE, Input.LOCK): State.LOCKED,
    (Role.HOME, State.NONE, Input.NEVER_LOCKED): State.ABORTED,
    (Role.HOME, State.LOCKED, Input.ALL_LOCKED): State.COMMITTED,
    (Role.HOME, State.LOCKED, Input.MIRROR_REFUSED): State.ABORTED,
    (Role.HOME, State.LOCKED, Input.DEADLINE): State.ABORTED,
    (Role.HOME, State.COMMITTED, Input.HIGHER_VERSION): State.SUPERSEDED,
    (Role.HOME, State.COMMITTED, Input.REVOKED): State.REVOKED,
    (Role.HOME, State.SUPERSEDED, Input.REVOKED): State.REVOKED,
    (Role.MIRROR, State.NONE, Input.LOCK): State.LOCKED,
    (Role.MIRROR, State.NONE, Input.REFUSE): State.REFUSED,
    (Role.MIRROR, State.LOCKED, Input.HOME_COMMITTED): State.COMMITTED,
    (Role.MIRROR, State.LOCKED, Input.HOME_ABORTED): State.ABORTED,
    (Role.MIRROR, State.LOCKED, Input.HOME_SUPERSEDED): State.SUPERSEDED,
    (Role.MIRROR, State.REFUSED, Input.HOME_ABORTED): State.ABORTED,
    (Role.MIRROR, State.COMMITTED, Input.HOME_SUPERSEDED): State.SUPERSEDED,
    (Role.MIRROR, State.COMMITTED, Input.REVOKED): State.REVOKED,
    (Role.MIRROR, State.SUPERSEDED, Input.REVOKED): State.REVOKED,
}
"""Every transition there is; a pair that is absent is refused (or, when repeated, does nothing)."""


def step(role: Role, state: State, happened: Input) -> State | None:
    """The next state, or None if the table has no such transition."""
    return TRANSITIONS.get((role, state, happened))
