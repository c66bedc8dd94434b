"""Blocks as a node shows them, and which of them is final."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from caimi.chains.ethereum.errors import ChainMoved, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.fields import as_hash, as_object, as_quantity, hex_quantity
from caimi.chains.ethereum.finality import DepthFinality, Finality
from caimi.chains.ethereum.jsonrpc import Answer, RpcClient
from caimi.ports.chain import ChainUnavailable
from caimi.types.primitives import Bytes32, UnixSeconds

__all__ = ["Block", "Tip", "block_at", "blocks_at", "read_block", "read_tip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What we use of a block."""

    number: int
    hash: Bytes32
    parent: Bytes32
    """Hash of the block below; of the first block zeros."""
    time: UnixSeconds
    base_fee: int
    """Wei per gas; 0 where the chain has none."""
    gas_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The latest and the final block, read together."""

    latest: Block
    final: Block


def read_block(answer: Answer, what: str) -> Block | None:
    """Read the answer of `eth_getBlockByNumber`, None if there is no such block.

    Raises:
        RpcFailure: It is the node's error.
        MalformedAnswer: It is no block.
    """
    if isinstance(answer, RpcFailure):
        raise answer
    if answer is None:
        return None
    fields = as_object(answer, what)
    return Block(
        number=as_quantity(fields.get("number"), "a block's number"),
        hash=as_hash(fields.get("hash"), "a block's hash"),
        parent=as_hash(fields.get("parentHash"), "a block's parent"),
        time=UnixSeconds(as_quantity(fields.get("timestamp"), "a block's time")),
        base_fee=as_quantity(fields.get("baseFeePerGas", "0x0"), "a block's base fee", bits=128),
        gas_limit=as_quantity(fields.get("gasLimit"), "a block's gas limit"),
    )


async def read_tip(rpc: RpcClient, finality: Finality, known: Tip | None = None) -> Tip:
    """Ask for the latest and the final block.

    Arguments:
        known: what an earlier call gave: where final is a depth, the same latest block has the same final one.
    Raises:
        ChainUnavailable: The node does not answer, or has no final block yet.
        ChainMoved: The chain became shorter between the two questions.
        MalformedAnswer, RpcFailure, WrongChain: See `RpcClient.batch`.
    """
    if isinstance(finality, DepthFinality):
        latest = read_block(await rpc.call("eth_getBlockByNumber", "latest", False), "the latest block")
        if latest is None:
            raise ChainUnavailable(f"{rpc.node} has no block yet")
        if known is not None and latest == known.latest:
            return known
        # A chain that is shorter than the depth has its genesis block final.
        final = latest if finality.depth == 0 else await block_at(rpc, max(0, latest.number - finality.depth))
    else:
        answers = await rpc.batch([("eth_getBlockByNumber", (tag, False)) for tag in ("latest", "finalized")])
        latest, final = (read_block(answer, "a tip") for answer in answers)
    if latest is None or final is None:
        raise ChainMoved(f"{rpc.node} has no final block now")
    if final.number > latest.number:
        raise MalformedAnswer(f"{rpc.node} calls block {final.number} final and has only {latest.number}")
    return Tip(latest=latest, final=final)


async def block_at(rpc: RpcClient, number: int) -> Block | None:
    """The block with this number on the node's present branch, None above its tip."""
    return (await blocks_at(rpc, (number,)))[number]


async def blocks_at(rpc: RpcClient, numbers: Iterable[int]) -> dict[int, Block | None]:
    """The blocks with these numbers; see `block_at`.

    Raises:
        MalformedAnswer: The node gives a block with another number than asked for.
    """
    wanted = sorted(set(numbers))
    answers = await rpc.batch([("eth_getBlockByNumber", (hex_quantity(n), False)) for n in wanted])
    blocks = {n: read_block(answer, f"block {n}") for n, answer in zip(wanted, answers, strict=True)}
    for number, block in blocks.items():
        if block is not None and block.number != number:
            raise MalformedAnswer(f"{rpc.node} gives block {block.number} for {number}")
    return blocks
