"""Creating the registry on a channel whose chaincode is committed. For operators and devnets, not for services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.errors import FabricError
from caimi.chains.fabric.port_errors import port_error
from caimi.chains.fabric.registry import FabricRegistry
from caimi.protocol.registry_state import Limits
from caimi.types.errors import AlreadyInitialised, WrongRegistry
from caimi.types.primitives import ZERO32, Address, Bytes32
from caimi.types.records import Genesis, Lane
from caimi.wire.chain_ids import chain_hash, fabric_chain_id, fabric_registry
from caimi.wire.codec import encode_values
from caimi.wire.digests import network_id

__all__ = ["RegistryPlan", "create_registry", "creation", "registry_lane"]

_LIMITS: Final = ("uint64", "uint128", "uint64")
_CONFIG: Final = ("Genesis", "uint128", "uint64", "string", "string", "address", "bytes32", *_LIMITS, "Lane")
_HERE: Final = Lane(chain=ZERO32, registry=ZERO32)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPlan:
    """What a registry is created with."""

    genesis: Genesis
    min_deposit: int
    """u128, at least 1."""
    clock_window: int
    """Seconds."""
    limits: Limits
    token_issuer: Address
    """Who may mint on the chaincode's token ledger."""
    root: Lane | None = None
    """The registry whose word governs lanes; None for this one."""


def registry_lane(genesis_block_hash: Bytes32, *, channel: str, chaincode: str) -> Lane:
    """The lane of a chaincode's registry."""
    chain = chain_hash(fabric_chain_id(genesis_block_hash))
    return Lane(chain=chain, registry=fabric_registry(channel, chaincode))


def creation(plan: RegistryPlan, *, lane: Lane, channel: str, chaincode: str) -> bytes:
    """Argument of the chaincode's function `init` (spec 30 §3)."""
    limits = (plan.limits.resume_delay, plan.limits.withdrawal_cap, plan.limits.lease_cap)
    named = (channel, chaincode, plan.token_issuer, lane.chain)
    return encode_values(
        _CONFIG, (plan.genesis, plan.min_deposit, plan.clock_window, *named, *limits, plan.root or _HERE)
    )


async def create_registry(gateway: FabricGateway, plan: RegistryPlan, *, lane: Lane, chaincode: str) -> None:
    """Create the registry, or find that it was created for the same network.

    Raises:
        WrongRegistry: There is one of another lane, or of another network (its id is the error's second value).
        Refusal: The plan is not lawful.
        ChainUnavailable, CallRejected, BrokenLedger, WrongChain: Of the peers.
    """
    registry = FabricRegistry(gateway, lane=lane, chaincode=chaincode)
    try:
        await registry.index.verify_chain()
        argument = creation(plan, lane=lane, channel=gateway.channel, chaincode=chaincode)
        try:
            await gateway.submit_transaction(chaincode, "init", (argument,))
        except FabricError as error:
            refused = port_error(error)
            if not isinstance(refused, AlreadyInitialised):
                raise refused from error
        expected, actual = network_id(plan.genesis), await registry.verify_site()
        if actual != expected:
            raise WrongRegistry(expected, actual)
    finally:
        await registry.close()
