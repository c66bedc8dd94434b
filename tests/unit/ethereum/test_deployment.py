"""A registry is given the code of spec 42 once, whatever stopped whoever created it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from caimi.chains.ethereum.artefacts import EPOCHS, artefact_folder, load_artefact
from caimi.chains.ethereum.deployment import attach_epochs
from caimi.chains.ethereum.errors import DeploymentFailed, RpcFailure
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Bytes32
from caimi.wire.codec import encode_values
from caimi.wire.keccak import keccak256
from tests.unit.ethereum.fake_node import CONTRACT, FakeNode, RpcRefusal

_DEPLOYER = SigningKey(Bytes32(keccak256(b"deployer")))
_MADE = "0x" + "ab" * 20
_UNKNOWN = "0x" + keccak256(b"UnknownFunction()")[:4].hex()


def _refuse(data: str | None) -> Any:
    def method(_: list[Any]) -> Any:
        raise RpcRefusal(3, "execution reverted", data)

    return method


class _Node(FakeNode):
    """Takes what is sent, and says what was tried first."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[dict[str, str]] = []
        self.methods |= {
            "eth_call": _refuse(_UNKNOWN),
            "eth_estimateGas": self._try,
            "eth_getTransactionCount": lambda _: hex(len(self.tried)),
            "eth_sendRawTransaction": lambda _: "0x" + "11" * 32,
            "eth_getTransactionReceipt": lambda _: {"status": "0x1", "blockNumber": "0x1", "contractAddress": _MADE},
        }

    def _try(self, words: list[Any]) -> str:
        self.tried.append(words[0])
        return hex(100_000)

    def attach(self) -> None:
        async def run() -> None:
            async with self.client() as rpc:
                await attach_epochs(rpc, CONTRACT, deployer=_DEPLOYER, folder=artefact_folder())

        asyncio.run(run())


def test_the_code_is_created_and_named_to_the_registry() -> None:
    node = _Node()
    node.attach()
    created, attached = node.tried
    assert created["data"] == "0x" + load_artefact(artefact_folder(), EPOCHS).bytecode.hex()
    assert "to" not in created
    selector = keccak256(b"attachEpochs(address)")[:4]
    assert attached["to"] == "0x" + CONTRACT.hex()
    assert attached["data"] == "0x" + (selector + encode_values(("address",), (bytes.fromhex(_MADE[2:]),))).hex()


def test_a_registry_that_has_the_code_gets_no_transaction() -> None:
    node = _Node()
    node.methods["eth_call"] = lambda _: "0x" + "00" * 160
    node.attach()
    assert node.tried == []


def test_rejects_an_address_without_a_registry() -> None:
    node = _Node()
    node.methods["eth_call"] = lambda _: "0x"
    with pytest.raises(DeploymentFailed, match="no registry"):
        node.attach()
    assert node.tried == []


@pytest.mark.parametrize("data", [None, "0x" + keccak256(b"Paused()")[:4].hex()])
def test_another_failure_is_not_taken_for_a_registry_without_the_code(data: str | None) -> None:
    node = _Node()
    node.methods["eth_call"] = _refuse(data)
    with pytest.raises(RpcFailure):
        node.attach()
    assert node.tried == []
