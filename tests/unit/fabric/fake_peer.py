"""A Fabric peer in memory, which shows what a test puts there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.blocks import ChaincodeEvent, FabricBlock, FabricTransaction
from caimi.chains.fabric.errors import (
    BrokenBlockChain,
    EvaluateUnavailable,
    FabricError,
    ValidationCode,
)
from caimi.chains.fabric.transaction import ChainInfo
from caimi.types.primitives import Bytes32
from caimi.wire.chain_ids import chain_hash, fabric_chain_id
from tests.unit.fabric.event_json import hash_of

__all__ = ["CHAIN", "FakePeer", "block_of", "follow", "transaction_of", "until"]

_SECOND = 1_000_000_000
CHAIN = chain_hash(fabric_chain_id(hash_of(0)))


def transaction_of(
    index: int,
    payload: bytes | None,
    *,
    code: ValidationCode = ValidationCode.VALID,
    chaincode: str = "caimi",
    name: str = "caimi",
    seconds: int = 100,
) -> FabricTransaction:
    """A transaction of a block, with an event unless `payload` is None."""
    event = None if payload is None else ChaincodeEvent(chaincode=chaincode, name=name, payload=payload)
    return FabricTransaction(
        index=index,
        tx_id=f"transaction {index} of {name}",
        code=code,
        kind=3,
        timestamp_ns=seconds * _SECOND + 5,
        chaincode=chaincode,
        event=event,
    )


def block_of(number: int, *transactions: FabricTransaction, branch: int = 0) -> FabricBlock:
    """A block that names the one before it, of the same branch."""
    return FabricBlock(
        number=number,
        previous_hash=hash_of(number - 1, branch) if number else b"",
        data_hash=bytes(32),
        hash=hash_of(number, branch),
        transactions=transactions,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it holds."""
    while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
        await asyncio.sleep(0)


class FakePeer:
    """Delivers the blocks that a test gave it; stalls or fails where the test says."""

    def __init__(self, *blocks: FabricBlock) -> None:
        self.blocks_known = list(blocks)
        self.seeks: list[int] = []
        self.failure: FabricError | None = None
        self.stalls_at: int | None = None
        self.asked = 0

    async def chain_info(self) -> ChainInfo:
        """See `Peer`."""
        self.asked += 1
        if isinstance(self.failure, EvaluateUnavailable):
            raise self.failure
        newest = self.blocks_known[-1]
        return ChainInfo(height=newest.number + 1, head_hash=newest.hash, previous_hash=newest.previous_hash)

    async def blocks(self, start: int, *, previous_hash: bytes | None = None) -> AsyncGenerator[FabricBlock, None]:
        """See `Blocks`."""
        self.seeks.append(start)
        assert (previous_hash is None) == (start == 0)
        number = start
        while True:
            await until(lambda: number != self.stalls_at and number < len(self.blocks_known))  # noqa: B023
            if self.failure is not None:
                raise self.failure
            block = self.blocks_known[number]
            if previous_hash is not None and block.previous_hash != previous_hash:
                raise BrokenBlockChain(f"block {number} does not follow")
            yield block
            number, previous_hash = number + 1, block.hash


def follow(
    peer: FakePeer,
    scene: Callable[[BlockIndex], Awaitable[None]],
    *,
    chain: Bytes32 = CHAIN,
    tip_seconds: float = 0.0,
    time: list[float] | None = None,
    kept: int = 512,
    answer: int = 1_024,
) -> None:
    """Play a scene on an index that follows the peer."""
    seconds = time or [0.0]

    async def act() -> None:
        index = BlockIndex(
            peer,
            peer,
            chaincode="caimi",
            chain=chain,
            block_seconds=0.05,
            tip_seconds=tip_seconds,
            kept=kept,
            answer=answer,
            monotonic=lambda: seconds[0],
        )
        await scene(index)
        await index.close()

    asyncio.run(act())
