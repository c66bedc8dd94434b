"""Views of the registry: what an answer means and which answers no registry gives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caimi.chains.ethereum.errors import MalformedAnswer, RegistryMissing
from caimi.chains.ethereum.reader import EthereumReader
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types.errors import WrongRegistry
from caimi.types.primitives import Address, PublicationId
from caimi.wire.codec import encode_values
from caimi.wire.keccak import keccak256
from tests.unit.ethereum.fake_node import FakeNode, item, site

_PUBLISHER = Address(bytes(range(20)))
_WORD = keccak256(b"word")


def _publication(**changes: Any) -> str:
    lane = item(1).event.destinations[0]
    fields: dict[str, Any] = {
        "role": 1,
        "state": 2,
        "publisher": _PUBLISHER,
        "name": b"digits",
        "version": 1,
        "home": lane,
        "mirrors": (lane,),
        "deposit": 10,
        "deadline": 5,
        "awaited": 0,
        "reason": 0,
    }
    kinds = ("uint8", "uint8", "address", "bytes", "uint64", "Lane", "Lane[]", "uint128", "uint64", "uint8", "uint8")
    return "0x" + encode_values(kinds, tuple((fields | changes).values())).hex()


def _view(answer: Any, read: Callable[[EthereumReader], Awaitable[Any]]) -> Any:
    node = FakeNode()
    node.methods["eth_call"] = lambda _: answer

    async def act() -> Any:
        async with node.client() as rpc:
            return await read(EthereumReader(rpc, site()))

    return asyncio.run(act())


def test_publication_is_read() -> None:
    view = _view(_publication(), lambda port: port.publication(PublicationId(_WORD)))
    assert (view.role, view.state, view.name, view.reason) == (Role.HOME, State.COMMITTED, "digits", AbortReason.NONE)
    assert _view(_publication(state=0), lambda port: port.publication(PublicationId(_WORD))) is None


def test_name_that_is_no_text_does_not_hide_the_record() -> None:
    view = _view(_publication(state=4, name=b"\xff!"), lambda port: port.publication(PublicationId(_WORD)))
    assert view.name == "\\xff!"


@pytest.mark.parametrize("changes", [{"role": 0}, {"role": 3}, {"state": 7}, {"reason": 4}])
def test_rejects_publications_that_no_registry_has(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer):
        _view(_publication(**changes), lambda port: port.publication(PublicationId(_WORD)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("0x", RegistryMissing),
        ("0x" + "00" * 31, MalformedAnswer),
        ("0x" + "00" * 33, MalformedAnswer),
        ("0x" + "ff" * 32, MalformedAnswer),
        ("0x" + "00" * 70_000, MalformedAnswer),
        (None, MalformedAnswer),
        ("00", MalformedAnswer),
    ],
)
def test_rejects_malformed_views(answer: Any, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        _view(answer, lambda port: port.balance(_PUBLISHER))


def test_rejects_a_contract_that_is_another_lane() -> None:
    lane = item(1).event.destinations[0]
    answer = "0x" + encode_values(("Lane",), (lane,)).hex()
    with pytest.raises(WrongRegistry):
        _view(answer, lambda port: port.verify_site())
