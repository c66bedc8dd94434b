"""The stream of full blocks from one peer: checked, in order, resumed after every break of the connection."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import grpc

from caimi.chains.fabric.blocks import BlockLimits, FabricBlock, parse_block, verify_link
from caimi.chains.fabric.errors import DeliverRefused, MalformedBlock
from caimi.chains.fabric.identity import FabricIdentity
from caimi.chains.fabric.proto import NONCE_BYTES, common_pb2, deliver_stub, encode_seek

__all__ = ["BlockStream", "reconnect_delay_s"]

_FIRST_DELAY_S: Final = 0.1
_LAST_DELAY_S: Final = 5.0
# Statuses that a later attempt cannot change: bad request, forbidden.
_REFUSED: Final = (400, 403)
_TOO_LARGE: Final = "larger than max"


def reconnect_delay_s(failures: int) -> float:
    """Return how long to wait after the given number of failures in a row (at least 1): doubling, 0.1 s to 5 s."""
    return min(_LAST_DELAY_S, _FIRST_DELAY_S * 2 ** min(failures - 1, 16))


class _StreamEnded(Exception):
    # The peer ended the stream in a way that a new connection may mend.
    pass


class BlockStream:
    """Reads the channel's blocks from one peer."""

    def __init__(
        self,
        transport: grpc.aio.Channel,
        *,
        identity: FabricIdentity,
        channel: str,
        limits: BlockLimits | None = None,
        on_break: Callable[[Exception], None] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        entropy: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare a reader.

        Args:
            on_break: Told of every break of the connection, before the next attempt.
        """
        self._stub: Any = deliver_stub(transport)
        self._identity = identity
        self._channel = channel
        self._limits = limits or BlockLimits()
        self._on_break = on_break
        self._clock_ns = clock_ns
        self._entropy = entropy
        self._sleep = sleep

    async def blocks(self, start: int, *, previous_hash: bytes | None = None) -> AsyncGenerator[FabricBlock, None]:
        """Yield the blocks from number `start` on, without end; each follows from the one before.

        Close the generator (`contextlib.aclosing`) when no more blocks are wanted.

        Args:
            start: Number of the first block wanted, 0 <= start < 2**64.
            previous_hash: Header hash of block `start` - 1, if known from an earlier run.

        Raises:
            MalformedBlock: The peer delivered a block that is not well formed.
            BrokenBlockChain: It delivered a block that does not follow from the one before.
            DeliverRefused: It does not serve this identity.
        """
        number, failures = start, 0
        while True:
            try:
                async with aclosing(self._connection(number)) as connection:
                    async for block in connection:
                        verify_link(block, number=number, previous_hash=previous_hash)
                        number, previous_hash, failures = number + 1, block.hash, 0
                        yield block
            except (grpc.aio.AioRpcError, _StreamEnded) as error:
                if isinstance(error, grpc.aio.AioRpcError) and _TOO_LARGE in (error.details() or ""):
                    raise MalformedBlock(f"block {number}: {error.details()}") from error
                failures += 1
                if self._on_break is not None:
                    self._on_break(error)
                await self._sleep(reconnect_delay_s(failures))

    async def _connection(self, start: int) -> AsyncGenerator[FabricBlock, None]:
        payload = encode_seek(
            channel=self._channel,
            start=start,
            timestamp_ns=self._clock_ns(),
            nonce=self._entropy(NONCE_BYTES),
            creator=self._identity.creator,
        )
        envelope = common_pb2.Envelope(payload=payload, signature=self._identity.sign(payload))
        call = self._stub.Deliver()
        try:
            # The request side stays open: the peer takes its end for the end of the subscription.
            await call.write(envelope)
            async for response in call:
                yield self._block(response)
            raise _StreamEnded("the peer closed the stream")
        finally:
            call.cancel()

    def _block(self, response: Any) -> FabricBlock:
        match response.WhichOneof("Type"):
            case "block":
                return parse_block(response.block, self._limits)
            case "status":
                if response.status in _REFUSED:
                    raise DeliverRefused(f"the peer answers {common_pb2.Status.Name(response.status)}")
                raise _StreamEnded(f"status {response.status}")
            case other:
                raise MalformedBlock(f"the peer delivered {other or 'nothing'} instead of a full block")
