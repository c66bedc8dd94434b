"""Trying, sending and following calls: what each answer of a node means."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caimi.chains.ethereum.errors import MalformedAnswer, RpcFailure
from caimi.chains.ethereum.fees import TX_GAS_CAP, FeePolicy
from caimi.chains.ethereum.finality import DepthFinality
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.chains.ethereum.transaction import read_transaction
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.call_errors import (
    CallRejected,
    CallTooLarge,
    FeeBoundReached,
    FeeTooLow,
    NotTakenNow,
    SenderUnfunded,
)
from caimi.ports.chain import (
    ChainUnavailable,
    Included,
    Lost,
    NotIncluded,
    PreparedCall,
    Reverted,
    StatusUnknown,
)
from caimi.types.errors import BadEncoding, SmallDeposit, UnknownFunction, WrongRegistry
from caimi.wire.codec import encode_values
from caimi.wire.functions import encode_call, selector
from caimi.wire.keccak import keccak256
from tests.unit.ethereum.fake_node import CHAIN_ID, CONTRACT, FakeNode, Method, RpcRefusal, site

_KEY = SigningKey.from_entropy(keccak256(b"sender"))
_CALL = encode_call("abort", bytes(32))
_SMALL = keccak256(b"SmallDeposit(uint128,uint128)")[:4] + encode_values(("uint128", "uint128"), (10, 9))
_WORD = keccak256(b"word")


def _fail(code: int, message: str, data: str | None = None) -> Method:
    def method(parameters: list[Any]) -> Any:
        raise RpcRefusal(code, message, data)

    return method


def _node() -> FakeNode:
    node = FakeNode()
    for _ in range(5):
        node.mine()
    node.methods.update(
        {
            "eth_call": lambda _: "0x",
            "eth_estimateGas": lambda _: hex(100_000),
            "eth_maxPriorityFeePerGas": lambda _: hex(10**8),
            "eth_getBalance": lambda _: hex(10**18),
            "eth_getTransactionCount": lambda _: "0x3",
            "eth_getTransactionReceipt": lambda _: None,
            "eth_getTransactionByHash": lambda asked: {"hash": asked[0]},
            "eth_sendRawTransaction": lambda asked: "0x" + keccak256(bytes.fromhex(asked[0][2:])).hex(),
        }
    )
    return node


def _act(node: FakeNode, scene: Callable[[EthereumRegistry], Awaitable[None]], depth: int = 2) -> None:
    async def act() -> None:
        async with node.client() as rpc:
            await scene(EthereumRegistry(rpc, site(DepthFinality(depth)), sender=_KEY))

    asyncio.run(act())


def _receipt(prepared: PreparedCall, node: FakeNode, height: int, **changes: Any) -> dict[str, Any]:
    return {
        "transactionHash": prepared.transaction,
        "blockNumber": hex(height),
        "blockHash": node.hash(height),
        "status": "0x1",
        "gasUsed": hex(90_000),
    } | changes


# --- prepare


def test_prepared_call_is_a_signed_transaction_to_the_registry() -> None:
    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=7)
        sent = read_transaction(prepared.raw)
        assert (sent.chain_id, sent.nonce, sent.to, sent.data, sent.value) == (CHAIN_ID, 7, CONTRACT, _CALL, 0)
        assert (sent.gas, sent.max_priority_fee, sent.max_fee) == (125_000, 10**8, 2 * 10**9 + 10**8)
        assert prepared.transaction == "0x" + keccak256(prepared.raw).hex()
        assert prepared.slot == 7
        assert (await port.prepare(_CALL, slot=None)).slot == 3

    _act(_node(), scene)


def test_node_without_suggested_tip_gets_the_smallest() -> None:
    node = _node()
    del node.methods["eth_maxPriorityFeePerGas"]

    async def scene(port: EthereumRegistry) -> None:
        sent = read_transaction((await port.prepare(_CALL, slot=0)).raw)
        assert sent.max_priority_fee == FeePolicy().smallest_tip

    _act(node, scene)


def test_repriced_call_differs_in_its_fees_only() -> None:
    async def scene(port: EthereumRegistry) -> None:
        first = await port.prepare(_CALL, slot=7)
        assert (await port.prepare(_CALL, slot=7)).raw == first.raw
        again = await port.reprice(first)
        old, new = read_transaction(first.raw), read_transaction(again.raw)
        assert new.max_fee * 8 >= old.max_fee * 9
        assert new.max_priority_fee * 8 >= old.max_priority_fee * 9
        assert dataclasses.replace(new, max_fee=old.max_fee, max_priority_fee=old.max_priority_fee) == old
        assert again.slot == 7
        assert again.transaction == "0x" + keccak256(again.raw).hex() != first.transaction

    _act(_node(), scene)


def test_repriced_call_pays_what_the_chain_costs_now() -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        first = await port.prepare(_CALL, slot=7)
        node.base_fee *= 100
        again = read_transaction((await port.reprice(first)).raw)
        assert again.max_fee >= 2 * node.base_fee

    _act(node, scene)


def test_repricing_does_not_try_the_call_again() -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        first = await port.prepare(_CALL, slot=7)
        node.methods["eth_call"] = node.methods["eth_estimateGas"] = _fail(3, "reverted", "0x" + _SMALL.hex())
        assert (await port.reprice(first)).slot == 7

    _act(node, scene)


def test_filler_moves_nothing_but_the_nonce() -> None:
    async def scene(port: EthereumRegistry) -> None:
        filler = await port.fill(9)
        sent = read_transaction(filler.raw)
        assert (filler.slot, sent.nonce, sent.to, sent.value, sent.data) == (9, 9, _KEY.address, 0, b"")
        assert (sent.gas, sent.chain_id) == (21_000, CHAIN_ID)

    _act(_node(), scene)


_Price = Callable[[EthereumRegistry, PreparedCall], Awaitable[PreparedCall]]
_PRICES: dict[str, _Price] = {
    "prepare": lambda port, _: port.prepare(_CALL, slot=7),
    "reprice": lambda port, old: port.reprice(old),
    "fill": lambda port, _: port.fill(7),
}


@pytest.mark.parametrize("price", _PRICES.values(), ids=_PRICES)
def test_rejects_to_pay_above_the_bound(price: _Price) -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        old = await port.prepare(_CALL, slot=7)
        node.base_fee = 501 * 10**9
        with pytest.raises(FeeBoundReached, match="501000000000"):
            await price(port, old)
        node.base_fee = 499 * 10**9
        assert read_transaction((await price(port, old)).raw).max_fee == 500 * 10**9

    _act(node, scene)


@pytest.mark.parametrize("price", _PRICES.values(), ids=_PRICES)
def test_rejects_to_pay_what_the_sender_does_not_have(price: _Price) -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        old = await port.prepare(_CALL, slot=7)
        node.methods["eth_getBalance"] = lambda _: hex(10**9)
        with pytest.raises(SenderUnfunded, match="0x" + _KEY.address.hex()) as caught:
            await price(port, old)
        needed = int(str(caught.value).split("needs ")[1].split(":")[0])
        assert str(caught.value).endswith(f"{needed - 10**9} wei are missing")

    _act(node, scene)


_TRIALS: dict[str, tuple[Method, type[Exception]]] = {
    "refusal": (_fail(3, "execution reverted", "0x" + _SMALL.hex()), SmallDeposit),
    "unknown revert": (_fail(3, "execution reverted", "0xdeadbeef"), CallRejected),
    "panic": (
        _fail(3, "execution reverted", "0x" + (keccak256(b"Panic(uint256)")[:4] + bytes(32)).hex()),
        CallRejected,
    ),
    "revert without data": (_fail(3, "execution reverted", "0x"), CallRejected),
    "revert without a field": (_fail(-32000, "execution reverted"), CallRejected),
    "out of gas": (_fail(-32000, "out of gas"), CallTooLarge),
    "beyond the allowance": (_fail(-32000, "gas required exceeds allowance (16777216)"), CallTooLarge),
    "no money": (_fail(-32000, "insufficient funds for gas * price + value"), SenderUnfunded),
    "other": (_fail(-32000, "header not found"), RpcFailure),
}


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
@pytest.mark.parametrize(("trial", "expected"), _TRIALS.values(), ids=_TRIALS)
def test_rejects_a_call_by_what_its_trial_says(method: str, trial: Method, expected: type[Exception]) -> None:
    node = _node()
    node.methods[method] = trial
    if method == "eth_estimateGas" and expected is CallRejected:
        # The dry run with more gas went through.
        expected = CallTooLarge

    async def scene(port: EthereumRegistry) -> None:
        with pytest.raises(expected) as caught:
            await port.prepare(_CALL, slot=0)
        if isinstance(caught.value, SmallDeposit):
            assert caught.value.values == (10, 9)
        if isinstance(caught.value, SenderUnfunded):
            assert "0x" + _KEY.address.hex() in str(caught.value)

    _act(node, scene)
    assert "eth_sendRawTransaction" not in node.asked


_MALFORMED: dict[str, tuple[bytes, type[Exception]]] = {
    "cut": (encode_call("abort", _WORD)[:-1], BadEncoding),
    "no arguments": (selector("withdraw"), BadEncoding),
    "unknown": (b"\x12\x34\x56\x78" + bytes(32), UnknownFunction),
    "whole": (encode_call("abort", _WORD), CallRejected),
}


@pytest.mark.parametrize("data", ["0x", None])
@pytest.mark.parametrize(("call", "expected"), _MALFORMED.values(), ids=_MALFORMED)
def test_rejects_a_malformed_call_that_reverts_without_a_word(
    call: bytes, expected: type[Exception], data: str | None
) -> None:
    node = _node()
    node.methods["eth_call"] = _fail(3, "execution reverted", data)

    async def scene(port: EthereumRegistry) -> None:
        with pytest.raises(expected):
            await port.prepare(call, slot=0)

    _act(node, scene)


def test_rejects_a_call_that_needs_too_much_gas() -> None:
    node = _node()
    node.methods["eth_estimateGas"] = lambda _: hex(TX_GAS_CAP + 1)

    async def scene(port: EthereumRegistry) -> None:
        with pytest.raises(CallTooLarge):
            await port.prepare(_CALL, slot=0)

    _act(node, scene)


@pytest.mark.parametrize(("used", "gas"), [(80_000, 126_985), (TX_GAS_CAP - 1, 125_000)])
def test_what_one_execution_used_is_enough_unless_there_is_hardly_room(used: int, gas: int) -> None:
    node = _node()
    node.methods["eth_simulateV1"] = lambda _: [{"calls": [{"status": "0x1", "gasUsed": hex(used)}]}]

    async def scene(port: EthereumRegistry) -> None:
        assert read_transaction((await port.prepare(_CALL, slot=0)).raw).gas == gas

    _act(node, scene)
    assert ("eth_estimateGas" in node.asked) == (gas == 125_000)


def test_rejects_a_call_that_is_too_long_without_asking() -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        with pytest.raises(CallTooLarge):
            await port.prepare(bytes(200_000), slot=0)

    _act(node, scene)
    assert node.posts == 0


def test_rejects_a_client_of_another_chain() -> None:
    rpc = FakeNode().client(chain_id=5)
    with pytest.raises(WrongRegistry):
        EthereumRegistry(rpc, site(), sender=_KEY)


# --- send


@pytest.mark.parametrize(
    "message",
    [
        "already known",
        "ALREADY KNOWN",
        "transaction already imported",
        "Known transaction",
        "AlreadyKnown",
        "nonce too low",
        "nonce too low: next nonce 4, tx nonce 3",
        "OldNonce, Current nonce: 4, nonce of rejected tx: 3",
    ],
)
def test_bytes_that_the_node_has_are_fine(message: str) -> None:
    node = _node()
    node.methods["eth_sendRawTransaction"] = _fail(-32000, message)

    async def scene(port: EthereumRegistry) -> None:
        await port.send(await port.prepare(_CALL, slot=0))

    _act(node, scene)


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (-32000, "replacement transaction underpriced", FeeTooLow),
        (-32003, "max fee per gas less than block base fee", FeeTooLow),
        (-32000, "transaction underpriced: gas tip cap 1, minimum needed 1000000", FeeTooLow),
        (-32000, "max fee per gas less than block base fee: address 0xab, maxFeePerGas: 1, baseFee: 7", FeeTooLow),
        (-32010, "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 7", FeeTooLow),
        (-32000, "Gas price below current base fee", FeeTooLow),
        (-32010, "ReplacementNotAllowed", FeeTooLow),
        (-32000, "txpool is full", NotTakenNow),
        (-32003, "nonce too high", NotTakenNow),
        (-32000, "future transaction tries to replace pending", NotTakenNow),
        (-32005, "too fast", NotTakenNow),
        (-32000, "transaction indexing is in progress", NotTakenNow),
        (-32003, "Insufficient funds for gas * price + value", SenderUnfunded),
        (-32010, "InsufficientFunds, Balance is 0 less than sending value", SenderUnfunded),
        (-32000, "intrinsic gas too low", CallRejected),
        (-32000, "exceeds block gas limit", CallRejected),
        (-32603, "internal error", ChainUnavailable),
    ],
)
def test_rejects_a_transaction_by_what_the_node_says(code: int, message: str, expected: type[Exception]) -> None:
    node = _node()
    node.methods["eth_sendRawTransaction"] = _fail(code, message)

    async def scene(port: EthereumRegistry) -> None:
        with pytest.raises(expected):
            await port.send(await port.prepare(_CALL, slot=0))

    _act(node, scene)


@pytest.mark.parametrize(("has", "words"), [(10**9, "wei are missing"), (10**18, "Insufficient funds for gas")])
def test_sender_that_a_node_finds_too_poor_is_named(has: int, words: str) -> None:
    node = _node()
    node.methods["eth_sendRawTransaction"] = _fail(-32003, "Insufficient funds for gas * price + value")

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=0)
        node.methods["eth_getBalance"] = lambda _: hex(has)
        with pytest.raises(SenderUnfunded, match="0x" + _KEY.address.hex()) as caught:
            await port.send(prepared)
        assert words in str(caught.value)

    _act(node, scene)


def test_rejects_a_node_that_names_another_transaction() -> None:
    node = _node()
    node.methods["eth_sendRawTransaction"] = lambda _: "0x" + _WORD.hex()

    async def scene(port: EthereumRegistry) -> None:
        with pytest.raises(MalformedAnswer):
            await port.send(await port.prepare(_CALL, slot=0))

    _act(node, scene)


# --- status


@pytest.mark.parametrize(("height", "final"), [(5, False), (4, False), (3, True), (1, True)])
def test_included_is_final_at_depth(height: int, final: bool) -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=0)
        node.methods["eth_getTransactionReceipt"] = lambda _: _receipt(prepared, node, height)
        assert await port.status(prepared) == Included(height=height, final=final)

    _act(node, scene)


_CAUSES: dict[str, tuple[Method, int, str]] = {
    "the same refusal": (_fail(3, "reverted", "0x" + _SMALL.hex()), 90_000, "SmallDeposit: expected 10, actual 9"),
    "gas": (lambda _: "0x", 125_000, "out of gas at 125000"),
    "not any more": (lambda _: "0x", 90_000, "reverted, and would not now"),
    "nothing known": (_fail(-32000, "missing state"), 90_000, "reverted: missing state"),
}


@pytest.mark.parametrize(("trial", "gas_used", "cause"), _CAUSES.values(), ids=_CAUSES)
def test_reverted_says_why(trial: Method, gas_used: int, cause: str) -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=0)
        receipt = _receipt(prepared, node, 1, status="0x0", gasUsed=hex(gas_used))
        node.methods.update({"eth_getTransactionReceipt": lambda _: receipt, "eth_call": trial})
        assert await port.status(prepared) == Reverted(cause=cause, final=True)

    _act(node, scene)


@pytest.mark.parametrize(("slot", "expected"), [(3, NotIncluded()), (4, NotIncluded()), (2, Lost()), (0, Lost())])
def test_lost_is_what_lost_its_slot_for_good(slot: int, expected: object) -> None:
    async def scene(port: EthereumRegistry) -> None:
        assert await port.status(await port.prepare(_CALL, slot=slot)) == expected

    _act(_node(), scene)


def test_what_the_node_does_not_know_is_forgotten() -> None:
    node = _node()
    node.methods["eth_getTransactionByHash"] = lambda _: None

    async def scene(port: EthereumRegistry) -> None:
        assert await port.status(await port.prepare(_CALL, slot=3)) == NotIncluded(is_forgotten=True)

    _act(node, scene)


def test_node_that_does_not_tell_what_it_knows_has_forgotten_nothing() -> None:
    node = _node()
    node.methods["eth_getTransactionByHash"] = _fail(-32000, "transaction indexing is in progress")

    async def scene(port: EthereumRegistry) -> None:
        assert await port.status(await port.prepare(_CALL, slot=3)) == NotIncluded()

    _act(node, scene)


def test_slot_used_in_a_block_that_is_not_final_is_not_lost() -> None:
    node = _node()
    node.methods["eth_getTransactionCount"] = lambda asked: "0x1" if asked[1] == "0x3" else "0x9"

    async def scene(port: EthereumRegistry) -> None:
        assert await port.status(await port.prepare(_CALL, slot=2)) == NotIncluded()

    _act(node, scene)


def test_block_between_the_two_questions_is_no_loss() -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=3)
        count = node.methods["eth_getTransactionCount"]

        def mined_after(parameters: list[Any]) -> str:
            # The transaction is mined right after the count was read.
            node.methods["eth_getTransactionReceipt"] = lambda _: _receipt(prepared, node, 5)
            return count(parameters)

        node.methods["eth_getTransactionCount"] = mined_after
        assert isinstance(await port.status(prepared), Included)
        assert node.asked[::-1].index("eth_getTransactionReceipt") < node.asked[::-1].index("eth_getTransactionCount")

    _act(node, scene)


def test_reorganisation_between_the_questions_is_no_loss() -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=0)

        def reorganised(parameters: list[Any]) -> None:
            node.reorganise(4)
            for _ in range(4):
                node.mine()

        node.methods["eth_getTransactionReceipt"] = reorganised
        assert isinstance(await port.status(prepared), StatusUnknown)

    _act(node, scene)


def _receipt_of_another_branch(prepared: PreparedCall, node: FakeNode) -> Method:
    return lambda _: _receipt(prepared, node, 4, blockHash="0x" + _WORD.hex())


_Changes = Callable[[PreparedCall, FakeNode], dict[str, Method]]
_UNKNOWN: dict[str, _Changes] = {
    "indexing": lambda prepared, node: {
        "eth_getTransactionReceipt": _fail(-32000, "transaction indexing is in progress")
    },
    "another branch": lambda prepared, node: {"eth_getTransactionReceipt": _receipt_of_another_branch(prepared, node)},
    "forgotten state": lambda prepared, node: {"eth_getTransactionCount": _fail(-32602, "BlockOutOfRangeError")},
    "no final block": lambda prepared, node: {"eth_getBlockByNumber": lambda _: None},
}


@pytest.mark.parametrize("changes", _UNKNOWN.values(), ids=_UNKNOWN)
def test_status_is_unknown_when_the_node_cannot_say(changes: _Changes) -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=0)
        node.methods.update(changes(prepared, node))
        status = await port.status(prepared)
        assert isinstance(status, StatusUnknown)
        assert status.because

    _act(node, scene)


@pytest.mark.parametrize(
    "changes",
    [
        {"transactionHash": "0x" + _WORD.hex()},
        {"status": "0x2"},
        {"status": None},
        {"blockNumber": 4},
        {"blockHash": "0x12"},
        {"gasUsed": "-1"},
    ],
)
def test_rejects_malformed_receipts(changes: dict[str, Any]) -> None:
    node = _node()

    async def scene(port: EthereumRegistry) -> None:
        prepared = await port.prepare(_CALL, slot=0)
        node.methods["eth_getTransactionReceipt"] = lambda _: _receipt(prepared, node, 4, **changes)
        with pytest.raises(MalformedAnswer):
            await port.status(prepared)

    _act(node, scene)
