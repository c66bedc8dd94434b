"""What nodes say against a call or a transaction, and which of our errors it is. Every client has words of its own."""

from __future__ import annotations

from enum import Enum
from typing import Final

from caimi.chains.ethereum.errors import RpcFailure
from caimi.chains.ethereum.fees import TX_GAS_CAP
from caimi.chains.ethereum.jsonrpc import Answer
from caimi.chains.ethereum.reverts import read_revert
from caimi.ports.call_errors import CallRejected, CallTooLarge, FeeTooLow, NotTakenNow, SenderUnfunded
from caimi.ports.chain import ChainUnavailable
from caimi.types.errors import Refusal
from caimi.wire.functions import decode_call

__all__ = ["Sent", "check_estimate", "check_trial", "read_sent"]

# What nodes say of bytes that they have or that came too late: `status` tells which.
_KNOWN: Final = ("already known", "already imported", "known transaction", "alreadyknown", "nonce too low", "oldnonce")
_UNDERPRICED: Final = (
    "underpriced",
    "fee too low",
    "feetoolow",
    "gas price too low",
    "less than block base fee",
    "below current base fee",
    "below configured minimum gas price",
    "replacementnotallowed",
    "could not replace existing",
)
# Of the node's pool and not of the bytes: refused now, fine later.
_NOT_NOW: Final = (
    "pool is full",
    "pool full",
    "nonce too high",
    "nonce gap",
    "noncegap",
    "future transaction tries to replace pending",
    "account limit exceeded",
    "transaction limit reached",
    "invalid transaction with a lower nonce",
    "indexing is in progress",
    "request limit",
    "rate limit",
    "timeout",
)
_UNFUNDED: Final = ("insufficient funds", "insufficientfunds", "exceeds account balance")
_OUT_OF_GAS: Final = ("out of gas", "gas required exceeds", "exceeds allowance", "gas limit")
_INTERNAL: Final = -32603
_LIMIT_EXCEEDED: Final = -32005


class Sent(Enum):
    """What the answer to bytes that were handed over may mean without being an error of ours."""

    KNOWN = "known"
    """The node has them, or a block used their slot: `status` tells."""
    UNFUNDED = "unfunded"
    """The account that signed cannot pay."""


def read_sent(error: RpcFailure) -> Sent:
    """Judge the error of `eth_sendRawTransaction`.

    Raises:
        FeeTooLow: A higher price under the same nonce is taken.
        NotTakenNow, ChainUnavailable: The same bytes may be taken later.
        CallRejected: This node never takes them.
    """
    message = error.message.lower()
    if _has(message, _KNOWN):
        return Sent.KNOWN
    if _has(message, _UNDERPRICED):
        raise FeeTooLow(error.message) from error
    if _has(message, _UNFUNDED):
        return Sent.UNFUNDED
    if _has(message, _NOT_NOW) or error.code == _LIMIT_EXCEEDED:
        raise NotTakenNow(error.message) from error
    if error.code == _INTERNAL:
        raise ChainUnavailable(error.message) from error
    raise CallRejected(error.message) from error


def check_trial(answer: Answer, call: bytes, *, sender: str) -> None:
    """Judge the answer to a dry run of `call` from the account `sender` (hex).

    Raises:
        Refusal: Of the registry; `BadEncoding` also where the contract reverts without a word.
        CallTooLarge, CallRejected, SenderUnfunded: As the node says.
        RpcFailure: Of the node, not of the call.
    """
    if not isinstance(answer, RpcFailure):
        return
    message = answer.message.lower()
    if answer.data is not None and len(answer.data) >= 4:
        reason = read_revert(answer.data)
        if isinstance(reason, Refusal):
            raise reason from answer
        raise CallRejected(reason) from answer
    if _has(message, _OUT_OF_GAS):
        raise CallTooLarge(f"more than {TX_GAS_CAP} gas: {answer.message}") from answer
    if _has(message, _UNFUNDED):
        raise SenderUnfunded(f"{sender}: {answer.message}") from answer
    if "revert" in message:
        _check_encoding(call, answer)
        raise CallRejected(answer.message) from answer
    raise answer


def check_estimate(answer: Answer, call: bytes, *, sender: str) -> None:
    """Judge the answer to an estimate, after the dry run went through.

    Raises:
        CallTooLarge: Any failure of the call. The dry run may use more gas than a transaction: what fails within a
            transaction's gas fails for want of it, and a call inside that runs out of gas looks like another revert.
        Refusal, SenderUnfunded, RpcFailure: As `check_trial`.
    """
    try:
        check_trial(answer, call, sender=sender)
    except CallRejected as error:
        raise CallTooLarge(f"more than {TX_GAS_CAP} gas: {error}") from error


def _check_encoding(call: bytes, answer: RpcFailure) -> None:
    # The contract's decoder reverts without a word (spec 10 §2), so the call itself has to say what is wrong in it.
    try:
        decode_call(call)
    except Refusal as refusal:
        raise refusal from answer


def _has(message: str, words: tuple[str, ...]) -> bool:
    return any(word in message for word in words)
