"""Batches as a client sees them: checked, handed over, read by proof, taken out."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from caimi.crypto.capsule import Capsule
from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.batches import batch_root
from caimi.protocol.publication import State
from caimi.relay.batch_calls import batch_proof
from caimi.sdk import batches
from caimi.sdk.connections import Connections
from caimi.sdk.errors import ServiceAnswer, TakesTooLong, UnknownName
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.models import find_model, list_models
from caimi.sdk.publishing import SignedPublication
from caimi.sdk.services import Service
from caimi.types.errors import BatchItem, BatchTooLong, EmptyBatch, LowBalance, NameTaken, UnknownBatch, WrongRoot
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import BatchProof
from caimi.wire.codec import decode_values, encode
from caimi.wire.functions import FUNCTIONS
from tests.unit.sdk.network_fixture import a_network
from tests.unit.sdk.receipt_fixture import receipt_file

_ACCOUNT = SigningKey.from_entropy(Bytes32(b"\x01" * 32))
_CAPSULE = SimpleNamespace(to_bytes=lambda: bytes(195))


def signed(count: int) -> tuple[SignedPublication, ...]:
    base = receipt_file().publication
    return tuple(
        SignedPublication(
            id=PublicationId(Bytes32(bytes([number + 1]) * 32)),
            publication=dataclasses.replace(base, name=f"model-{number}", deposit=100),
            signature=bytes(65),
            capsule=cast(Capsule, _CAPSULE),
        )
        for number in range(count)
    )


class Network:
    """Connections to a relay and ledgers that are given."""

    def __init__(
        self,
        answer: Callable[[httpx2.Request], tuple[int, Any]],
        *,
        views: dict[str, State | None] | None = None,
        batch_state: State | type[Exception] | None = None,
        balance: int = 0,
        has_batch: bool = False,
    ) -> None:
        self.network = a_network_with_lanes()
        self._answer = answer
        self.asked: list[httpx2.Request] = []
        self.relay: Service | None = None
        self.views = views or {}
        self.batch_state = batch_state
        self.balance = balance
        self.has_batch = has_batch

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        code, body = self._answer(request)
        return httpx2.Response(code, content=json.dumps(body).encode())

    def reader(self, name: str) -> Any:
        async def publication(identifier: PublicationId) -> Any:
            state = self.views.get(name)
            return None if state is None else SimpleNamespace(state=state)

        async def state_in(identifier: PublicationId, proof: BatchProof) -> tuple[int, State]:
            if isinstance(self.batch_state, State):
                return 1, self.batch_state
            raise UnknownBatch(proof.root) if self.batch_state is None else self.batch_state(proof.root, proof.root)

        async def batch(home: Any, root: Bytes32) -> Any:
            return object() if self.has_batch else None

        async def balance(account: Any) -> int:
            return self.balance

        return SimpleNamespace(
            lane=self.network.lane(name).lane, publication=publication, state_in=state_in, batch=batch, balance=balance
        )

    def run(self, act: Callable[[Connections], Coroutine[Any, Any, Any]]) -> Any:
        async def within() -> Any:
            async with httpx2.AsyncClient(transport=httpx2.MockTransport(self._respond)) as client:
                self.relay = Service("http://127.0.0.1:1", client)
                return await act(cast(Connections, self))

        return asyncio.run(within())


def a_network_with_lanes() -> Any:
    from pathlib import Path

    return a_network(Path("/nowhere"))


def _status(limit: int) -> Callable[[httpx2.Request], tuple[int, Any]]:
    return lambda request: (200, {"lanes": [{"name": "fabric", "batch_items": limit}]})


@pytest.mark.parametrize(("count", "error"), [(0, EmptyBatch), (201, BatchTooLong), (257, BatchTooLong)])
def test_a_number_that_home_cannot_lock_is_refused_before_anything_is_uploaded(
    count: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Network(_status(200)).run(lambda c: batches.check_batch(c, "fabric", count))


def test_as_many_as_home_takes_are_fine() -> None:
    Network(_status(200)).run(lambda c: batches.check_batch(c, "fabric", 200))


def test_the_balance_must_hold_all_deposits() -> None:
    with pytest.raises(LowBalance) as caught:
        Network(_status(1), balance=299).run(lambda c: batches.check_deposits(c, "fabric", _ACCOUNT.address, signed(3)))
    assert caught.value.values == (300, 299)


def test_a_batch_that_home_has_locked_needs_no_balance() -> None:
    network = Network(_status(1), has_batch=True)
    network.run(lambda c: batches.check_deposits(c, "fabric", _ACCOUNT.address, signed(3)))


def test_what_is_posted_is_the_call_and_all_capsules() -> None:
    network = Network(lambda request: (202, {"unknown_mirrors": ["far"]}))
    three = signed(3)
    assert network.run(lambda c: batches.post_batch(c, three)) == ("far",)
    body = json.loads(network.asked[0].content)
    publications, signatures = decode_values(FUNCTIONS["lockBatch"], bytes.fromhex(body["batch"][2:]), limit=1 << 20)
    assert publications == tuple(one.publication for one in three)
    assert signatures == (bytes(65),) * 3
    assert len(body["capsules"]) == 2 + 2 * 3 * 195


def test_the_item_that_is_to_blame_is_named() -> None:
    problem = {"error": "BatchItem", "values": {"index": 2, "code": NameTaken.code}, "retry": "after"}
    network = Network(lambda request: (422, problem))
    with pytest.raises(BatchItem) as caught:
        network.run(lambda c: batches.post_batch(c, signed(3)))
    assert caught.value.values == (2, NameTaken.code)


def _row(**changed: Any) -> Fields:
    base: dict[str, Any] = {"home": "fabric", "batch": {"root": "0x" + "11" * 32, "index": 3, "siblings": []}}
    return Fields(base | changed, "test", error=ServiceAnswer)


@pytest.mark.parametrize(
    "batch",
    [
        {"root": "0x11", "index": 0, "siblings": []},
        {"root": "0x" + "11" * 32, "index": 1 << 16, "siblings": []},
        {"root": "0x" + "11" * 32, "index": -1, "siblings": []},
        {"root": "0x" + "11" * 32, "index": 0, "siblings": ["0x22"]},
        {"root": "0x" + "11" * 32, "index": 0, "siblings": ["zz" * 32]},
        {"root": "0x" + "11" * 32, "index": 0, "siblings": [7]},
        {"root": "0x" + "11" * 32, "index": 0},
    ],
)
def test_a_malformed_proof_is_the_relays_fault(batch: dict[str, Any]) -> None:
    network = Network(_status(1))

    async def act(connections: Connections) -> None:
        batches.proof_of(connections, _row(batch=batch))

    with pytest.raises(ServiceAnswer):
        network.run(act)


def _proof(connections: Connections) -> BatchProof:
    found = batches.proof_of(connections, _row())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("view", "in_batch", "expected"),
    [
        (State.REVOKED, State.COMMITTED, State.REVOKED),
        (State.LOCKED, State.COMMITTED, State.COMMITTED),
        (None, State.COMMITTED, State.COMMITTED),
        (None, None, State.NONE),
    ],
)
def test_state_joins_the_record_and_the_batch(view: State | None, in_batch: State | None, expected: State) -> None:
    network = Network(_status(1), views={"fabric": view}, batch_state=in_batch)
    identifier = PublicationId(Bytes32(bytes(32)))
    assert network.run(lambda c: batches.state_of(c, identifier, _proof(c), "fabric")) is expected


def test_a_relay_that_gives_a_wrong_proof_is_found_out_by_the_registry() -> None:
    network = Network(_status(1), batch_state=WrongRoot)
    with pytest.raises(WrongRoot):
        network.run(lambda c: batches.state_of(c, PublicationId(Bytes32(bytes(32))), _proof(c), "fabric"))


def test_taking_out_waits_for_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(lambda request: (202, {"keys": []}), views={"fabric": None, "ethereum": State.COMMITTED})

    async def pause(seconds: float) -> None:
        network.views["fabric"] = State.COMMITTED

    monkeypatch.setattr(batches.asyncio, "sleep", pause)
    told: list[str] = []
    identifier = PublicationId(Bytes32(b"\x0a" * 32))
    network.run(lambda c: batches.take_out(c, identifier, ("fabric", "ethereum"), told.append))
    assert [request.url.path for request in network.asked] == [f"/v1/publications/{hex_text(identifier)}/take-out"]
    assert told == ["has it taken out of its batch on fabric and ethereum"]


def test_taking_out_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_TAKE_OUT_S", -1.0)
    network = Network(lambda request: (202, {"keys": []}), views={"fabric": State.LOCKED})
    with pytest.raises(TakesTooLong):
        network.run(lambda c: batches.take_out(c, PublicationId(Bytes32(bytes(32))), ("fabric",), lambda text: None))


def test_models_of_a_batch_are_listed_by_name() -> None:
    three = signed(3)
    ids = tuple(one.id for one in three)
    root = batch_root(ids)
    lanes: dict[str, Any] = {"home": "fabric", "mirrors": ["ethereum"]}
    rows = [
        {
            "id": hex_text(i),
            "watched": "publication",
            "batch": hex_text(root),
            "home": "fabric",
            "mirrors": ["ethereum"],
        }
        for i in ids
    ]
    seen: dict[str, Any] = {"id": "0x" + "ff" * 32, "watched": "batch", "batch": None}

    def answer(request: httpx2.Request) -> tuple[int, Any]:
        if request.url.path == "/v1/publications":
            return 200, [seen | lanes, *rows]
        index = next(n for n, i in enumerate(ids) if hex_text(i) in request.url.path)
        proof = batch_proof(three[0].publication.home, root, ids, index)
        siblings = [hex_text(sibling) for sibling in proof.siblings]
        batch = {"root": hex_text(root), "index": index, "siblings": siblings}
        return 200, rows[index] | {"batch": batch, "publication": hex_text(encode(three[index].publication))}

    models = Network(answer, batch_state=State.COMMITTED).run(lambda c: list_models(c, limit=10))
    assert [(model.name, model.deposit) for model in models] == [(f"model-{n}", 100) for n in range(3)]
    assert find_model(models, "model-1").id == ids[1]
    with pytest.raises(UnknownName):
        find_model(models, "model-7")
