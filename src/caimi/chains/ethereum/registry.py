"""`ChainPort` over one Ethereum node: tries calls, signs transactions, sends them, tells what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from caimi.chains.ethereum.blocks import read_block, read_tip
from caimi.chains.ethereum.errors import ChainMoved, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.event_index import ScanLimits
from caimi.chains.ethereum.fees import TX_GAS_CAP, FeePolicy, Fees, check_call_size, gas_limit
from caimi.chains.ethereum.fields import as_hash, as_object, as_quantity, hex_data, hex_quantity
from caimi.chains.ethereum.jsonrpc import Answer, RpcClient
from caimi.chains.ethereum.reader import EthereumReader, RegistrySite
from caimi.chains.ethereum.reverts import read_revert
from caimi.chains.ethereum.transaction import Transaction, read_transaction, sign_transaction
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.call_errors import CallRejected, CallTooLarge, FeeTooLow, SenderUnfunded
from caimi.ports.chain import (
    CallStatus,
    ChainUnavailable,
    Included,
    Lost,
    NotIncluded,
    PreparedCall,
    Reverted,
    StatusUnknown,
)
from caimi.types.errors import BadEncoding, Refusal
from caimi.types.primitives import Bytes32
from caimi.wire.functions import decode_call

__all__ = ["EthereumRegistry"]

_SLOTS_REMEMBERED: Final = 256
# What nodes say of bytes that they have or that came too late: `status` tells which.
_KNOWN: Final = ("already known", "already imported", "known transaction", "nonce too low")
_UNDERPRICED: Final = ("underpriced", "fee too low to replace")
_UNFUNDED: Final = "insufficient funds"
_OUT_OF_GAS: Final = ("out of gas", "gas required exceeds", "exceeds allowance", "gas limit")
_INDEXING: Final = "indexing is in progress"
_INTERNAL: Final = -32603


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receipt:
    height: int
    block_hash: Bytes32
    succeeded: bool
    gas_used: int


class EthereumRegistry(EthereumReader):
    """Reads one registry and sends calls to it, from one account."""

    def __init__(
        self,
        rpc: RpcClient,
        site: RegistrySite,
        *,
        sender: SigningKey,
        fees: FeePolicy | None = None,
        limits: ScanLimits | None = None,
    ) -> None:
        """Send from the account of `sender`, which pays the chain's fees and has no authority in the registry.

        Raises:
            WrongRegistry: `rpc` is made for another chain than `site`.
        """
        super().__init__(rpc, site, limits=limits)
        self._sender = sender
        self._policy = fees or FeePolicy()
        self._paid: dict[int, Fees] = {}

    async def next_slot(self) -> int | None:
        """See `ChainPort.next_slot`: the sender's transaction count in the latest block."""
        answer = await self.rpc.call("eth_getTransactionCount", hex_data(self._sender.address), "latest")
        return as_quantity(answer, "the transaction count")

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        """See `ChainPort.prepare`; None takes `next_slot`.

        Raises:
            Refusal: The registry would refuse it; `BadEncoding` also where the contract reverts without a word.
            CallTooLarge: It needs more gas than one transaction may use: split it.
            CallRejected: It would revert with another reason.
            SenderUnfunded: The sender cannot pay.
            ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
        """
        check_call_size(call)
        nonce = await self.next_slot() if slot is None else slot
        if nonce is None:
            raise MalformedAnswer("no transaction count")
        sender, contract = hex_data(self._sender.address), hex_data(self.site.contract)
        trial = {"from": sender, "to": contract, "data": hex_data(call)}
        dry_run, estimate, latest, tip, money = await self.rpc.batch(
            [
                ("eth_call", (trial, "latest")),
                ("eth_estimateGas", (trial, "latest")),
                ("eth_getBlockByNumber", ("latest", False)),
                ("eth_maxPriorityFeePerGas", ()),
                ("eth_getBalance", (sender, "latest")),
            ]
        )
        _check_trial(dry_run, call)
        _check_estimate(estimate, call)
        block = read_block(latest, "the latest block")
        if block is None:
            raise ChainMoved(f"{self.rpc.node} has no latest block")
        gas = gas_limit(as_quantity(estimate, "the gas estimate"), block_gas_limit=block.gas_limit)
        suggested = 0 if isinstance(tip, RpcFailure) else as_quantity(tip, "the suggested tip", bits=128)
        prices = self._policy.fees(base_fee=block.base_fee, suggested_tip=suggested, replaced=self._paid.get(nonce))
        self._check_money(money, gas * prices.max_fee)
        return self._sign(call, nonce, gas, prices)

    def _check_money(self, answer: Answer, needed: int) -> None:
        if isinstance(answer, RpcFailure):
            raise answer
        has = as_quantity(answer, "the sender's balance", bits=256)
        if has < needed:
            raise SenderUnfunded(f"{hex_data(self._sender.address)} has {has} wei and needs {needed}")

    def _sign(self, call: bytes, nonce: int, gas: int, prices: Fees) -> PreparedCall:
        signed = sign_transaction(
            Transaction(
                chain_id=self.site.chain_id,
                nonce=nonce,
                max_priority_fee=prices.max_priority_fee,
                max_fee=prices.max_fee,
                gas=gas,
                to=self.site.contract,
                data=call,
            ),
            self._sender,
        )
        return PreparedCall(transaction=hex_data(signed.hash), raw=signed.raw, slot=nonce)

    async def send(self, prepared: PreparedCall) -> None:
        """See `ChainPort.send`.

        Raises:
            FeeTooLow: Another transaction with this slot waits at a price that this one does not beat.
            SenderUnfunded, CallRejected: The node does not take it, now or ever.
            ChainUnavailable: Not known whether it arrived.
        """
        self._remember_price(prepared)
        try:
            answer = await self.rpc.call("eth_sendRawTransaction", hex_data(prepared.raw))
        except RpcFailure as error:
            _check_sent(error)
            return
        if hex_data(as_hash(answer, "the transaction's hash")) != prepared.transaction:
            raise MalformedAnswer(f"{self.rpc.node} names another transaction than was sent")

    def _remember_price(self, prepared: PreparedCall) -> None:
        # What is sent next with this slot has to pay more, or nodes keep the old one.
        sent = read_transaction(prepared.raw)
        self._paid[sent.nonce] = Fees(max_priority_fee=sent.max_priority_fee, max_fee=sent.max_fee)
        while len(self._paid) > _SLOTS_REMEMBERED:
            del self._paid[min(self._paid)]

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """See `ChainPort.status`. A node that does not answer gives `StatusUnknown`."""
        try:
            return await self._status(prepared)
        except (ChainUnavailable, RpcFailure) as error:
            return StatusUnknown(because=str(error))

    async def _status(self, prepared: PreparedCall) -> CallStatus:
        tip = await read_tip(self.rpc, self.site.finality)
        # The count is asked for before the receipt: in the other order a block in between would look like a loss.
        # Only a final count shows that the slot is gone for good.
        sender, final = hex_data(self._sender.address), hex_quantity(tip.final.number)
        (count,) = await self.rpc.batch([("eth_getTransactionCount", (sender, final))])
        answer = await self.rpc.call("eth_getTransactionReceipt", prepared.transaction)
        receipt = _read_receipt(answer, prepared.transaction)
        if receipt is not None:
            return await self._outcome(prepared, receipt, tip.final.number)
        if isinstance(count, RpcFailure):
            # Development nodes forget the state of the blocks before their restart.
            return StatusUnknown(because=f"no transaction count at block {tip.final.number}: {count.message}")
        used = as_quantity(count, "the transaction count")
        if prepared.slot is None or used <= prepared.slot:
            return NotIncluded()
        # Both answers have to be of one branch, or a reorganisation would look like a loss.
        if await self.block_hash(tip.final.number) != tip.final.hash:
            return StatusUnknown(because="the branch changed while it was read")
        return Lost()

    async def _outcome(self, prepared: PreparedCall, receipt: _Receipt, final_height: int) -> CallStatus:
        if await self.block_hash(receipt.height) != receipt.block_hash:
            return StatusUnknown(because=f"the receipt is of another block {receipt.height} than the branch has")
        final = receipt.height <= final_height
        if receipt.succeeded:
            return Included(height=receipt.height, final=final)
        return Reverted(cause=await self._cause(prepared, receipt), final=final)

    async def _cause(self, prepared: PreparedCall, receipt: _Receipt) -> str:
        # The reason is not on the chain: the call is tried again on the state after its block, where it mostly fails
        # for the same reason. It only explains.
        try:
            sent = read_transaction(prepared.raw)
        except BadEncoding:
            return "reverted"
        if receipt.gas_used >= sent.gas:
            return f"out of gas at {sent.gas}"
        trial = {
            "from": hex_data(self._sender.address),
            "to": hex_data(self.site.contract),
            "data": hex_data(sent.data),
            "gas": hex_quantity(sent.gas),
        }
        try:
            await self.rpc.call("eth_call", trial, hex_quantity(receipt.height))
        except RpcFailure as error:
            return str(read_revert(error.data)) if error.data is not None else f"reverted: {error.message}"
        except ChainUnavailable:
            return "reverted"
        return "reverted, and would not now"


