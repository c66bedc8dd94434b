"""`BoardPort` over one Fabric peer: leases, sealed partials, messages of the key generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.errors import CommitConflict, FabricError
from caimi.chains.fabric.port_errors import port_error
from caimi.chains.fabric.registry import FabricRegistry
from caimi.ports.chain import BoardMessage, ChainUnavailable
from caimi.ports.registry_views import decode_view, read_lease
from caimi.types.primitives import Bytes32, Epoch
from caimi.types.records import LeaseRequest

__all__ = ["FabricBoard"]

_TRANSIENT_PARTIAL: Final = "partial"
_ATTEMPTS: Final = 5


class FabricBoard:
    """The board of the root chain, as one member of the channel."""

    def __init__(self, gateway: FabricGateway, registry: FabricRegistry, *, chaincode: str) -> None:
        """Use `gateway`, and `registry` of the same chaincode for reading."""
        self._gateway = gateway
        self._registry = registry
        self._chaincode = chaincode

    async def lease(self, identifier: Bytes32) -> LeaseRequest | None:
        """See `BoardPort.lease`."""
        return await self._registry.view("lease", read_lease, identifier)

    async def leases_since(self, height: int) -> tuple[int, tuple[Bytes32, ...]]:
        """See `BoardPort.leases_since`."""
        await self._registry.index.advance()
        return self._registry.index.height, self._registry.index.leases_above(height)

    async def partials(self, lease: Bytes32) -> tuple[bytes, ...]:
        """See `BoardPort.partials`; purged ones are absent."""
        return await self._registry.view("partials", lambda answer: decode_view("partials", answer)[0], lease)

    async def posts(self, epoch: Epoch) -> tuple[BoardMessage, ...]:
        """See `BoardPort.posts`; they are read from the blocks, which have their order and their signatures."""
        await self._registry.index.advance()
        return self._registry.index.posts(epoch)

    async def post_partial(self, call: bytes, sealed: bytes) -> None:
        """See `BoardPort.post_partial`. Raises as `post`."""
        await self._put(call, {_TRANSIENT_PARTIAL: sealed})

    async def post(self, call: bytes) -> None:
        """See `BoardPort.post`.

        Raises:
            Refusal: The registry refuses it.
            CallRejected, CallTooLarge: The peers do not accept it.
            ChainUnavailable: It may or may not be there: posting again is harmless.
        """
        await self._put(call, {})

    async def _put(self, call: bytes, transient: Mapping[str, bytes]) -> None:
        await self._registry.next_slot()  # the peer is of this channel
        for _ in range(_ATTEMPTS):
            # The organisations are left to the Gateway: naming some would show them the transient value.
            prepared = self._gateway.prepare(self._chaincode, "call", (call,), transient)
            try:
                await self._gateway.send(prepared)
                return
            except CommitConflict:
                # Another call on the same record was first; this one is tried on what it left.
                continue
            except FabricError as error:
                raise port_error(error) from error
        raise ChainUnavailable(f"{_ATTEMPTS} conflicts in a row")
