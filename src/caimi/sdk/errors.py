"""What the client library says no with, besides the protocol's refusals.

* CaimiError
  + SdkError
    - NoNetwork: there is no network at that place
    - OtherFormat: a file of another format version
    - MalformedFile: a file is not what this version writes
    - KeyFileError: an account's key file cannot be read
    - UnknownName: a lane, account, model or publication that the network does not know
    - NoGroupKey: the validators have not generated their key yet
    - BadBundle: a path that cannot be published
    - ServiceUnavailable: a process does not answer
    - ServiceRefused: a process says no for a reason of its own
    - ServiceAnswer: a process gives an answer that nobody agreed on
    - RefusedByRegistry: a registry says no for good to what the relay handed it
    - TakesTooLong: a wait ended before what was waited for
    - NotAnswered: an inference that will not be answered
    - NoHost: the network has no host
    - NoReceipt: there is no receipt file
    - BadTensors: a file holds no tensors
    - UnprovenAnswer: an answer whose receipt does not hold
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "BadBundle",
    "BadTensors",
    "KeyFileError",
    "MalformedFile",
    "NoGroupKey",
    "NoHost",
    "NoNetwork",
    "NoReceipt",
    "NotAnswered",
    "OtherFormat",
    "RefusedByRegistry",
    "SdkError",
    "ServiceAnswer",
    "ServiceRefused",
    "ServiceUnavailable",
    "TakesTooLong",
    "UnknownName",
    "UnprovenAnswer",
]


class SdkError(CaimiError):
    """Root of this library's own errors."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN


class NoNetwork(SdkError):
    """There is no network description where it was looked for."""

    retry = Retry.AFTER
    hint = "start a network with `caimi up`, or name another state folder with --home or CAIMI_HOME"


class OtherFormat(SdkError):
    """The state was written by another version of CAIMI."""

    hint = (
        "use the version that wrote it, or remove it with `caimi down --wipe`; state is migrated by publishing again "
        "on a new network, there is no other way yet"
    )


class MalformedFile(SdkError):
    """A file of the state folder is not what this version writes."""

    hint = "restore the file, or remove the state folder with `caimi down --wipe`"


class KeyFileError(SdkError):
    """An account's key file cannot be read or written."""

    hint = "name a key file that `caimi account new` wrote, and its password file with CAIMI_PASSWORD_FILE"


class UnknownName(SdkError):
    """The network knows no such lane, account, model or publication."""

    hint = "see `caimi status` for lanes and `caimi models` for publications"


class NoGroupKey(SdkError):
    """The validators have no common key yet: nothing can be sealed to them."""

    blame = Blame.VALIDATOR
    retry = Retry.AFTER
    hint = "wait until `caimi status` shows a group key"


class BadBundle(SdkError):
    """The path holds nothing that can be published."""

    hint = "name an ONNX file, or a folder with exactly one ONNX file"


class ServiceUnavailable(SdkError):
    """A process of the network does not answer."""

    blame = Blame.NODE
    certainty = Certainty.SUSPECTED
    retry = Retry.SAFE
    hint = "see `caimi status`; repeating the command goes on where it stopped"


class ServiceAnswer(SdkError):
    """A process gives an answer that its interface does not know."""

    blame = Blame.NODE
    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "client and process are of different versions, or another program listens at that address"


class ServiceRefused(SdkError):
    """A process of the network says no, with an error that is not in the protocol's table."""

    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "the message says why; see also the log of that process in the state folder"


class RefusedByRegistry(SdkError):
    """A registry says no for good to what the relay handed it. Nothing was escrowed; mirrors follow home."""

    hint = "the message names the refusal; docs/errors.md says what each means"


class TakesTooLong(SdkError):
    """What was waited for did not happen in time. Nothing is lost: the relay goes on by itself."""

    blame = Blame.NOBODY
    certainty = Certainty.SUSPECTED
    retry = Retry.SAFE
    hint = "`caimi trace ID` shows what it waits for"


class NotAnswered(SdkError):
    """The request will get no answer: its deadline passed, or its host refused it."""

    blame = Blame.HOST
    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "see the host in `caimi status`, then ask again"


class NoHost(SdkError):
    """The network has no host: nobody answers requests."""

    blame = Blame.OPERATOR
    retry = Retry.AFTER
    hint = "see `caimi status`; a devnet of this version starts a host with `caimi up`"


class NoReceipt(SdkError):
    """There is no receipt file there."""

    retry = Retry.AFTER
    hint = "name the file that `caimi infer` wrote"


class BadTensors(SdkError):
    """A file holds no tensors that could be sent."""

    hint = "give a .safetensors, .npz or .npy file; a single array is for a model with one input"


class UnprovenAnswer(SdkError):
    """An answer came whose receipt does not hold. Its outputs are not given out."""

    blame = Blame.HOST
    hint = "do not use this host; the request and its answer are on the registry as evidence"
