"""A JSON-RPC node in memory that tells the truth until a test makes it lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

from caimi.chains.ethereum.finality import DepthFinality, Finality
from caimi.chains.ethereum.jsonrpc import RpcClient, RpcLimits
from caimi.chains.ethereum.reader import RegistrySite
from caimi.protocol.batches import batch_root
from caimi.types.primitives import Address, PublicationId, Sequence
from caimi.types.records import Event, Item, Kind, Lane
from caimi.wire.codec import encode_values
from caimi.wire.functions import batch_ids_topic, event_topic
from caimi.wire.keccak import keccak256

__all__ = ["CHAIN_ID", "CONTRACT", "FakeNode", "Method", "RpcRefusal", "item", "site"]

CHAIN_ID = 31_337
CONTRACT = Address(keccak256(b"contract")[12:])
Method = Callable[[list[Any]], Any]
"""Takes the parameters, gives the result."""


class RpcRefusal(Exception):
    """What a method raises to give a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message} | ({} if data is None else {"data": data})


def site(finality: Finality | None = None) -> RegistrySite:
    """The registry that the node has."""
    return RegistrySite(chain_id=CHAIN_ID, contract=CONTRACT, first_block=0, finality=finality or DepthFinality(0))


def item(number: int) -> Item:
    """An event that depends on its number only."""
    word = keccak256(number.to_bytes(8, "big"))
    lane = Lane(chain=word, registry=keccak256(word))
    return Item(
        sequence=Sequence(number),
        event=Event(schema=1, kind=1 + number % 6, destinations=(lane,) * (number % 3), subject=word, body=word),
    )


class FakeNode:
    """Blocks, logs of one registry, and any method that a test puts in `methods`."""

    def __init__(self) -> None:
        self.chain_id = CHAIN_ID
        self.branch = 0
        self.blocks: list[list[dict[str, Any]]] = [[]]
        """Logs by block."""
        self.branches = [0]
        """Of which branch each block is."""
        self.methods: dict[str, Method] = {
            "eth_chainId": lambda _: hex(self.chain_id),
            "eth_getBlockByNumber": self._block,
            "eth_getLogs": self._logs,
        }
        self.batch_logs: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        """Logs of ids by root, first and last block."""
        self.asked: list[str] = []
        """Every method that was called, in order."""
        self.posts = 0
        """HTTP calls."""
        self.alter: Callable[[bytes], bytes] = lambda body: body
        """Changes the bytes of every answer."""
        self.count = 0
        self.base_fee = 10**9

    def client(self, *, limits: RpcLimits | None = None, chain_id: int = CHAIN_ID) -> RpcClient:
        """A client of this node."""
        transport = httpx2.MockTransport(self._answer)
        return RpcClient("http://node.invalid:1/secret", chain_id=chain_id, limits=limits, transport=transport)

    def mine(self, events: int = 0) -> None:
        """One block more, with the next `events` events of the registry."""
        height = len(self.blocks)
        self.blocks.append([])
        self.branches.append(self.branch)
        for _ in range(events):
            self.count += 1
            self.blocks[height].append(self.log(item(self.count), height))

    def lock_batch(self, identifiers: tuple[PublicationId, ...]) -> dict[str, Any]:
        """One block more, with a batch; its log of ids is given, so that a test can alter it."""
        height, root = len(self.blocks), batch_root(identifiers)
        self.mine(1)
        locked = Event(schema=1, kind=Kind.BATCH_LOCKED, destinations=(), subject=root, body=b"")
        self.blocks[height] = [self.log(Item(sequence=Sequence(self.count), event=locked), height)]
        ids = self.blocks[height][0] | {
            "topics": ["0x" + batch_ids_topic().hex(), "0x" + root.hex()],
            "data": "0x" + encode_values(("bytes32[]",), (identifiers,)).hex(),
        }
        self.batch_logs["0x" + root.hex(), hex(height), hex(height)] = [ids]
        return ids

    def reorganise(self, depth: int) -> None:
        """Lose the newest blocks; the next are of another branch."""
        lost = [log for block in self.blocks[-depth:] for log in block]
        del self.blocks[-depth:], self.branches[-depth:]
        self.count -= len(lost)
        self.branch += 1

    def hash(self, height: int) -> str:
        """Hash of a block of the present branch."""
        return "0x" + keccak256(b"%d of branch %d" % (height, self.branches[height])).hex()

    def log(self, of: Item, height: int) -> dict[str, Any]:
        """The log of an event in a block."""
        words = (of.sequence.to_bytes(32, "big"), of.event.kind.to_bytes(32, "big"), of.event.subject)
        data = encode_values(("uint16", "Lane[]", "bytes"), (of.event.schema, of.event.destinations, of.event.body))
        return {
            "address": "0x" + CONTRACT.hex(),
            "topics": ["0x" + word.hex() for word in (event_topic(), *words)],
            "data": "0x" + data.hex(),
            "blockNumber": hex(height),
            "blockHash": self.hash(height),
            "transactionHash": "0x" + keccak256(b"transaction %d" % of.sequence).hex(),
            "logIndex": "0x0",
            "removed": False,
        }

    def _block(self, parameters: list[Any]) -> dict[str, Any] | None:
        which, full = parameters
        assert full is False
        tags = {"latest": len(self.blocks) - 1, "finalized": max(0, len(self.blocks) - 3)}
        height = tags[which] if which in tags else int(which, 16)
        if height >= len(self.blocks):
            return None
        return {
            "number": hex(height),
            "hash": self.hash(height),
            "parentHash": self.hash(height - 1) if height else "0x" + "00" * 32,
            "timestamp": hex(1_800_000_000 + 12 * height),
            "baseFeePerGas": hex(self.base_fee),
            "gasLimit": hex(60_000_000),
        }

    def _logs(self, parameters: list[Any]) -> list[dict[str, Any]]:
        (question,) = parameters
        assert question["address"] == "0x" + CONTRACT.hex()
        if question["topics"][0] == "0x" + batch_ids_topic().hex():
            return self.batch_logs.get((question["topics"][1], question["fromBlock"], question["toBlock"]), [])
        assert question["topics"] == ["0x" + event_topic().hex()]
        if "blockHash" in question:
            heights = [n for n in range(len(self.blocks)) if self.hash(n) == question["blockHash"]]
            if not heights:
                raise RpcRefusal(-32000, "unknown block")
            return self.blocks[heights[0]]
        first, last = int(question["fromBlock"], 16), int(question["toBlock"], 16)
        return [log for block in self.blocks[first : last + 1] for log in block]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.posts += 1
        answers = [self._one(one) for one in json.loads(request.content)]
        return httpx2.Response(200, content=self.alter(json.dumps(answers).encode()))

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        self.asked.append(request["method"])
        method = self.methods.get(request["method"])
        try:
            if method is None:
                raise RpcRefusal(-32601, "Method not found")
            return answer | {"result": method(request["params"])}
        except RpcRefusal as refusal:
            return answer | {"error": refusal.body}