def _check_trial(answer: Answer, call: bytes) -> None:
    # A dry run or an estimate that did not go through.
    if not isinstance(answer, RpcFailure):
        return
    message = answer.message.lower()
    if answer.data is not None and len(answer.data) >= 4:
        reason = read_revert(answer.data)
        if isinstance(reason, Refusal):
            raise reason from answer
        raise CallRejected(reason) from answer
    if any(words in message for words in _OUT_OF_GAS):
        raise CallTooLarge(f"more than {TX_GAS_CAP} gas: {answer.message}") from answer
    if _UNFUNDED in message:
        raise SenderUnfunded(answer.message) from answer
    if "revert" in message:
        _check_encoding(call, answer)
        raise CallRejected(answer.message) from answer
    raise answer


def _check_encoding(call: bytes, answer: RpcFailure) -> None:
    # The contract's decoder reverts without a word (spec 10 §2), so the call itself has to say what is wrong in it.
    try:
        decode_call(call)
    except Refusal as refusal:
        raise refusal from answer


def _check_estimate(answer: Answer, call: bytes) -> None:
    # The dry run, which may use more gas than a transaction, went through. What fails within a transaction's gas fails
    # for want of it: a call inside that runs out of gas looks like an unknown revert.
    try:
        _check_trial(answer, call)
    except CallRejected as error:
        raise CallTooLarge(f"more than {TX_GAS_CAP} gas: {error}") from error


def _check_sent(error: RpcFailure) -> None:
    message = error.message.lower()
    if any(words in message for words in _KNOWN):
        return
    if any(words in message for words in _UNDERPRICED):
        raise FeeTooLow(error.message) from error
    if _UNFUNDED in message:
        raise SenderUnfunded(error.message) from error
    if error.code == _INTERNAL or _INDEXING in message:
        raise ChainUnavailable(error.message) from error
    raise CallRejected(error.message) from error


def _read_receipt(answer: Any, transaction: str) -> _Receipt | None:
    if answer is None:
        return None
    fields = as_object(answer, "a receipt")
    if hex_data(as_hash(fields.get("transactionHash"), "a receipt's transaction")) != transaction:
        raise MalformedAnswer("a receipt of another transaction")
    status = as_quantity(fields.get("status"), "a receipt's status", bits=1)
    return _Receipt(
        height=as_quantity(fields.get("blockNumber"), "a receipt's block number"),
        block_hash=as_hash(fields.get("blockHash"), "a receipt's block hash"),
        succeeded=status == 1,
        gas_used=as_quantity(fields.get("gasUsed"), "a receipt's gas"),
    )
