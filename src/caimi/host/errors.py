"""Why a host does not answer.

* CaimiError
  + HostError
    - NotForThisHost: an input is not sealed to the keys of this start
    - InputMismatch: an opened input is not the one that the request commits to
    - NotAModel: the publication is something else
    - WrongPublication: the relay gives other bytes than the id names
    - NoGroupKey: no quorum of validators reports one public key
    - LeaseNotPosted: the board did not take a lease within the time that it allows for it
    - KeyNotReleased: fewer than t partials came in time
    - KeyRefused: so many validators refuse that t partials cannot come
    - HostKeysEnded: the keys of this start have run out
    - LaneAstray: a node does not have the block from which a lane was resumed
"""

from __future__ import annotations

from collections.abc import Mapping

from caimi.types.errors import Blame, CaimiError, Certainty, Retry

__all__ = [
    "HostError",
    "HostKeysEnded",
    "InputMismatch",
    "KeyNotReleased",
    "KeyRefused",
    "LaneAstray",
    "LeaseNotPosted",
    "NoGroupKey",
    "NotAModel",
    "NotForThisHost",
    "WrongPublication",
]


class HostError(CaimiError):
    """Root of this package's errors."""


class NotForThisHost(HostError):
    """The input is sealed to another host, to the keys of an earlier start, or for another publication."""

    blame = Blame.CALLER
    hint = "ask GET /v1/host for the host's present sealing key, seal the input to it and request again"


class InputMismatch(HostError):
    """The opened input does not hash to the request's input commitment."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "the commitment is tagged_hash(INPUT, salt, sha256(payload)) of what is sealed (spec 60 §4)"


class NotAModel(HostError):
    """The publication is no model."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "request inference from a publication of kind MODEL"


class WrongPublication(HostError):
    """The bytes do not hash to the publication's id: the relay lies or is of another network."""

    blame = Blame.RELAY
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "use another relay"


class NoGroupKey(HostError):
    """Fewer than q validators report the same public key."""

    blame = Blame.VALIDATOR
    retry = Retry.SAFE
    hint = "wait for the key generation: see /v1/status of the validators"


class LeaseNotPosted(HostError):
    """The board did not take a lease within the time that the lease allows for it."""

    blame = Blame.NODE
    retry = Retry.SAFE
    hint = "another lease is asked for by itself; see whether the board answers, and compare the host's clock with its"


class _ByValidator(HostError):
    # Says what each validator answered.

    def __init__(self, text: str, told: Mapping[int, str]) -> None:
        shown = "; ".join(f"validator {index}: {answer}" for index, answer in sorted(told.items()))
        super().__init__(f"{text} ({shown})" if shown else text)
        self.told = dict(told)
        """By share index, what was wrong there."""


class KeyNotReleased(_ByValidator):
    """Fewer than t valid partials came in time."""

    blame = Blame.VALIDATOR
    retry = Retry.SAFE
    hint = "it is asked again by itself; see /v1/status of the validators that are named"


class KeyRefused(_ByValidator):
    """So many validators refuse that t partials cannot come."""

    blame = Blame.PUBLISHER
    retry = Retry.AFTER
    hint = "see the refusals: the publication may not be committed at its home, or be superseded"


class HostKeysEnded(HostError):
    """The keys of this start have run out: the process ends, and its next start makes new ones."""

    blame = Blame.NOBODY
    certainty = Certainty.PROVEN
    retry = Retry.SAFE
    hint = "start the host again; the supervisor does so by itself"


class LaneAstray(HostError):
    """A lane was resumed by governance, and the block that it kept is not on the chain that is read here."""

    blame = Blame.NODE
    retry = Retry.AFTER
    hint = (
        "read the lane from a node on the branch that governance kept: `governed` of the root registry names its block"
    )

    def __init__(self, height: int, kept: bytes, there: bytes | None) -> None:
        shown = "no block" if there is None else "0x" + there.hex()
        super().__init__(f"block {height}: governance kept 0x{kept.hex()}, {shown} is there")
