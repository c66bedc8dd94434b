"""Messages of key ceremonies as a transaction of the channel holds them: with their posters' signatures."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError

from caimi.chains.fabric.blocks import FabricTransaction
from caimi.chains.fabric.notes import LoggedPost
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.chains.fabric.proto import call_arguments
from caimi.ports.chain import BoardMessage
from caimi.types.errors import BadEncoding, UnknownFunction
from caimi.wire.functions import decode_call
from caimi.wire.keccak import keccak256

__all__ = ["posts_of"]

_ARGUMENTS: Final = 2  # "call" and the encoded call


def posts_of(transaction: FabricTransaction, logged: tuple[LoggedPost, ...]) -> tuple[BoardMessage, ...]:
    """The messages that a transaction says it put on the board, from what it was called with.

    Raises:
        BrokenLedger: Its call does not hold them.
    """
    if not logged:
        return ()
    calls = _posting_calls(transaction)
    return tuple(_found(post, calls, transaction) for post in logged)


def _found(post: LoggedPost, calls: list[tuple[Any, ...]], transaction: FabricTransaction) -> BoardMessage:
    # The first call for a place takes effect; others are repetitions of it.
    for record, signature, body in calls:
        if (record.epoch, record.phase, record.index) == (post.epoch, post.phase, post.index):
            if keccak256(body) != record.body_hash:
                break
            return BoardMessage(phase=post.phase, index=post.index, body=body, signature=signature)
    raise BrokenLedger(f"transaction {transaction.tx_id} was not called with the message that it tells of")


def _posting_calls(transaction: FabricTransaction) -> list[tuple[Any, ...]]:
    try:
        arguments = call_arguments(transaction.proposal)
        if len(arguments) != _ARGUMENTS:
            raise BadEncoding
        name, values = decode_call(arguments[1])
        calls = [decode_call(call) for call in values[0]] if name == "multicall" else [(name, values)]
    except (DecodeError, BadEncoding, UnknownFunction) as error:
        raise BrokenLedger(f"transaction {transaction.tx_id} has an event and no call") from error
    return [values for name, values in calls if name == "postBoard"]
