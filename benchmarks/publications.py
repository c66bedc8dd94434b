"""Publications for measuring: signed ahead, handed to the relay, counted when both ledgers show them by their id."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.devnet import BenchDevnet
from caimi.apps.demo.graph import linear, save
from caimi.bundle.cid import RAW, cid_of
from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role
from caimi.bundle.onnx_inspect import inspect_model
from caimi.chains.ethereum.errors import RpcFailure
from caimi.chains.ethereum.fields import as_data, hex_data
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.registry_views import encode_view, read_publication
from caimi.protocol.publication import State
from caimi.sdk.bundles import LocalBundle
from caimi.sdk.publishing import SEED_BYTES, Offer, PublicationSeed, SignedPublication, compose, post
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds

__all__ = ["LANES", "NotReadable", "PublicationMaker", "await_readable", "forged", "hand_over", "mirror_of"]

LANES: Final = ("fabric", "ethereum")
_DEADLINE_S: Final = 900
_POLL_S: Final = 0.1
_AT_ONCE: Final = 32
_VIEW_LIMIT: Final = 65_536


class NotReadable(Exception):
    """Publications that did not become COMMITTED on both ledgers, or were shown with another publisher."""


def mirror_of(home: str) -> str:
    """The other lane."""
    return LANES[1 - LANES.index(home)]


@dataclass(slots=True, kw_only=True)
class PublicationMaker:
    """Makes publications of one home, each with a name and a nonce of its own, by accounts in turn."""

    devnet: BenchDevnet
    home: str
    accounts: Sequence[SigningKey]
    """With a balance at home."""
    _count: int = 0

    async def make(self, count: int) -> tuple[SignedPublication, ...]:
        """So many, signed; what the publisher does by himself is not part of the measurement."""
        now = await self.devnet.connections.clock(self.home)
        return await asyncio.to_thread(lambda: tuple(self._one(UnixSeconds(now + _DEADLINE_S)) for _ in range(count)))

    def _one(self, deadline: UnixSeconds) -> SignedPublication:
        network, number = self.devnet.network, self._count
        self._count += 1
        home = network.lane(self.home)
        offer = Offer(
            name=f"bench-{os.urandom(6).hex()}",
            version=1,
            home=home.lane,
            mirrors=(network.lane(mirror_of(self.home)).lane,),
            deposit=home.min_deposit,
            deadline=deadline,
        )
        seed = PublicationSeed.from_bytes(os.urandom(SEED_BYTES))
        account = self.accounts[number % len(self.accounts)]
        # The content is not what is measured: any CID stands for the ciphertext.
        ciphertext = cid_of(RAW, seed.stream_salt)
        return compose(network, _BUNDLE, seed, ciphertext=ciphertext, offer=offer, account=account)


async def hand_over(devnet: BenchDevnet, publications: Sequence[SignedPublication]) -> None:
    """Give them all to the relay, side by side. Raises what the relay answers."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(publication: SignedPublication) -> None:
        async with gate:
            await post(devnet.connections, publication)

    await asyncio.gather(*(one(publication) for publication in publications))


async def await_readable(
    devnet: BenchDevnet,
    rpc: RpcClient,
    publications: Sequence[SignedPublication],
    *,
    timeout_s: float,
) -> Mapping[PublicationId, float]:
    """Wait until the tips of both ledgers show each as COMMITTED and of its publisher; when, by time.perf_counter.

    Raises:
        NotReadable: One is not within `timeout_s`, is in another final state, or has another publisher.
    """
    waiting = {one.id: one for one in publications}
    there: dict[PublicationId, SignedPublication] = {}
    readable: dict[PublicationId, float] = {}
    until, height = time.perf_counter() + timeout_s, ""
    while waiting or there:
        begin = time.perf_counter()
        # All in one call, and only when there is a new block: asking must not cost what is measured.
        newest = str(await rpc.call("eth_blockNumber"))
        if newest != height:
            height = newest
            for one in await _on_ethereum(devnet, rpc, tuple(waiting.values())):
                there[one.id] = waiting.pop(one.id)
        # Only those are looked for on Fabric, where a question costs more, the oldest first.
        asked = list(there.values())[:_AT_ONCE]
        for one, is_there in zip(asked, await asyncio.gather(*(_on_fabric(devnet, one) for one in asked)), strict=True):
            if is_there:
                readable[one.id] = time.perf_counter()
                del there[one.id]
        left, now = len(waiting) + len(there), time.perf_counter()
        if left and now > until:
            raise NotReadable(f"{left} of {len(publications)} are not COMMITTED on both after {timeout_s:.0f} s")
        await asyncio.sleep(max(0.0, _POLL_S - (now - begin)))
    return readable


async def _on_ethereum(
    devnet: BenchDevnet, rpc: RpcClient, publications: Sequence[SignedPublication]
) -> list[SignedPublication]:
    contract = hex_data(devnet.ethereum.contract)
    questions: list[tuple[str, tuple[Any, ...]]] = [
        ("eth_call", ({"to": contract, "data": hex_data(encode_view("publication", one.id))}, "latest"))
        for one in publications
    ]
    found: list[SignedPublication] = []
    for one, answer in zip(publications, await rpc.batch(questions), strict=True):
        if isinstance(answer, RpcFailure):
            raise answer
        view = read_publication(as_data(answer, "a publication", limit=_VIEW_LIMIT))
        if _counts(one, None if view is None else (view.state, view.publisher)):
            found.append(one)
    return found


async def _on_fabric(devnet: BenchDevnet, publication: SignedPublication) -> bool:
    view = await devnet.connections.reader("fabric").publication(publication.id)
    return _counts(publication, None if view is None else (view.state, view.publisher))


def _counts(publication: SignedPublication, shown: tuple[State, bytes] | None) -> bool:
    if shown is None:
        return False
    state, publisher = shown
    # The registry writes down whose signature it has checked.
    if publisher != publication.publication.publisher or state not in (State.NONE, State.LOCKED, State.COMMITTED):
        raise NotReadable(f"0x{publication.id.hex()} is {state.name}, of 0x{publisher.hex()}")
    return state is State.COMMITTED


def forged(publication: SignedPublication) -> SignedPublication:
    """The same publication with a signature of somebody else: no registry may take it."""
    other = SigningKey.from_entropy(Bytes32(os.urandom(32))).sign(publication.id)
    return dataclasses.replace(publication, signature=other.to_bytes())


def _small_bundle() -> LocalBundle:
    import numpy as np

    nodes, weights = linear("x", "y", np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32), rectify=False)
    model = save("small", nodes, weights, ("x", [None, 2]), ("y", [None, 2]))
    entry = FileEntry(path="small.onnx", size=len(model), sha256=Bytes32(bytes(31) + b"\x01"), role=Role.MODEL)
    manifest = Manifest(
        kind=BundleKind.MODEL,
        framework=Framework.ONNX,
        files=(entry,),
        signature=inspect_model(model).signature,
        licence_sha256=ZERO32,
    )
    return LocalBundle(manifest=manifest, paths=())


_BUNDLE: Final = _small_bundle()
