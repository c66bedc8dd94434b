"""`network.json`: everything public that a client has to know about a network (docs/guide/state-folder.md)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from caimi.sdk.errors import MalformedFile, OtherFormat, UnknownName
from caimi.sdk.json_fields import Fields, hex_text, read_object
from caimi.types.primitives import Address, Bytes32, Epoch, Generation
from caimi.types.records import Attestation, Genesis, Lane
from caimi.wire.chain_ids import chain_hash
from caimi.wire.digests import network_id

__all__ = [
    "FORMAT",
    "NETWORK_NAME",
    "EthereumLane",
    "FabricLane",
    "FabricPeer",
    "Network",
    "NetworkLane",
    "ValidatorSite",
    "default_home",
    "network_to_json",
    "read_network",
    "write_json",
]

FORMAT: Final = 2
"""Of the state folder; raised with every change that an older version could not read."""
NETWORK_NAME: Final = "network.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorSite:
    """One validator."""

    index: int
    """Share index, from 1."""
    address: Address
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricPeer:
    """One peer and the member as which a client of this state folder speaks to it. Paths are absolute."""

    name: str
    endpoint: str
    """host:port."""
    tls_ca: Path
    msp_id: str
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricLane:
    """The registry on Hyperledger Fabric: committed and VALID is final."""

    name: str
    caip2: str
    lane: Lane
    generation: Generation
    clock_window_s: int
    min_deposit: int
    channel: str
    chaincode: str
    genesis_hash: Bytes32
    """Header hash of the channel's block 0."""
    token_issuer: Address
    peers: tuple[FabricPeer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EthereumLane:
    """The registry on Ethereum."""

    name: str
    caip2: str
    lane: Lane
    generation: Generation
    clock_window_s: int
    min_deposit: int
    chain_id: int
    contract: Address
    token: Address
    first_block: int
    finality_depth: int
    """Blocks below the tip; a development chain's rule."""
    block_time_ms: int
    """Between blocks; a development chain's."""
    endpoints: tuple[str, ...]


NetworkLane = FabricLane | EthereumLane


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as its state folder describes it."""

    home: Path
    """The state folder."""
    id: Bytes32
    genesis: Genesis
    root: str
    """Name of the root chain's lane."""
    epoch: Epoch
    q: int
    group_key: bytes | None
    """33 bytes; None until the validators have generated it."""
    lanes: Mapping[str, NetworkLane]
    validators: tuple[ValidatorSite, ...]
    relay_url: str
    content_url: str
    host_url: str | None
    versions: Mapping[str, str]
    profile: str = "full"
    """How large it was made (docs/guide/state-folder.md)."""
    storage: str = "embedded"
    """Who keeps the blocks."""

    def lane(self, name: str) -> NetworkLane:
        """The lane of that name.

        Raises:
            UnknownName: There is none.
        """
        found = self.lanes.get(name)
        if found is None:
            raise UnknownName(f"no lane is named {name!r}; there are {', '.join(sorted(self.lanes))}")
        return found

    def lane_name(self, lane: Lane) -> str:
        """The name of a lane, or its identifiers if it is none of this network's."""
        for known in self.lanes.values():
            if known.lane == lane:
                return known.name
        return f"{hex_text(lane.chain)}/{hex_text(lane.registry)}"

    def with_group_key(self, group_key: bytes) -> Network:
        """The same network with the validators' public key, 33 bytes."""
        return dataclasses.replace(self, group_key=group_key)


def default_home() -> Path:
    """$CAIMI_HOME, else `caimi` in the XDG state folder."""
    named = os.environ.get("CAIMI_HOME")
    if named:
        return Path(named).absolute()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state").absolute() / "caimi"


def read_network(home: Path) -> Network:
    """Read the description in a state folder.

    Raises:
        NoNetwork: There is none.
        OtherFormat: Another version wrote it.
        MalformedFile: It is damaged, or its network id does not follow from its genesis descriptor.
    """
    fields = read_object(home / NETWORK_NAME)
    found = fields.values.get("format")
    if found != FORMAT:
        raise OtherFormat(f"{home / NETWORK_NAME} has format {found!r}, this version reads {FORMAT}")
    genesis = _genesis(fields.object("genesis"))
    network = Network(
        home=home.absolute(),
        id=fields.bytes32("network"),
        genesis=genesis,
        root=fields.text("root"),
        epoch=Epoch(fields.number("epoch")),
        q=fields.number("q", bits=8),
        group_key=fields.optional("group_key", lambda name: fields.data(name, length=33)),
        lanes={name: _lane(name, lane, home.absolute()) for name, lane in fields.named("lanes").items()},
        validators=tuple(
            ValidatorSite(index=v.number("index", bits=8), address=v.address("address"), url=v.text("url"))
            for v in fields.objects("validators")
        ),
        relay_url=fields.text("relay"),
        content_url=fields.text("content"),
        host_url=fields.optional("host", fields.text),
        versions={name: str(value) for name, value in fields.object("versions").values.items()},
        profile=fields.optional("profile", fields.text) or "full",
        storage=fields.optional("storage", fields.text) or "embedded",
    )
    if network_id(genesis) != network.id:
        raise MalformedFile(f"{home / NETWORK_NAME}: the network id does not follow from the genesis descriptor")
    if tuple(v.address for v in network.validators) != genesis.validators:
        raise MalformedFile(f"{home / NETWORK_NAME}: the validators are not those of the genesis descriptor")
    return network


def network_to_json(network: Network) -> dict[str, Any]:
    """What `read_network` reads; paths below the state folder are written relative to it."""
    genesis = network.genesis
    return {
        "format": FORMAT,
        "network": hex_text(network.id),
        "genesis": {
            "root_genesis": hex_text(genesis.root_genesis),
            "validators": [hex_text(v) for v in genesis.validators],
            "f": genesis.f,
            "t": genesis.t,
            "operators": [hex_text(o) for o in genesis.operators],
            "attestation": genesis.attestation.name,
            "nonce": hex_text(genesis.nonce),
        },
        "profile": network.profile,
        "storage": network.storage,
        "root": network.root,
        "epoch": network.epoch,
        "n": len(genesis.validators),
        "f": genesis.f,
        "q": network.q,
        "t": genesis.t,
        "group_key": None if network.group_key is None else hex_text(network.group_key),
        "validators": [{"index": v.index, "address": hex_text(v.address), "url": v.url} for v in network.validators],
        "relay": network.relay_url,
        "content": network.content_url,
        "host": network.host_url,
        "lanes": {name: _lane_to_json(lane, network.home) for name, lane in network.lanes.items()},
        "versions": dict(network.versions),
    }


def _genesis(fields: Fields) -> Genesis:
    try:
        attestation = Attestation[fields.text("attestation")]
    except KeyError:
        raise fields.malformed("attestation") from None
    return Genesis(
        root_genesis=fields.bytes32("root_genesis"),
        validators=_addresses(fields, "validators"),
        f=fields.number("f", bits=8),
        t=fields.number("t", bits=8),
        operators=_addresses(fields, "operators"),
        attestation=attestation,
        nonce=fields.bytes32("nonce"),
    )


def _addresses(fields: Fields, name: str) -> tuple[Address, ...]:
    return tuple(Fields({"item": item}, name).address("item") for item in fields.items(name))


def _lane(name: str, fields: Fields, home: Path) -> NetworkLane:
    caip2 = fields.text("caip2")
    lane = Lane(chain=chain_hash(caip2), registry=fields.bytes32("registry"))
    generation = Generation(fields.number("generation"))
    window, deposit = fields.number("clock_window_s", bits=32), fields.number("min_deposit", bits=128)
    match fields.text("kind"):
        case "fabric":
            return FabricLane(
                name=name,
                caip2=caip2,
                lane=lane,
                generation=generation,
                clock_window_s=window,
                min_deposit=deposit,
                channel=fields.text("channel"),
                chaincode=fields.text("chaincode"),
                genesis_hash=fields.bytes32("genesis_hash"),
                token_issuer=fields.address("token_issuer"),
                peers=tuple(_peer(peer, home) for peer in fields.objects("peers")),
            )
        case "ethereum":
            return EthereumLane(
                name=name,
                caip2=caip2,
                lane=lane,
                generation=generation,
                clock_window_s=window,
                min_deposit=deposit,
                chain_id=fields.number("chain_id"),
                contract=fields.address("contract"),
                token=fields.address("token"),
                first_block=fields.number("first_block"),
                finality_depth=fields.object("finality").number("depth", bits=32),
                block_time_ms=fields.number("block_time_ms", bits=32),
                endpoints=tuple(str(item) for item in fields.items("endpoints")),
            )
        case _:
            raise fields.malformed("kind")


def _peer(fields: Fields, home: Path) -> FabricPeer:
    return FabricPeer(
        name=fields.text("name"),
        endpoint=fields.text("endpoint"),
        tls_ca=home / fields.text("tls_ca"),
        msp_id=fields.text("msp_id"),
        certificate=home / fields.text("certificate"),
        key=home / fields.text("key"),
    )


def _lane_to_json(lane: NetworkLane, home: Path) -> dict[str, Any]:
    common: dict[str, Any] = {
        "caip2": lane.caip2,
        "registry": hex_text(lane.lane.registry),
        "generation": lane.generation,
        "clock_window_s": lane.clock_window_s,
        "min_deposit": str(lane.min_deposit),
    }
    if isinstance(lane, FabricLane):
        return common | {
            "kind": "fabric",
            "finality": {"rule": "committed and VALID"},
            "channel": lane.channel,
            "chaincode": lane.chaincode,
            "genesis_hash": hex_text(lane.genesis_hash),
            "token_issuer": hex_text(lane.token_issuer),
            "peers": [
                {
                    "name": peer.name,
                    "endpoint": peer.endpoint,
                    "msp_id": peer.msp_id,
                    "tls_ca": str(peer.tls_ca.relative_to(home)),
                    "certificate": str(peer.certificate.relative_to(home)),
                    "key": str(peer.key.relative_to(home)),
                }
                for peer in lane.peers
            ],
        }
    return common | {
        "kind": "ethereum",
        "finality": {"rule": "depth below the tip", "depth": lane.finality_depth},
        "chain_id": lane.chain_id,
        "contract": hex_text(lane.contract),
        "token": hex_text(lane.token),
        "first_block": lane.first_block,
        "block_time_ms": lane.block_time_ms,
        "endpoints": list(lane.endpoints),
    }


def write_json(path: Path, value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write a file that only its owner reads; it appears whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
