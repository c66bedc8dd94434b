"""Publications handed over in batches (spec 37), counted when both ledgers show their batch and then each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.devnet import BenchDevnet
from benchmarks.publications import NotReadable
from caimi.chains.ethereum.errors import RpcFailure
from caimi.chains.ethereum.fields import as_data, hex_data
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.ports.registry_views import encode_view, read_batch, read_state_in
from caimi.protocol.batches import batch_root
from caimi.protocol.publication import State
from caimi.sdk.batches import post_batch
from caimi.sdk.publishing import SignedPublication
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import BatchProof, Lane
from caimi.wire.digests import batch_leaf
from caimi.wire.merkle import merkle_paths

__all__ = ["POLL_S", "BatchWatch", "HandedBatch", "await_batches", "check_each", "hand_over_batches"]

POLL_S: Final = 0.05
"""Between two looks at both ledgers."""
_AT_ONCE: Final = 16
_VIEW_LIMIT: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedBatch:
    """One batch that the relay has taken."""

    home: Lane
    root: Bytes32
    ids: tuple[PublicationId, ...]
    """By index."""

    def proofs(self) -> list[tuple[PublicationId, BatchProof]]:
        """That each id is in it."""
        paths = merkle_paths([batch_leaf(place, identifier) for place, identifier in enumerate(self.ids)])
        return [
            (identifier, BatchProof(home=self.home, root=self.root, index=index, siblings=path))
            for index, (identifier, path) in enumerate(zip(self.ids, paths, strict=True))
        ]


async def hand_over_batches(
    devnet: BenchDevnet, publications: Sequence[SignedPublication], home: str
) -> tuple[HandedBatch, ...]:
    """Give all to the relay, in as few batches as home's lane takes. Raises what the relay answers."""
    status = await devnet.connections.relay.get("/v1/status")
    most = next(lane.number("batch_items") for lane in status.objects("lanes") if lane.text("name") == home)
    chunks = [publications[start : start + most] for start in range(0, len(publications), most)]
    await asyncio.gather(*(post_batch(devnet.connections, chunk) for chunk in chunks))
    lane = devnet.network.lane(home).lane
    ids = [tuple(one.id for one in chunk) for chunk in chunks]
    return tuple(HandedBatch(home=lane, root=batch_root(some), ids=some) for some in ids)


class BatchWatch:
    """Looks for batches on both ledgers, for all of them at once: asking must not cost what is measured."""

    def __init__(self, devnet: BenchDevnet, rpc: RpcClient) -> None:
        self._devnet = devnet
        self._rpc = rpc
        self._waiting: dict[Bytes32, HandedBatch] = {}
        self._on_ethereum: dict[Bytes32, HandedBatch] = {}

    @property
    def left(self) -> int:
        """Batches that are not readable yet."""
        return len(self._waiting) + len(self._on_ethereum)

    def add(self, batch: HandedBatch) -> None:
        """Look for it from now on."""
        self._waiting[batch.root] = batch

    async def look(self) -> tuple[HandedBatch, ...]:
        """Those that the tips of both ledgers show as COMMITTED and whole, and did not before.

        Raises:
            NotReadable: One was aborted or taken apart.
        """
        # Only what Ethereum shows is looked for on Fabric, where a question costs more.
        for root in await _on_ethereum(self._devnet, self._rpc, tuple(self._waiting.values())):
            self._on_ethereum[root] = self._waiting.pop(root)
        shown = await _on_fabric(self._devnet, tuple(self._on_ethereum.values()))
        return tuple(self._on_ethereum.pop(root) for root in shown)


async def await_batches(
    devnet: BenchDevnet, rpc: RpcClient, batches: Sequence[HandedBatch], *, timeout_s: float
) -> Mapping[PublicationId, float]:
    """Wait until the tips of both ledgers show each batch as COMMITTED, whole; when, by time.perf_counter, for each id.

    Raises:
        NotReadable: One is not within `timeout_s`, or was aborted or taken apart.
    """
    watch = BatchWatch(devnet, rpc)
    for batch in batches:
        watch.add(batch)
    seen: dict[PublicationId, float] = {}
    until = time.perf_counter() + timeout_s
    while True:
        begin = time.perf_counter()
        for batch in await watch.look():
            seen |= dict.fromkeys(batch.ids, time.perf_counter())
        now = time.perf_counter()
        if not watch.left:
            return seen
        if now > until:
            raise NotReadable(f"{watch.left} of {len(batches)} batches are not COMMITTED after {timeout_s:.0f} s")
        await asyncio.sleep(max(0.0, POLL_S - (now - begin)))


async def check_each(devnet: BenchDevnet, rpc: RpcClient, batches: Sequence[HandedBatch]) -> None:
    """Read every single id by its proof on both ledgers.

    Raises:
        NotReadable: One is not COMMITTED.
    """
    contract, gate = hex_data(devnet.ethereum.contract), asyncio.Semaphore(_AT_ONCE)
    fabric = devnet.connections.reader("fabric")
    proofs = [proof for batch in batches for proof in batch.proofs()]
    questions: list[tuple[str, tuple[Any, ...]]] = [
        ("eth_call", ({"to": contract, "data": hex_data(encode_view("stateIn", *one))}, "latest")) for one in proofs
    ]
    for (identifier, _), answer in zip(proofs, await rpc.batch(questions), strict=True):
        if isinstance(answer, RpcFailure):
            raise answer
        _must_be_committed(identifier, read_state_in(as_data(answer, "a state", limit=_VIEW_LIMIT))[1], "ethereum")

    async def one(identifier: PublicationId, proof: BatchProof) -> None:
        async with gate:
            _must_be_committed(identifier, (await fabric.state_in(identifier, proof))[1], "fabric")

    await asyncio.gather(*(one(*some) for some in proofs))


def _must_be_committed(identifier: PublicationId, state: State, lane: str) -> None:
    if state is not State.COMMITTED:
        raise NotReadable(f"0x{identifier.hex()} is {state.name} on {lane}")


async def _on_ethereum(devnet: BenchDevnet, rpc: RpcClient, batches: Sequence[HandedBatch]) -> list[Bytes32]:
    contract = hex_data(devnet.ethereum.contract)
    questions: list[tuple[str, tuple[Any, ...]]] = [
        ("eth_call", ({"to": contract, "data": hex_data(encode_view("batch", b.home, b.root))}, "latest"))
        for b in batches
    ]
    found: list[Bytes32] = []
    for batch, answer in zip(batches, await rpc.batch(questions), strict=True):
        if isinstance(answer, RpcFailure):
            raise answer
        view = read_batch(as_data(answer, "a batch", limit=_VIEW_LIMIT))
        if _is_whole(batch, None if view is None else (view.state, view.taken)):
            found.append(batch.root)
    return found


async def _on_fabric(devnet: BenchDevnet, batches: Sequence[HandedBatch]) -> list[Bytes32]:
    reader = devnet.connections.reader("fabric")
    views = await asyncio.gather(*(reader.batch(b.home, b.root) for b in batches))
    return [
        batch.root
        for batch, view in zip(batches, views, strict=True)
        if _is_whole(batch, None if view is None else (view.state, view.taken))
    ]


def _is_whole(batch: HandedBatch, shown: tuple[State, int] | None) -> bool:
    if shown is None:
        return False
    state, taken = shown
    if state is State.ABORTED or taken:
        raise NotReadable(f"batch 0x{batch.root.hex()} is {state.name}, taken out of it: {taken:#x}")
    return state is State.COMMITTED
