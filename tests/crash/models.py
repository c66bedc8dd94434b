"""Models that are really published, with keys that the test knows, and answers that it can compute itself."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from caimi.apps.demo.graph import linear, save
from caimi.ports.chain import ChainUnavailable
from caimi.ports.content import AllSourcesFailed, StoreFull, StoreUnavailable
from caimi.protocol.publication import State
from caimi.sdk import inference
from caimi.sdk.bundles import read_bundle
from caimi.sdk.errors import ServiceAnswer, ServiceUnavailable
from caimi.sdk.publishing import SEED_BYTES, Offer, PublicationSeed, compose, upload
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Cid
from tests.crash.devnet_fixture import PATIENCE_S, Devnet
from tests.crash.publications import settle, submit

__all__ = ["PublishedModel", "Question", "answered", "ask", "infer", "publish_model"]

T = TypeVar("T")
_INPUTS, _OUTPUTS = 64, 512
# What a service says that was just killed or stopped, or that has no room.
_NOT_NOW = (ServiceUnavailable, ServiceAnswer, StoreUnavailable, StoreFull, AllSourcesFailed, ChainUnavailable)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A committed model, and its secrets."""

    id: PublicationId
    ciphertext: Cid
    plaintext: bytes = dataclasses.field(repr=False)
    key: Bytes32 = dataclasses.field(repr=False)
    weights: NDArray[np.float32] = dataclasses.field(repr=False)
    bias: NDArray[np.float32] = dataclasses.field(repr=False)


async def publish_model(devnet: Devnet, folder: Path) -> PublishedModel:
    """Publish a model of fresh random weights, home Fabric, mirror Ethereum; it is committed on both."""
    rng = np.random.default_rng()
    weights = rng.standard_normal((_INPUTS, _OUTPUTS)).astype(np.float32)
    bias = rng.standard_normal(_OUTPUTS).astype(np.float32)
    nodes, initializers = linear("given", "result", weights, bias, rectify=False)
    plaintext = save("secret", nodes, initializers, ("given", [None, _INPUTS]), ("result", [None, _OUTPUTS]))
    path = folder / f"{os.urandom(6).hex()}.onnx"
    await asyncio.to_thread(path.write_bytes, plaintext)
    bundle, seed = read_bundle(path), PublicationSeed.from_bytes(os.urandom(SEED_BYTES))
    home, mirror = devnet.network.lane("fabric"), devnet.network.lane("ethereum")
    offer = Offer(
        name=path.stem,
        version=1,
        home=home.lane,
        mirrors=(mirror.lane,),
        deposit=home.min_deposit,
        deadline=UnixSeconds(await devnet.connections.clock("fabric") + 900),
    )
    ciphertext = await upload(devnet.connections, bundle, seed)
    publisher = devnet.accounts["publisher"]
    signed = compose(devnet.network, bundle, seed, ciphertext=ciphertext, offer=offer, account=publisher)
    await submit(devnet, signed)
    await settle(devnet, signed, State.COMMITTED)
    return PublishedModel(
        id=signed.id, ciphertext=ciphertext, plaintext=plaintext, key=seed.data_key, weights=weights, bias=bias
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked, and what has to come back."""

    lane: str
    pending: inference.PendingRequest
    expected: NDArray[np.float32] = dataclasses.field(repr=False)

    @property
    def id(self) -> Bytes32:
        """The request's id."""
        return self.pending.id


async def infer(devnet: Devnet, model: PublishedModel, lane: str) -> Bytes32:
    """Ask once by the registry of a lane, whoever dies meanwhile; the verified answer is right. The request's id."""
    question = await ask(devnet, model, lane)
    await answered(devnet, question)
    return question.id


async def ask(devnet: Devnet, model: PublishedModel, lane: str) -> Question:
    """Hand a request to the relay for the registry of a lane, again and again while services die."""
    given = np.random.default_rng().standard_normal((3, _INPUTS)).astype(np.float32)
    consumer = devnet.accounts["consumer"]

    async def hand_over() -> inference.PendingRequest:
        deadline = UnixSeconds(await devnet.connections.clock(lane) + 600)
        return await inference.request(
            devnet.connections, model.id, {"given": given}, lane=lane, account=consumer, deadline=deadline
        )

    pending = await _patient(hand_over)
    return Question(lane=lane, pending=pending, expected=given @ model.weights + model.bias)


async def answered(devnet: Devnet, question: Question) -> None:
    """Wait for the answer, whoever dies meanwhile; it verifies and is right."""
    pending = question.pending
    await _patient(lambda: inference.wait_answered(devnet.connections, pending, timeout_s=PATIENCE_S))
    answer = await _patient(lambda: inference.finish(devnet.connections, pending, lane=question.lane))
    result: Any = answer.outputs["result"]
    np.testing.assert_allclose(result, question.expected, rtol=1e-4, atol=1e-4)


async def _patient(act: Callable[[], Awaitable[T]]) -> T:
    # Asked again and again, for a while.
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            return await act()
        except _NOT_NOW:
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.3)
