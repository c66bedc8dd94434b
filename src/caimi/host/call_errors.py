"""Why a call at the host itself is not taken, or not yet.

* CaimiError
  + NotYetAnswered: the request is being worked on
  + AlreadyAnswered: it was answered, and the answer is no longer kept
  + DeadlineTooFar: beyond what a host remembers
  + Delayed: not now; `seconds` says when
    - HostBusy: as many calls or bytes wait as may
    - DeadlineUnmeetable: at the measured rate the answer would be late
    - HostEnding: the process ends
    - ModelNotReady: no lease, no key or no model at present
"""

from __future__ import annotations

from caimi.types.errors import Blame, CaimiError, Certainty, Retry

__all__ = [
    "AlreadyAnswered",
    "DeadlineTooFar",
    "DeadlineUnmeetable",
    "Delayed",
    "HostBusy",
    "HostEnding",
    "ModelNotReady",
    "NotYetAnswered",
]


class NotYetAnswered(CaimiError):
    """The request is on its way; it was not answered within the time of this call."""

    retry = Retry.SAFE
    hint = "repeat the call, or ask GET /v1/requests/{id} if it went through a registry: the request counts once"


class AlreadyAnswered(CaimiError):
    """The request was answered, and the answer is no longer kept."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "sign a new request with another nonce"


class DeadlineTooFar(CaimiError):
    """A direct request may be answered for a minute at most."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "sign a request whose deadline is nearer, or use the registry path; compare your clock with the host's"


class Delayed(CaimiError):
    """Not now."""

    retry = Retry.SAFE

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds
        """When the same call may be taken."""


class HostBusy(Delayed):
    """As many calls or bytes wait here as may."""

    hint = "wait for the seconds in Retry-After, then repeat the call; the registry path takes requests at any time"


class DeadlineUnmeetable(Delayed):
    """At the measured rate the answer would be late; nothing was computed."""

    hint = "ask with a later deadline, or when the host is less busy"


class HostEnding(Delayed):
    """The process ends: it finishes the calls that it took and takes no others."""

    hint = "ask GET /v1/host again: the next start has other keys"


class ModelNotReady(Delayed):
    """The host has no lease, no key or no model at present."""

    hint = "repeat the call; the cause is in the text"

    def __init__(self, cause: CaimiError, seconds: float) -> None:
        super().__init__(f"{type(cause).__name__}: {cause.hint}", seconds)
        self.cause = cause
