"""`ChainPort` over one Ethereum node: tries calls, signs transactions, sends them, tells what became of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from caimi.chains.ethereum.blocks import Block, read_block
from caimi.chains.ethereum.errors import ChainMoved, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.event_index import ScanLimits
from caimi.chains.ethereum.fees import TX_GAS_CAP, FeePolicy, Fees, check_call_size, gas_limit
from caimi.chains.ethereum.fields import as_hash, as_object, as_quantity, hex_data, hex_quantity
from caimi.chains.ethereum.gas_need import gas_need, simulation
from caimi.chains.ethereum.jsonrpc import Answer, RpcClient
from caimi.chains.ethereum.node_words import Sent, check_estimate, check_trial, read_sent
from caimi.chains.ethereum.reader import EthereumReader, RegistrySite
from caimi.chains.ethereum.reverts import read_revert
from caimi.chains.ethereum.transaction import Transaction, read_transaction, sign_transaction
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.call_errors import SenderUnfunded
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
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32

__all__ = ["EthereumRegistry"]

_TRANSFER_GAS: Final = 21_000


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

    async def next_slot(self) -> int | None:
        """See `ChainPort.next_slot`: the sender's transaction count in the latest block."""
        answer = await self.rpc.call("eth_getTransactionCount", hex_data(self._sender.address), "latest")
        return as_quantity(answer, "the transaction count")

    async def funds(self) -> int:
        """See `Paying.funds`: the sender's balance in wei."""
        answer = await self.rpc.call("eth_getBalance", hex_data(self._sender.address), "latest")
        return as_quantity(answer, "the sender's balance", bits=256)

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        """See `ChainPort.prepare`; None takes `next_slot`.

        Raises:
            Refusal: The registry would refuse it; `BadEncoding` also where the contract reverts without a word.
            CallTooLarge: It needs more gas than one transaction may use: split it.
            CallRejected: It would revert with another reason.
            SenderUnfunded: The sender cannot pay.
            FeeBoundReached: The chain costs more now than the fee policy allows.
            ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
        """
        check_call_size(call)
        nonce = await self.next_slot() if slot is None else slot
        if nonce is None:
            raise MalformedAnswer("no transaction count")
        sender, contract = hex_data(self._sender.address), hex_data(self.site.contract)
        trial = {"from": sender, "to": contract, "data": hex_data(call)}
        dry_run, simulated, latest, tip, money = await self.rpc.batch(
            [
                ("eth_call", (trial, "latest")),
                simulation(trial),
                ("eth_getBlockByNumber", ("latest", False)),
                ("eth_maxPriorityFeePerGas", ()),
                ("eth_getBalance", (sender, "latest")),
            ]
        )
        check_trial(dry_run, call, sender=sender)
        block = self._latest(latest)
        need = gas_need(simulated)
        if need is None or need > min(TX_GAS_CAP, block.gas_limit):
            need = await self._estimate(trial, call)
        gas = gas_limit(need, block_gas_limit=block.gas_limit)
        prices = self._prices(block, tip, replaced=None)
        self._check_money(money, gas * prices.max_fee)
        return self._sign(call, nonce, gas, prices)

    async def _estimate(self, trial: dict[str, str], call: bytes) -> int:
        (estimate,) = await self.rpc.batch([("eth_estimateGas", (trial, "latest"))])
        check_estimate(estimate, call, sender=trial["from"])
        return as_quantity(estimate, "the gas estimate")

    async def reprice(self, prepared: PreparedCall) -> PreparedCall:
        """See `ChainPort.reprice`: both fees rise by an eighth at least, and to what the chain costs now.

        The prices replaced are read from the bytes, so that a restart forgets none.

        Raises:
            FeeBoundReached: Of the fee policy.
            SenderUnfunded: The sender cannot pay it.
            BadEncoding: `prepared` is none of ours.
            ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
        """
        old = read_transaction(prepared.raw)
        replaced = Fees(max_priority_fee=old.max_priority_fee, max_fee=old.max_fee)
        prices = await self._affordable(old.gas, replaced)
        return self._signed(dataclasses.replace(old, max_priority_fee=prices.max_priority_fee, max_fee=prices.max_fee))

    async def fill(self, slot: int) -> PreparedCall:
        """See `ChainPort.fill`: nothing is transferred from the sender to itself. Raises as `reprice`."""
        prices = await self._affordable(_TRANSFER_GAS, replaced=None)
        return self._signed(
            Transaction(
                chain_id=self.site.chain_id,
                nonce=slot,
                max_priority_fee=prices.max_priority_fee,
                max_fee=prices.max_fee,
                gas=_TRANSFER_GAS,
                to=self._sender.address,
                data=b"",
            )
        )

    async def _affordable(self, gas: int, replaced: Fees | None) -> Fees:
        latest, tip, money = await self.rpc.batch(
            [
                ("eth_getBlockByNumber", ("latest", False)),
                ("eth_maxPriorityFeePerGas", ()),
                ("eth_getBalance", (hex_data(self._sender.address), "latest")),
            ]
        )
        prices = self._prices(self._latest(latest), tip, replaced=replaced)
        self._check_money(money, gas * prices.max_fee)
        return prices

    def _latest(self, answer: Answer) -> Block:
        block = read_block(answer, "the latest block")
        if block is None:
            raise ChainMoved(f"{self.rpc.node} has no latest block")
        return block

    def _prices(self, block: Block, tip: Answer, *, replaced: Fees | None) -> Fees:
        suggested = 0 if isinstance(tip, RpcFailure) else as_quantity(tip, "the suggested tip", bits=128)
        return self._policy.fees(base_fee=block.base_fee, suggested_tip=suggested, replaced=replaced)

    def _check_money(self, answer: Answer, needed: int) -> None:
        if isinstance(answer, RpcFailure):
            raise answer
        has = as_quantity(answer, "the sender's balance", bits=256)
        if has < needed:
            account = hex_data(self._sender.address)
            raise SenderUnfunded(f"{account} has {has} wei and needs {needed}: {needed - has} wei are missing")

    def _sign(self, call: bytes, nonce: int, gas: int, prices: Fees) -> PreparedCall:
        return self._signed(
            Transaction(
                chain_id=self.site.chain_id,
                nonce=nonce,
                max_priority_fee=prices.max_priority_fee,
                max_fee=prices.max_fee,
                gas=gas,
                to=self.site.contract,
                data=call,
            )
        )

    def _signed(self, transaction: Transaction) -> PreparedCall:
        signed = sign_transaction(transaction, self._sender)
        return PreparedCall(transaction=hex_data(signed.hash), raw=signed.raw, slot=transaction.nonce)

    async def send(self, prepared: PreparedCall) -> None:
        """See `ChainPort.send`.

        Raises:
            FeeTooLow: Its price does not do: the block's is higher, or another one with its slot pays more.
            SenderUnfunded: The sender cannot pay it.
            CallRejected: The node never takes it.
            NotTakenNow, ChainUnavailable: It may not have arrived; the same bytes may do later.
        """
        try:
            answer = await self.rpc.call("eth_sendRawTransaction", hex_data(prepared.raw))
        except RpcFailure as error:
            if read_sent(error) is Sent.UNFUNDED:
                sent = read_transaction(prepared.raw)
                money = await self.rpc.call("eth_getBalance", hex_data(self._sender.address), "latest")
                self._check_money(money, sent.gas * sent.max_fee)
                # It covers this one alone, so the node counts others that wait before it.
                raise SenderUnfunded(f"{hex_data(self._sender.address)}: {error.message}") from error
            return
        if hex_data(as_hash(answer, "the transaction's hash")) != prepared.transaction:
            raise MalformedAnswer(f"{self.rpc.node} names another transaction than was sent")

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """See `ChainPort.status`. A node that does not answer gives `StatusUnknown`."""
        try:
            return await self._status(prepared)
        except (ChainUnavailable, RpcFailure) as error:
            return StatusUnknown(because=str(error))

    async def _status(self, prepared: PreparedCall) -> CallStatus:
        tip = await self._index.tip()
        # The count is asked for before the receipt: in the other order a block in between would look like a loss.
        # Only a final count shows that the slot is gone for good.
        sender, final = hex_data(self._sender.address), hex_quantity(tip.final.number)
        (count,) = await self.rpc.batch([("eth_getTransactionCount", (sender, final))])
        answer, known = await self.rpc.batch(
            [(f"eth_getTransaction{what}", (prepared.transaction,)) for what in ("Receipt", "ByHash")]
        )
        if isinstance(answer, RpcFailure):
            raise answer
        receipt = _read_receipt(answer, prepared.transaction)
        if receipt is not None:
            return await self._outcome(prepared, receipt, tip.final.number)
        if isinstance(count, RpcFailure):
            # Development nodes forget the state of the blocks before their restart.
            return StatusUnknown(because=f"no transaction count at block {tip.final.number}: {count.message}")
        used = as_quantity(count, "the transaction count")
        if prepared.slot is None or used <= prepared.slot:
            return NotIncluded(is_forgotten=known is None)
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
