"""Makes chain adapters out of the lanes of a configuration."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from caimi.apps.key_files import open_key
from caimi.apps.process_config import DepthRule, EthereumLane, FabricLane, LaneConfig
from caimi.apps.strict_json import ConfigRefused
from caimi.apps.system import SystemClock
from caimi.chains.ethereum.fees import FeePolicy
from caimi.chains.ethereum.finality import DepthFinality, FinalizedTag
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reader import EthereumReader, RegistrySite
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.chains.fabric.board import FabricBoard
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.identity import load_identity
from caimi.chains.fabric.peers import FabricPeers
from caimi.chains.fabric.registry import FabricRegistry
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address
from caimi.wire.chain_ids import parse_caip2

__all__ = ["open_board", "open_sender", "open_sources"]


def open_sources(
    lane: LaneConfig, stack: AsyncExitStack, clock: SystemClock
) -> tuple[EthereumReader | FabricRegistry, ...]:
    """A reader for every source of a lane; `stack` closes them.

    Raises:
        ConfigRefused, FabricIdentityError, WrongRegistry: The lane's settings do not fit together.
    """
    if isinstance(lane, FabricLane):
        return tuple(_fabric(lane, place, stack, clock) for place in range(len(lane.peers)))
    site = _site(lane)
    return tuple(EthereumReader(_rpc(url, site, stack), site) for url in lane.endpoints)


def open_sender(lane: LaneConfig, stack: AsyncExitStack, clock: SystemClock) -> EthereumRegistry | FabricPeers:
    """A port that reads and sends, by the peers that answer or by the first endpoint; `stack` closes it.

    Raises:
        ConfigRefused, FabricIdentityError, WrongRegistry, MalformedKeystore, WrongPassword: As above, or of the key.
    """
    if isinstance(lane, FabricLane):
        return FabricPeers([_fabric(lane, place, stack, clock) for place in range(len(lane.peers))])
    if lane.sender is None:
        raise ConfigRefused(f"lane {lane.name}: no sender")
    site = _site(lane)
    fees = FeePolicy(most=lane.max_fee_per_gas)
    return EthereumRegistry(_rpc(lane.endpoints[0], site, stack), site, sender=open_key(lane.sender), fees=fees)


def open_board(lane: FabricLane, stack: AsyncExitStack, clock: SystemClock) -> FabricBoard:
    """The board of a lane, through its first peer; `stack` closes it.

    Raises:
        ConfigRefused, FabricIdentityError, WrongRegistry: As above.
    """
    gateway, registry = _fabric_member(lane, 0, stack, clock)
    return FabricBoard(gateway, registry, chaincode=lane.chaincode)


def _site(lane: EthereumLane) -> RegistrySite:
    try:
        namespace, reference = parse_caip2(lane.caip2)
        chain_id = int(reference)
    except (BadEncoding, ValueError) as error:
        raise ConfigRefused(f"lane {lane.name}: {lane.caip2!r} is no eip155 chain") from error
    if namespace != "eip155" or any(lane.registry[:12]):
        raise ConfigRefused(f"lane {lane.name}: not a contract on an eip155 chain")
    rule = lane.finality
    return RegistrySite(
        chain_id=chain_id,
        contract=Address(lane.registry[12:]),
        first_block=lane.first_block,
        finality=DepthFinality(rule.depth) if isinstance(rule, DepthRule) else FinalizedTag(),
    )


def _rpc(url: str, site: RegistrySite, stack: AsyncExitStack) -> RpcClient:
    rpc = RpcClient(url, chain_id=site.chain_id)
    stack.push_async_callback(rpc.close)
    return rpc


def _fabric(lane: FabricLane, place: int, stack: AsyncExitStack, clock: SystemClock) -> FabricRegistry:
    return _fabric_member(lane, place, stack, clock)[1]


def _fabric_member(
    lane: FabricLane, place: int, stack: AsyncExitStack, clock: SystemClock
) -> tuple[FabricGateway, FabricRegistry]:
    member, peer = lane.member, lane.peers[place]
    identity = load_identity(member.msp, member.certificate, member.private_key)
    gateway = FabricGateway.connect(peer.endpoint, _pem(peer.tls_ca), identity, lane.channel, clock_ns=clock.now_ns)
    stack.push_async_callback(gateway.close)
    registry = FabricRegistry(gateway, lane=lane.lane, chaincode=lane.chaincode, clock_ns=clock.now_ns)
    stack.push_async_callback(registry.close)
    return gateway, registry


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from error
