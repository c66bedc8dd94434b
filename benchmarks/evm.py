"""Many transactions of one account on an Ethereum node: signed in order, sent in batches, watched block by block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from caimi.chains.ethereum.fields import as_list, as_object, as_quantity, hex_data
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.transaction import Transaction, sign_transaction
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Address

__all__ = ["EvmSender", "Receipt", "TransactionFailed"]

_POLL_S: Final = 0.05
_GATHER_S: Final = 0.005
_FEE: Final = 200 * 10**9
_TIP: Final = 10**9


class TransactionFailed(Exception):
    """A transaction reverted, or the node did not take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction."""

    height: int
    gas_used: int
    contract: Address | None
    logs: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Pending:
    to: Address | None
    data: bytes
    gas: int
    done: asyncio.Future[Receipt]


class EvmSender:
    """One account at one node. Use `EvmSender.running`."""

    def __init__(self, rpc: RpcClient, key: SigningKey) -> None:
        self.rpc = rpc
        self.key = key
        self.tip = 0
        """Number of the newest block that was seen."""
        self._nonce = 0
        self._queue: asyncio.Queue[_Pending] = asyncio.Queue()
        self._sent: dict[str, asyncio.Future[Receipt]] = {}
        self._grown = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def running(cls, rpc: RpcClient, key: SigningKey) -> AsyncGenerator[EvmSender]:
        """A sender whose account is used by nobody else."""
        sender = cls(rpc, key)
        await sender.refresh()
        sender.tip = as_quantity(await rpc.call("eth_blockNumber"), "the height")
        tasks = [asyncio.create_task(sender._send_all()), asyncio.create_task(sender._watch())]
        try:
            yield sender
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def refresh(self) -> None:
        """Ask the node for the next nonce: needed after somebody else has used the account."""
        counted = await self.rpc.call("eth_getTransactionCount", hex_data(self.key.address), "latest")
        self._nonce = as_quantity(counted, "the transaction count")

    async def transact(self, to: Address | None, data: bytes, *, gas: int) -> Receipt:
        """Send one and wait until it is in a block.

        Arguments:
            to: None creates a contract.
            gas: the limit.
        Raises:
            TransactionFailed: It reverted, or the node refuses it.
        """
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Pending(to, data, gas, done))
        return await done

    async def create(self, code: bytes, *, gas: int = 15_000_000) -> Address:
        """Create a contract; its address. Raises as `transact`."""
        receipt = await self.transact(None, code, gas=gas)
        if receipt.contract is None:
            raise TransactionFailed("the receipt names no contract")
        return receipt.contract

    async def buried(self, height: int, depth: int) -> None:
        """Wait until `depth` blocks lie on the one at `height`."""
        async with self._grown:
            await self._grown.wait_for(lambda: self.tip >= height + depth)

    async def view(self, to: Address, data: bytes) -> bytes:
        """Call a contract at the tip without changing anything. Raises RpcFailure if it reverts."""
        answer = await self.rpc.call("eth_call", {"to": hex_data(to), "data": hex_data(data)}, "latest")
        return bytes.fromhex(str(answer).removeprefix("0x"))

    async def _send_all(self) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(_GATHER_S)
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            requests: list[tuple[str, tuple[Any, ...]]] = []
            for pending in batch:
                signed = sign_transaction(self._transaction(pending), self.key)
                self._nonce += 1
                self._sent[hex_data(signed.hash)] = pending.done
                requests.append(("eth_sendRawTransaction", (hex_data(signed.raw),)))
            answers: list[Any]
            try:
                answers = await self.rpc.batch(requests)
            except Exception as error:  # whatever it is, whoever waits has to hear of it
                answers = [error] * len(batch)
            for pending, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception) and not pending.done.done():
                    pending.done.set_exception(TransactionFailed(str(answer)))

    def _transaction(self, pending: _Pending) -> Transaction:
        return Transaction(
            chain_id=self.rpc.chain_id,
            nonce=self._nonce,
            max_priority_fee=_TIP,
            max_fee=_FEE,
            gas=pending.gas,
            to=pending.to,
            data=pending.data,
        )

    async def _watch(self) -> None:
        while True:
            newest = as_quantity(await self.rpc.call("eth_blockNumber"), "the height")
            for height in range(self.tip + 1, newest + 1):
                receipts = await self.rpc.call("eth_getBlockReceipts", hex(height))
                for entry in as_list(receipts, "receipts", limit=100_000):
                    self._settle(as_object(entry, "a receipt"), height)
                async with self._grown:
                    self.tip = height
                    self._grown.notify_all()
            await asyncio.sleep(_POLL_S)

    def _settle(self, receipt: dict[str, Any], height: int) -> None:
        done = self._sent.pop(str(receipt["transactionHash"]), None)
        if done is None or done.done():
            return
        if as_quantity(receipt["status"], "a status") != 1:
            done.set_exception(TransactionFailed(f"{receipt['transactionHash']} reverted in block {height}"))
            return
        contract = receipt.get("contractAddress")
        done.set_result(
            Receipt(
                height=height,
                gas_used=as_quantity(receipt["gasUsed"], "the gas used"),
                contract=None if contract is None else Address(bytes.fromhex(contract[2:])),
                logs=tuple(receipt["logs"]),
            )
        )
