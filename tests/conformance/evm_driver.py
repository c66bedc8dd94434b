"""The compiled registry on a real Anvil, driven call by call: refusals as raw bytes, logs in order, views."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode

from caimi.protocol.registry_state import Applied, Limits
from caimi.types.primitives import Address, Bytes32
from caimi.types.primitives import Sequence as EventNumber
from caimi.types.records import Event, Genesis, Item, Lane
from caimi.wire.chain_ids import chain_hash, ethereum_registry
from caimi.wire.codec import abi_type, decode_values, encode_values
from caimi.wire.functions import batch_ids_topic, event_topic
from caimi.wire.keccak import keccak256

__all__ = ["CHAIN_ID", "CLOCK_WINDOW", "MIN_DEPOSIT", "Anvil", "Outcome", "RegistryOnAnvil", "started_anvil"]

ARTEFACTS = Path(__file__).resolve().parents[2] / "onchain" / "ethereum" / "abi"
CHAIN_ID = 31337
CLOCK_WINDOW = 30
MIN_DEPOSIT = 100
_APPLIED = keccak256(b"Applied(bytes32,bytes32,uint64,uint8,uint16)")
_GAS = hex(16_000_000)  # below the limit that Osaka sets for one transaction


class Anvil:
    """One node. Blocks are made by transactions; the test sets their times."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.count = 0
        self.accounts: list[str] = self.ask("eth_accounts")

    def ask(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call."""
        self.count += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self.count, "method": method, "params": parameters})
        self.connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = json.loads(self.connection.getresponse().read())
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def transact(self, to: str | None, data: bytes) -> dict[str, Any]:
        """The receipt of a transaction; a reverted one has status 0x0."""
        fields = {"from": self.accounts[0], "data": "0x" + data.hex(), "gas": _GAS}
        sent = self.ask("eth_sendTransaction", {**fields, "to": to} if to else fields)
        receipt = None
        while receipt is None:  # Anvil answers null for a moment after the transaction is in
            receipt = self.ask("eth_getTransactionReceipt", sent)
        return receipt

    def read(self, to: str, data: bytes) -> bytes:
        """What a view answers."""
        return bytes.fromhex(self.ask("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")[2:])


@contextlib.contextmanager
def started_anvil() -> Generator[Anvil]:
    """A node of the committed configuration on a port of its own, gone at the end."""
    manifest = json.loads((Path(sys.prefix) / "caimi-toolchain.json").read_text())
    command = [manifest["anvil"], "--port", "0", "--chain-id", str(CHAIN_ID), "--hardfork", "osaka"]
    command += ["--enable-tx-gas-limit", "--gas-limit", "60000000", "--timestamp", "1700000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = next(int(m[1]) for line in process.stdout if (m := re.match(r"Listening on .*:(\d+)", line)))
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                anvil = Anvil(connection)
                # Nothing more is read from the pipe: a log line for each call would fill it.
                anvil.ask("anvil_setLoggingEnabled", False)
                yield anvil
        finally:
            process.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one call did."""

    refusal: bytes
    """Revert data; empty if the call succeeded."""
    ok: bool
    items: tuple[Item, ...]
    notes: tuple[Applied, ...]
    batches: tuple[tuple[Bytes32, tuple[bytes, ...]], ...]
    """Roots and the ids that are logged beside them."""
    gas: int


class RegistryOnAnvil:
    """A registry and its token, both from the committed bytecode."""

    def __init__(self, anvil: Anvil, genesis: Genesis, *, limits: Limits, root: Lane) -> None:
        self.anvil = anvil
        issuer = bytes.fromhex(anvil.accounts[0][2:])
        self.token = self._deploy("CaimiToken", abi_encode(["address"], [issuer]))
        kinds = ("Genesis", "uint128", "uint64", "uint64", "uint128", "address", "Lane")
        bounds = (MIN_DEPOSIT, CLOCK_WINDOW, limits.resume_delay, limits.withdrawal_cap)
        values = (genesis, *bounds, bytes.fromhex(self.token[2:]), root)
        self.registry = self._deploy("CaimiRegistry", encode_values(kinds, values))
        own = Address(bytes.fromhex(self.registry[2:]))
        self.lane = Lane(chain=chain_hash(f"eip155:{CHAIN_ID}"), registry=ethereum_registry(own))

    def _deploy(self, name: str, arguments: bytes) -> str:
        artefact = json.loads((ARTEFACTS / f"{name}.json").read_text())
        receipt = self.anvil.transact(None, bytes.fromhex(artefact["bytecode"][2:]) + arguments)
        assert receipt["status"] == "0x1", name
        return receipt["contractAddress"]

    def attach_epochs(self) -> None:
        """Give the registry the code of spec 42."""
        code = bytes.fromhex(self._deploy("CaimiEpochs", b"")[2:])
        data = keccak256(b"attachEpochs(address)")[:4] + abi_encode(["address"], [code])
        assert self.anvil.transact(self.registry, data)["status"] == "0x1"

    def mint(self, account: Address, amount: int) -> None:
        """Tokens for somebody."""
        data = keccak256(b"mint(address,uint256)")[:4] + abi_encode(["address", "uint256"], [account, amount])
        assert self.anvil.transact(self.token, data)["status"] == "0x1"

    def permit_digest(self, account: Address, amount: int, deadline: int) -> Bytes32:
        """What an account signs to let the registry take tokens."""
        nonce = self.anvil.read(self.token, keccak256(b"nonces(address)")[:4] + abi_encode(["address"], [account]))
        kind = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
        fields = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
        spender = bytes.fromhex(self.registry[2:])
        number = int.from_bytes(nonce, "big")
        hashed = keccak256(abi_encode(fields, [kind, account, spender, amount, number, deadline]))
        domain = self.anvil.read(self.token, keccak256(b"DOMAIN_SEPARATOR()")[:4])
        return keccak256(b"\x19\x01" + domain + hashed)

    def call(self, data: bytes, *, now: int) -> Outcome:
        """One transaction in a block of time `now`."""
        self.anvil.ask("evm_setNextBlockTimestamp", now)
        receipt = self.anvil.transact(self.registry, data)
        ok = receipt["status"] == "0x1"
        logs = [log for log in receipt["logs"] if log["address"] == self.registry]
        return Outcome(
            refusal=b"" if ok else self._revert_data(receipt["transactionHash"]),
            ok=ok,
            items=tuple(_item(log) for log in logs if log["topics"][0] == "0x" + event_topic().hex()),
            notes=tuple(_note(log) for log in logs if log["topics"][0] == "0x" + _APPLIED.hex()),
            batches=tuple(_batch(log) for log in logs if log["topics"][0] == "0x" + batch_ids_topic().hex()),
            gas=int(receipt["gasUsed"], 16),
        )

    def accepts(self, data: bytes) -> bool:
        """Whether the call would succeed; nothing is changed."""
        try:
            self.anvil.read(self.registry, data)
        except AssertionError:
            return False
        return True

    def view(self, name: str, kinds: tuple[str, ...], values: tuple[Any, ...], answer: tuple[str, ...]) -> Any:
        """A view's answer: one value, or a tuple."""
        selector = keccak256(f"{name}({','.join(abi_type(k) for k in kinds)})".encode())[:4]
        data = self.anvil.read(self.registry, selector + encode_values(kinds, values))
        decoded = decode_values(answer, data)
        return decoded[0] if len(answer) == 1 else decoded

    def _revert_data(self, transaction: str) -> bytes:
        trace = self.anvil.ask("debug_traceTransaction", transaction, {"tracer": "callTracer"})
        return bytes.fromhex(trace.get("output", "0x")[2:])


def _bytes32(text: str) -> Bytes32:
    return Bytes32(bytes.fromhex(text[2:]))


def _item(log: dict[str, Any]) -> Item:
    kinds = ["uint16", "(bytes32,bytes32)[]", "bytes"]
    schema, destinations, body = abi_decode(kinds, bytes.fromhex(log["data"][2:]))
    _, sequence, kind, subject = log["topics"]
    event = Event(
        schema=schema,
        kind=int(kind, 16),
        destinations=tuple(Lane(chain=Bytes32(c), registry=Bytes32(r)) for c, r in destinations),
        subject=_bytes32(subject),
        body=body,
    )
    return Item(sequence=EventNumber(int(sequence, 16)), event=event)


def _note(log: dict[str, Any]) -> Applied:
    disposition, code = abi_decode(["uint8", "uint16"], bytes.fromhex(log["data"][2:]))
    _, chain, registry, sequence = log["topics"]
    return Applied(
        source=Lane(chain=_bytes32(chain), registry=_bytes32(registry)),
        sequence=EventNumber(int(sequence, 16)),
        disposition=disposition,
        code=code,
    )


def _batch(log: dict[str, Any]) -> tuple[Bytes32, tuple[bytes, ...]]:
    (identifiers,) = abi_decode(["bytes32[]"], bytes.fromhex(log["data"][2:]))
    return _bytes32(log["topics"][1]), tuple(identifiers)
