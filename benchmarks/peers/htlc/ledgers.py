"""Both legs of the HTLC peer: the contract on Ethereum, the chaincode on Fabric."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from benchmarks.evm import EvmSender
from caimi.apps.devnet.ledgers import Ledgers
from caimi.chains.fabric.bringup import ChannelPlan, bring_up
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.errors import EndorseUnavailable
from caimi.chains.fabric.lifecycle import ChaincodeDefinition
from caimi.devnet.fabric.chaincode_package import build_package, package_id
from caimi.devnet.fabric.network import CHANNEL
from caimi.types.primitives import Address, Bytes32
from caimi.wire.codec import encode_values
from caimi.wire.keccak import keccak256

__all__ = ["CLAIMED", "CHAINCODE", "EthereumLeg", "FabricLeg", "Leg", "Swap", "install_chaincode"]

CLAIMED: Final = 2
CHAINCODE: Final = "htlc"
_GAS: Final = 400_000
_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One publication in the way of hash time-locks."""

    id: Bytes32
    publication: bytes
    """Begins with the publisher's address."""
    signature: bytes
    """65 bytes over the id."""
    preimage: Bytes32
    hashlock: Bytes32


class Leg(Protocol):
    """One ledger."""

    async def lock(self, swap: Swap, expiry: int) -> None:
        """Lock, and wait until that is final."""
        ...

    async def claim(self, swap: Swap) -> None:
        """Claim, and wait until that is on the ledger: the secret is known then, final or not."""
        ...

    async def state(self, identifier: Bytes32) -> int:
        """At the tip: 0 nothing, 1 locked, 2 claimed, 3 refunded."""
        ...


class EthereumLeg:
    """Implements `Leg` by Htlc.sol."""

    def __init__(self, sender: EvmSender, contract: Address, *, depth: int) -> None:
        self._sender = sender
        self._contract = contract
        self._depth = depth

    async def lock(self, swap: Swap, expiry: int) -> None:
        """See `Leg.lock`."""
        values = (swap.publication, swap.signature, swap.hashlock, expiry)
        arguments = encode_values(("bytes", "bytes", "bytes32", "uint64"), values)
        call = keccak256(b"lock(bytes,bytes,bytes32,uint64)")[:4] + arguments
        receipt = await self._sender.transact(self._contract, call, gas=_GAS)
        await self._sender.buried(receipt.height, self._depth)

    async def claim(self, swap: Swap) -> None:
        """See `Leg.claim`."""
        call = keccak256(b"claim(bytes32,bytes32)")[:4] + swap.id + swap.preimage
        await self._sender.transact(self._contract, call, gas=_GAS)

    async def state(self, identifier: Bytes32) -> int:
        """See `Leg.state`."""
        answer = await self._sender.view(self._contract, keccak256(b"locks(bytes32)")[:4] + identifier)
        return int.from_bytes(answer[:32], "big")


class FabricLeg:
    """Implements `Leg` by the chaincode in peers/htlc/fabric."""

    def __init__(self, gateway: FabricGateway) -> None:
        self._gateway = gateway

    async def lock(self, swap: Swap, expiry: int) -> None:
        """See `Leg.lock`. What Fabric has committed is final."""
        arguments = (swap.publication, swap.signature, swap.hashlock, expiry.to_bytes(8, "big"))
        await self._submit("lock", arguments)

    async def claim(self, swap: Swap) -> None:
        """See `Leg.claim`."""
        await self._submit("claim", (swap.id, swap.preimage))

    async def state(self, identifier: Bytes32) -> int:
        """See `Leg.state`."""
        record = await self._gateway.evaluate(CHAINCODE, "state", (identifier,))
        return record[0] if record else 0

    async def _submit(self, function: str, arguments: tuple[bytes, ...]) -> None:
        # As patient as our own sender: of a thousand at once some meet peers that are too busy, and none of it is
        # ordered then.
        for _ in range(_ATTEMPTS - 1):
            try:
                await self._gateway.submit_transaction(CHAINCODE, function, arguments)
                return
            except EndorseUnavailable:
                await asyncio.sleep(_PAUSE_S)
        await self._gateway.submit_transaction(CHAINCODE, function, arguments)


async def install_chaincode(ledgers: Ledgers, program: Path) -> None:
    """Put the peer's chaincode on the devnet's channel, endorsed by as many organisations as the registry."""
    network = ledgers.fabric
    package = await asyncio.to_thread(lambda: build_package(program.read_bytes(), label=CHAINCODE))
    definition = ChaincodeDefinition(
        name=CHAINCODE,
        version="1",
        sequence=1,
        organisations=network.organisations,
        endorsements=network.plan.endorsements,
    )
    plan = ChannelPlan(
        channel=CHANNEL,
        genesis_block=network.genesis_block.read_bytes(),
        package=package,
        package_id=package_id(package, label=CHAINCODE),
        definition=definition,
        probe=("state", "none"),
    )
    await bring_up(plan, orderers=(), peers=network.peers)
