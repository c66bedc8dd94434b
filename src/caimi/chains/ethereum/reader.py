"""`ChainReader` over one Ethereum node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from caimi.chains.ethereum.blocks import block_at
from caimi.chains.ethereum.errors import MalformedAnswer, RegistryMissing, RpcFailure
from caimi.chains.ethereum.event_index import EventIndex, ScanLimits
from caimi.chains.ethereum.fields import as_data, hex_data
from caimi.chains.ethereum.finality import Finality
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reverts import read_revert
from caimi.ports.call_errors import CallRejected
from caimi.ports.chain import BatchView, BrakesView, FinalEvent, Head, PublicationView, ValidatorSetView
from caimi.ports.registry_views import (
    decode_view,
    encode_view,
    read_batch,
    read_brakes,
    read_bytes32,
    read_governed,
    read_publication,
    read_state_in,
    read_validator_set,
)
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types.errors import BadEncoding, Refusal, WrongRegistry
from caimi.types.primitives import Address, Bytes32, Generation, PublicationId, Sequence
from caimi.types.records import BatchProof, Lane
from caimi.wire.chain_ids import chain_hash, ethereum_registry

__all__ = ["EthereumReader", "RegistrySite"]

T = TypeVar("T")
_VIEW_LIMIT: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySite:
    """Where the registry is and when its blocks are final."""

    chain_id: int
    """EIP-155."""
    contract: Address
    first_block: int
    """Block of the registry's creation, or a lower one."""
    finality: Finality

    @property
    def lane(self) -> Lane:
        """The registry as a source of events."""
        return Lane(chain=chain_hash(f"eip155:{self.chain_id}"), registry=ethereum_registry(self.contract))


class EthereumReader:
    """Reads one registry through one node."""

    def __init__(self, rpc: RpcClient, site: RegistrySite, *, limits: ScanLimits | None = None) -> None:
        """Read through `rpc`, which the caller closes.

        Raises:
            WrongRegistry: `rpc` is made for another chain than `site`.
        """
        self.rpc = rpc
        self.site = site
        self._lane = site.lane
        if rpc.chain_id != site.chain_id:
            raise WrongRegistry(self._lane.chain, chain_hash(f"eip155:{rpc.chain_id}"))
        self._index = EventIndex(
            rpc, site.contract, first_block=site.first_block, finality=site.finality, limits=limits
        )

    @property
    def lane(self) -> Lane:
        """The lane this port reads."""
        return self._lane

    async def verify_site(self) -> Bytes32:
        """Check once, at the start, that a registry of this lane answers; its network id is returned.

        Raises:
            WrongChain: The node is of another chain.
            RegistryMissing: There is no contract.
            WrongRegistry: The contract says that it is another lane.
        """
        lane: Lane = await self._view("lane", _only("lane"))
        if lane != self._lane:
            raise WrongRegistry(self._lane.registry, lane.registry)
        return await self._view("network", _only("network"))

    async def head(self) -> Head:
        """See `ChainReader.head`."""
        tip = await self._index.tip()
        return Head(
            height=tip.latest.number,
            final_height=tip.final.number,
            final_hash=tip.final.hash,
            time=tip.latest.time,
        )

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """See `ChainReader.events`; at most 1,024 at once. Raises also `EventGap` and `ChainMoved`."""
        return await self._index.events(first, limit)

    async def forget(self, first: Sequence) -> None:
        """See `Forgetful.forget`."""
        await self._index.forget(first)

    async def block_hash(self, height: int) -> Bytes32 | None:
        """See `ChainReader.block_hash`."""
        block = await block_at(self.rpc, height)
        return None if block is None else block.hash

    async def publication(self, identifier: PublicationId) -> PublicationView | None:
        """See `ChainReader.publication`."""
        return await self._view("publication", read_publication, identifier)

    async def batch(self, home: Lane, root: Bytes32) -> BatchView | None:
        """See `ChainReader.batch`."""
        return await self._view("batch", read_batch, home, root)

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """See `ChainReader.batch_ids`. Raises also `EventGap` and `ChainMoved`."""
        return await self._index.batch_ids(root)

    async def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """See `ChainReader.state_in`."""
        return await self._view("stateIn", read_state_in, identifier, proof)

    async def balance(self, account: Address) -> int:
        """See `ChainReader.balance`."""
        return await self._view("balance", _only("balance"), account)

    async def tokens(self, account: Address) -> int:
        """See `ChainReader.tokens`."""
        return await self._view("tokens", _only("tokens"), account)

    async def receipt_of(self, request: Bytes32) -> Bytes32 | None:
        """See `ChainReader.receipt_of`."""
        return await self._view("receiptOf", lambda answer: read_bytes32("receiptOf", answer), request)

    async def is_marked(self, source: Lane, generation: Generation, sequence: Sequence) -> bool:
        """See `ChainReader.is_marked`."""
        return await self._view("isMarked", _only("isMarked"), source, generation, sequence)

    async def validator_set(self) -> ValidatorSetView:
        """See `ChainReader.validator_set`."""
        return await self._view("validatorSet", read_validator_set)

    async def brakes(self) -> BrakesView:
        """See `ChainReader.brakes`."""
        return await self._view("brakes", read_brakes)

    async def root(self) -> Lane:
        """See `ChainReader.root`."""
        return await self._view("root", _only("root"))

    async def governed(self, lane: Lane) -> GovernedLane:
        """See `ChainReader.governed`."""
        return await self._view("governed", read_governed, lane)

    async def _view(self, name: str, read: Callable[[bytes], T], *arguments: Any) -> T:
        question = {"to": hex_data(self.site.contract), "data": hex_data(encode_view(name, *arguments))}
        try:
            answer = await self.rpc.call("eth_call", question, "latest")
        except RpcFailure as error:
            if error.data is not None:
                refusal = read_revert(error.data)
                if isinstance(refusal, Refusal):
                    raise refusal from error
                raise CallRejected(f"view {name}: {error.message}") from error
            raise
        data = as_data(answer, f"the view {name}", limit=_VIEW_LIMIT)
        if not data:
            raise RegistryMissing(f"{self.rpc.node} has no contract at {hex_data(self.site.contract)}")
        try:
            return read(data)
        except BadEncoding as error:
            raise MalformedAnswer(f"the answer of view {name} is not canonical") from error


def _only(name: str) -> Callable[[bytes], Any]:
    # Reader of a view that gives one value.
    return lambda answer: decode_view(name, answer)[0]
