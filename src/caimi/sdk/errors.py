"""What the client library says no with, besides the protocol's refusals.

* CaimiError
  + SdkError
    - NoNetwork: there is no network at that place
    - OtherFormat: a file of another format version
    - MalformedFile: a file is not what this version writes
    - MalformedDraft: what an interrupted command left is not what this version writes
    - KeyFileError: an account's key file cannot be read
      * KeyFileExists: there is a file already where a new one is to be written
    - UnknownName: a lane, account, model or publication that the network does not know
    - NoGroupKey: the validators have not generated their key yet
    - BadBundle: a path that cannot be published
    - ServiceUnavailable: a process does not answer
    - ServiceRefused: a process says no for a reason of its own
    - ServiceAnswer: a process gives an answer that nobody agreed on
    - RefusedByRegistry: a registry says no for good to what the relay handed it
      * RefusedForNow: a registry says no until something else has changed
    - TakesTooLong: a wait ended before what was waited for
      * HostOverloaded: the host had no room for a direct call before its deadline
    - DirectDeadlineTooFar: a direct call that shall wait for longer than hosts remember it
    - NotServed: a publication that will not be answered where it is asked
      * NotServedYet: one that is not committed there yet
    - NotAnswered: an inference that will not be answered
      * UnreadableInput: the host has the keys no more to which the input is sealed
      * InputRefused: the host says that the model does not take this input
    - NoHost: the network has no host
    - NoBoard: the network has no board that could be asked
    - UnprovenKey: the ledger's messages do not give the key that the network is said to have
    - NoReceipt: there is no receipt file
    - MalformedReceipt: a file is no receipt of this version
    - OutputRefused: a result cannot be written where it shall go
    - BadTensors: a file holds no tensors
    - UnprovenAnswer: an answer whose receipt does not hold
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "BadBundle",
    "BadTensors",
    "InputRefused",
    "KeyFileError",
    "KeyFileExists",
    "DirectDeadlineTooFar",
    "HostOverloaded",
    "MalformedDraft",
    "MalformedFile",
    "MalformedReceipt",
    "NoBoard",
    "NoGroupKey",
    "NoHost",
    "NoNetwork",
    "NoReceipt",
    "NotAnswered",
    "NotServed",
    "NotServedYet",
    "OtherFormat",
    "OutputRefused",
    "RefusedByRegistry",
    "RefusedForNow",
    "SdkError",
    "ServiceAnswer",
    "ServiceRefused",
    "ServiceUnavailable",
    "TakesTooLong",
    "UnknownName",
    "UnprovenAnswer",
    "UnprovenKey",
    "UnreadableInput",
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


class MalformedDraft(SdkError):
    """What an interrupted command left is not what this version writes."""

    retry = Retry.AFTER
    hint = "remove the file that the message names; the command then begins anew"


class KeyFileError(SdkError):
    """An account's key file cannot be read or written."""

    hint = "name a key file that `caimi account new` wrote, and its password file with CAIMI_PASSWORD_FILE"


class KeyFileExists(KeyFileError):
    """There is a file already where a new key file is to be written. It is left as it is."""

    hint = "name another file: key files are never overwritten"


class UnknownName(SdkError):
    """The network knows no such lane, account, model or publication."""

    hint = "see `caimi status` for lanes, `caimi models` for publications and `caimi account list` for accounts"


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


class RefusedForNow(RefusedByRegistry):
    """A registry says no until something else has changed, and the relay has stopped asking it."""

    retry = Retry.AFTER
    hint = "mend what the message names, then repeat the command"


class TakesTooLong(SdkError):
    """What was waited for did not happen in time. Nothing is lost: the relay goes on by itself."""

    blame = Blame.NOBODY
    certainty = Certainty.SUSPECTED
    retry = Retry.SAFE
    hint = "`caimi trace ID` shows what it waits for"


class HostOverloaded(TakesTooLong):
    """The host had no room for a direct call, or its model was not ready, before the call's deadline."""

    blame = Blame.HOST
    hint = "repeat it with a later --deadline, at most 60 s, or without --direct: registries take requests at any time"


class DirectDeadlineTooFar(SdkError):
    """A direct call shall wait for longer than hosts remember it."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "at most 60 s; without --direct the registry keeps the request for as long as it shall"


class NotServed(SdkError):
    """The publication was aborted, refused or superseded on the registry that shall take the request."""

    hint = "see `caimi models`: name a publication, and with --on a lane, where it is COMMITTED"


class NotServedYet(NotServed):
    """The registry that shall take the request does not have the publication as COMMITTED yet."""

    retry = Retry.AFTER
    hint = "`caimi trace ID` shows what the publication waits for"


class NotAnswered(SdkError):
    """The request will get no answer: its deadline passed, or its host refused it."""

    blame = Blame.HOST
    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "see the host in `caimi status`, then ask again"


class UnreadableInput(NotAnswered):
    """The host was started again meanwhile: it has the keys no more to which the input is sealed."""

    retry = Retry.SAFE
    hint = "ask again: the input is then sealed to the host's present keys"


class InputRefused(NotAnswered):
    """The host says that the model does not take this input. Only the host says so: it alone has the model."""

    blame = Blame.CALLER
    retry = Retry.NEVER
    hint = "change names, element types or shapes of the inputs; the message says what the model takes, if it is loaded"


class NoHost(SdkError):
    """The network has no host: nobody answers requests."""

    blame = Blame.OPERATOR
    retry = Retry.AFTER
    hint = "see `caimi status`; a devnet of this version starts a host with `caimi up`"


class NoBoard(SdkError):
    """The network has no board: no lease can be looked up."""

    blame = Blame.OPERATOR
    retry = Retry.AFTER
    hint = "see `caimi status`; the board is on the network's Fabric lane"


class UnprovenKey(SdkError):
    """The board's messages, as the ledger holds them, do not give the group key."""

    blame = Blame.OPERATOR
    hint = "publish nothing under this key; compare network.json and the peer with those of other operators"


class NoReceipt(SdkError):
    """There is no receipt file there."""

    retry = Retry.AFTER
    hint = "name the file that `caimi infer` wrote"


class MalformedReceipt(SdkError):
    """A file is no receipt, is cut short, or is of another version."""

    hint = "use the file as `caimi infer` wrote it, with the version of CAIMI that wrote it"


class OutputRefused(SdkError):
    """A result cannot be written where it shall go."""

    retry = Retry.AFTER
    hint = "name a file ending in .safetensors or .npz, in a folder that exists and that you may write"


class BadTensors(SdkError):
    """A file holds no tensors that could be sent."""

    hint = "give a .safetensors or .npz file, or name=file.npy with the name of the model's input"


class UnprovenAnswer(SdkError):
    """An answer came whose receipt does not hold. Its outputs are not given out."""

    blame = Blame.HOST
    hint = "do not use this host; the request and its answer are on the registry as evidence"
