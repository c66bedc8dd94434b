"""Why a devnet does not come up, or does not do as asked.

* CaimiError
  + DevnetError
    - NotRunning: there is no devnet running in that state folder
    - BringUpFailed: the background process ended, or took too long
    - NoGroupKeyYet: the validators' key generation is not over in time
    - RegistryMismatch: a registry of another network answers on a ledger of this state folder
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = ["BringUpFailed", "DevnetError", "NoGroupKeyYet", "NotRunning", "RegistryMismatch"]


class DevnetError(CaimiError):
    """Root of this package's errors."""

    blame = Blame.OPERATOR


class NotRunning(DevnetError):
    """No devnet runs in that state folder."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "start it with `caimi up`"


class BringUpFailed(DevnetError):
    """The devnet did not come up. Whatever was done is kept; the next `caimi up` goes on from there."""

    retry = Retry.SAFE
    hint = "see the log that the message names, then run `caimi up` again"


class NoGroupKeyYet(DevnetError):
    """The validators do not report one group key yet. Their key generation goes on."""

    retry = Retry.SAFE
    hint = "each validator's /v1/status says for whom it waits; run `caimi up` again"


class RegistryMismatch(DevnetError):
    """A ledger of this state folder has the registry of another network."""

    certainty = Certainty.PROVEN
    hint = "the state folder was put together from two: remove it with `caimi down --wipe`"
