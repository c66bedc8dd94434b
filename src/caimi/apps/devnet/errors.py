"""Why a devnet does not come up, or does not do as asked.

* CaimiError
  + DevnetError
    - NotRunning: there is no devnet running in that state folder
    - StillStarting: it is not far enough to be asked
    - NotConfirmed: what cannot be undone was not confirmed
    - NoStateFolder: a folder holds something else than the state of a devnet
    - OtherProfile: the network of a folder was made in another way than asked for
    - StateNotWritable: the state folder cannot be made or written
    - BringUpFailed: the background process ended, or took too long
      * BringUpBlocked: it cannot come up before something else has changed
      * BringUpRefused: it will never come up like this
    - KuboMissing: a network with Kubo is asked for, and Kubo was not built
    - NoGroupKeyYet: the validators' key generation is not over in time
    - RegistryMismatch: a registry of another network answers on a ledger of this state folder
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "BringUpBlocked",
    "BringUpFailed",
    "BringUpRefused",
    "DevnetError",
    "KuboMissing",
    "NoGroupKeyYet",
    "NoStateFolder",
    "NotConfirmed",
    "NotRunning",
    "OtherProfile",
    "RegistryMismatch",
    "StateNotWritable",
    "StillStarting",
]


class DevnetError(CaimiError):
    """Root of this package's errors."""

    blame = Blame.OPERATOR


class NotRunning(DevnetError):
    """No devnet runs in that state folder."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "start it with `caimi up`"


class StillStarting(DevnetError):
    """The devnet is not far enough to be asked."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "`caimi up` waits until it works"


class NotConfirmed(DevnetError):
    """What cannot be undone was not confirmed. Nothing was done."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "answer y, or add --yes"


class NoStateFolder(DevnetError):
    """The folder holds something else than the state of a devnet. It is left alone."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "name an empty or new folder, or one that `caimi up` made"


class OtherProfile(DevnetError):
    """The network of a state folder was made in another way than asked for, and stays so. Nothing was started."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "leave the option out; or name another folder with --home; or remove this network with `caimi down --wipe`"


class StateNotWritable(DevnetError):
    """The state folder cannot be made or written: a wrong path, no right to it, or no room."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "free some room, or name a folder that you may write with --home or CAIMI_HOME"


class BringUpFailed(DevnetError):
    """The devnet did not come up. Whatever was done is kept; the next `caimi up` goes on from there."""

    retry = Retry.SAFE
    hint = "see the log that the message names, then run `caimi up` again"


class BringUpBlocked(BringUpFailed):
    """The devnet cannot come up before something else has changed. Whatever was done is kept."""

    retry = Retry.AFTER
    hint = "mend what the message names, then run `caimi up` again"


class BringUpRefused(BringUpFailed):
    """The devnet will never come up like this. Whatever was done is kept."""

    retry = Retry.NEVER
    hint = "the message says why; the log that it names says more"


class KuboMissing(DevnetError):
    """A network with Kubo is asked for, and Kubo was not built. Nothing was made."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "build it: python3 tools/bootstrap.py setup --kubo (3 to 5 minutes, once)"


class NoGroupKeyYet(DevnetError):
    """The validators do not report one group key yet. Their key generation goes on."""

    retry = Retry.SAFE
    hint = "each validator's /v1/status says for whom it waits; run `caimi up` again"


class RegistryMismatch(DevnetError):
    """A ledger of this state folder has the registry of another network."""

    certainty = Certainty.PROVEN
    hint = "the state folder was put together from two: remove it with `caimi down --wipe`"
