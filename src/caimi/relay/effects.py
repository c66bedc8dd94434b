"""Whether a call's effect is on the ledger already: then nothing needs to be sent."""

from __future__ import annotations

from caimi.ports.chain import ChainReader
from caimi.protocol.publication import Role, State
from caimi.types.primitives import Bytes32
from caimi.wire.digests import publication_id
from caimi.wire.functions import decode_call

__all__ = ["effect_present"]


async def effect_present(reader: ChainReader, call: bytes, network: Bytes32) -> bool:
    """Look at the tip; False where this cannot be seen from outside (repeating is harmless then).

    Raises:
        ChainUnavailable: Ask again later.
        BadEncoding, UnknownFunction: The bytes are no call.
    """
    name, arguments = decode_call(call)
    match name:
        case "applyRun":
            checkpoint = arguments[0].checkpoint
            for item in arguments[1]:
                if not await reader.is_marked(checkpoint.source, checkpoint.generation, item.sequence):
                    return False
            return True
        case "lockModel":
            return await reader.publication(publication_id(network, arguments[0])) is not None
        case "answerBatch":
            return await reader.batch(arguments[0], arguments[1]) is not None
        case "abortBatch":
            batch = await reader.batch(reader.lane, arguments[0])
            return batch is not None and batch.state is not State.LOCKED
        case "takeOut":
            view = await reader.publication(publication_id(network, arguments[0]))
            return view is not None and (view.role is Role.HOME or view.state is not State.LOCKED)
        case "abort":
            view = await reader.publication(arguments[0])
            return view is not None and view.state is not State.LOCKED
        case "answerInference":
            return await reader.receipt_of(arguments[0].request) is not None
        case _:
            return False
