"""The Fabric network as a value: who takes part, at which ports, with which files.

Every peer and every orderer is run by an organisation of its own: four peers and four SmartBFT orderers, or fewer
peers and one raft orderer. Everything listens on the loopback only. Below the root, `network/` holds what is made
once, `nodes/` configurations that are written anew at every start, and `data/` the ledgers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

from caimi.devnet.fabric.errors import BadFabricPlan

__all__ = [
    "CHANNEL",
    "HOST",
    "NODES",
    "ClientFiles",
    "CollectionPlan",
    "FabricBinaries",
    "FabricNetwork",
    "FabricPlan",
    "FabricPorts",
    "OrdererNode",
    "Ordering",
    "PeerNode",
]

HOST: Final = "127.0.0.1"
"""The only address that anything listens on; part of the certificates."""
CHANNEL: Final = "caimi"
NODES: Final = 4
"""Peer organisations, and orderer organisations: SmartBFT tolerates one faulty of four."""


class Ordering(StrEnum):
    """How the orderers agree."""

    SMART_BFT = "smartbft"
    """Tolerates one lying orderer of four."""
    RAFT = "raft"
    """Tolerates no lie: whoever runs the orderer decides the order and what is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricBinaries:
    """Absolute paths of Fabric's programs."""

    peer: Path
    orderer: Path
    configtxgen: Path
    cryptogen: Path

    @classmethod
    def in_folder(cls, folder: Path) -> FabricBinaries:
        """The four programs under their usual names in one folder."""
        return cls(**{name: folder / name for name in ("peer", "orderer", "configtxgen", "cryptogen")})


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricPorts:
    """TCP ports of one network: chosen once, because the channel's configuration holds them."""

    COUNT: ClassVar[int] = 4 * NODES + 3 * NODES
    """How many ports a network of `NODES` orderers and peers needs."""

    orderers: tuple[tuple[int, int, int, int], ...]
    """Per orderer: clients, cluster, administration, operations."""
    peers: tuple[tuple[int, int, int], ...]
    """Per peer: clients, chaincode, operations."""

    @staticmethod
    def count(*, orderers: int, peers: int) -> int:
        """How many ports a network of that size needs."""
        return 4 * orderers + 3 * peers

    @classmethod
    def from_list(cls, ports: Sequence[int], *, orderers: int = NODES, peers: int = NODES) -> FabricPorts:
        """Deal out exactly `count` different ports, each 1 to 65535.

        Raises:
            BadFabricPlan: There are more or fewer, a repeated one or one out of range; or there is no node.
        """
        needed = cls.count(orderers=orderers, peers=peers)
        if min(orderers, peers) < 1:
            raise BadFabricPlan(f"{orderers} orderers and {peers} peers")
        if len(ports) != needed or len(set(ports)) != needed or not all(0 < port < 1 << 16 for port in ports):
            raise BadFabricPlan(f"{needed} different ports are needed, got {list(ports)}")
        o, p = ports[: 4 * orderers], ports[4 * orderers :]
        return cls(
            orderers=tuple((o[i], o[i + 1], o[i + 2], o[i + 3]) for i in range(0, len(o), 4)),
            peers=tuple((p[i], p[i + 1], p[i + 2]) for i in range(0, len(p), 3)),
        )

    def to_list(self) -> list[int]:
        """The ports in the order of `from_list`."""
        return [port for node in (*self.orderers, *self.peers) for port in node]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionPlan:
    """A private data collection of which all organisations are members."""

    name: str = "partials"
    block_to_live: int = 1_000
    """Blocks after which peers purge a value; 0 keeps it for ever."""
    required_peers: int = 1
    """Other peers that must hold the value before an endorser signs."""
    maximum_peers: int = NODES - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricPlan:
    """What is fixed when a network is made."""

    ports: FabricPorts
    chaincode: str = "caimi"
    """Name of the chaincode."""
    chaincode_version: str = "1"
    endorsements: int = 2
    """Organisations that must endorse."""
    collection: CollectionPlan = CollectionPlan()
    clients_per_organisation: int = 2
    """Ordinary identities made for each peer organisation."""
    time_window_s: int = 30
    """How far a proposal's timestamp may be from an endorser's clock, seconds."""
    batch_interval_ms: int = 50
    """How long the leading orderer waits for a block to fill, milliseconds."""
    ordering: Ordering = Ordering.SMART_BFT

    def __post_init__(self) -> None:
        peers = len(self.ports.peers)
        if not 1 <= self.endorsements <= peers or self.collection.maximum_peers > peers - 1:
            raise BadFabricPlan(
                f"{peers} peers for {self.endorsements} endorsements and {self.collection.maximum_peers} copies"
            )

    def to_json(self) -> dict[str, object]:
        """A JSON object from which `from_json` makes the same plan."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("ports", "collection")}
        shape = {"orderers": len(self.ports.orderers), "peers": len(self.ports.peers)}
        return {**fields, **shape, "ports": self.ports.to_list(), "collection": asdict(self.collection)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FabricPlan:
        """Inverse of `to_json`.

        Raises:
            BadFabricPlan: The ports are not usable, or too few for the rest.
            KeyError, TypeError: The object is not what `to_json` makes.
        """
        dealt, made = value["ports"], value["collection"]
        # A network that does not say how large it is was made when there was one size.
        shape = {name: int(value.get(name, NODES)) for name in ("orderers", "peers")}
        ports, collection = FabricPorts.from_list(dealt, **shape), CollectionPlan(**made)
        known = ("ports", "collection", "ordering", *shape)
        rest = {name: field for name, field in value.items() if name not in known}
        ordering = Ordering(value.get("ordering", Ordering.SMART_BFT))
        return cls(ports=ports, collection=collection, ordering=ordering, **rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFiles:
    """Certificate and key of one ordinary channel member, PEM."""

    msp_id: str
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdererNode:
    """One orderer and its organisation."""

    name: str
    """`orderer1` to `orderer4`."""
    msp_id: str
    organisation: Path
    """Folder of its organisation's key material."""
    port: int
    cluster_port: int
    admin_port: int
    operations_port: int

    @property
    def domain(self) -> str:
        """Domain of the organisation in its certificates."""
        return f"{self.name}.caimi"

    @property
    def material(self) -> Path:
        """Folder with the orderer's own `msp` and `tls`."""
        return self.organisation / "orderers" / f"node.{self.domain}"

    @property
    def certificate(self) -> Path:
        """Signing certificate."""
        return self.material / "msp" / "signcerts" / f"node.{self.domain}-cert.pem"

    @property
    def tls_ca(self) -> Path:
        """Authority of the TLS certificate."""
        return self.material / "tls" / "ca.crt"

    @property
    def tls_certificate(self) -> Path:
        """TLS certificate, for server and client."""
        return self.material / "tls" / "server.crt"

    @property
    def tls_key(self) -> Path:
        """Key of the TLS certificate."""
        return self.material / "tls" / "server.key"

    @property
    def endpoint(self) -> str:
        """`host:port` for peers and clients."""
        return f"{HOST}:{self.port}"

    @property
    def admin_url(self) -> str:
        """Address of the participation API."""
        return f"https://{HOST}:{self.admin_port}"

    @property
    def health_url(self) -> str:
        """Answers 200 once the orderer works."""
        return f"http://{HOST}:{self.operations_port}/healthz"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerNode:
    """One peer and its organisation."""

    name: str
    """`peer1` to `peer4`."""
    msp_id: str
    organisation: Path
    """Folder of its organisation's key material."""
    domain: str
    """Domain of the organisation in its certificates."""
    port: int
    chaincode_port: int
    operations_port: int

    @property
    def material(self) -> Path:
        """Folder with the peer's own `msp` and `tls`."""
        return self.organisation / "peers" / f"peer.{self.domain}"

    @property
    def tls_ca(self) -> Path:
        """Authority of the TLS certificate."""
        return self.material / "tls" / "ca.crt"

    @property
    def tls_certificate(self) -> Path:
        """TLS certificate."""
        return self.material / "tls" / "server.crt"

    @property
    def tls_key(self) -> Path:
        """Key of the TLS certificate."""
        return self.material / "tls" / "server.key"

    @property
    def admin_certificate(self) -> Path:
        """Certificate of the organisation's administrator."""
        return self._user("Admin") / "signcerts" / f"Admin@{self.domain}-cert.pem"

    @property
    def admin_key(self) -> Path:
        """Key of the organisation's administrator."""
        return self._user("Admin") / "keystore" / "priv_sk"

    @property
    def endpoint(self) -> str:
        """`host:port` of Gateway, Endorser and Deliver."""
        return f"{HOST}:{self.port}"

    @property
    def health_url(self) -> str:
        """Answers 200 once the peer works."""
        return f"http://{HOST}:{self.operations_port}/healthz"

    def client(self, number: int) -> ClientFiles:
        """Files of the organisation's ordinary identity `number`, first is 1."""
        user = self._user(f"User{number}")
        return ClientFiles(
            msp_id=self.msp_id,
            certificate=user / "signcerts" / f"User{number}@{self.domain}-cert.pem",
            key=user / "keystore" / "priv_sk",
        )

    def _user(self, name: str) -> Path:
        return self.organisation / "users" / f"{name}@{self.domain}" / "msp"


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricNetwork:
    """A network whose lasting files exist below `root`."""

    root: Path
    plan: FabricPlan
    package_id: str
    """`label:sha256` of the chaincode package."""

    @property
    def fixed(self) -> Path:
        """Folder of what is made once."""
        return self.root / "network"

    @property
    def genesis_block(self) -> Path:
        """Encoded block 0 of the channel."""
        return self.fixed / "genesis.block"

    @property
    def package(self) -> Path:
        """Chaincode package, a gzipped tar."""
        return self.fixed / "chaincode.tar.gz"

    @property
    def builder(self) -> Path:
        """Folder of the external builder that starts the packaged binary."""
        return self.fixed / "builder"

    @property
    def organisations(self) -> tuple[str, ...]:
        """Membership providers of the peers."""
        return tuple(peer.msp_id for peer in self.peers)

    @property
    def orderers(self) -> tuple[OrdererNode, ...]:
        """The orderers, first to last."""
        return orderer_nodes(self.fixed / "crypto", self.plan.ports)

    @property
    def peers(self) -> tuple[PeerNode, ...]:
        """The peers, first to last."""
        return peer_nodes(self.fixed / "crypto", self.plan.ports)


def orderer_nodes(crypto: Path, ports: FabricPorts) -> tuple[OrdererNode, ...]:
    """The orderers whose key material is below `crypto`."""
    return tuple(
        OrdererNode(
            name=f"orderer{number}",
            msp_id=f"Orderer{number}MSP",
            organisation=crypto / "ordererOrganizations" / f"orderer{number}.caimi",
            port=port,
            cluster_port=cluster,
            admin_port=admin,
            operations_port=operations,
        )
        for number, (port, cluster, admin, operations) in enumerate(ports.orderers, start=1)
    )


def peer_nodes(crypto: Path, ports: FabricPorts) -> tuple[PeerNode, ...]:
    """The peers whose key material is below `crypto`."""
    return tuple(
        PeerNode(
            name=f"peer{number}",
            msp_id=f"Org{number}MSP",
            organisation=crypto / "peerOrganizations" / f"org{number}.caimi",
            domain=f"org{number}.caimi",
            port=port,
            chaincode_port=chaincode,
            operations_port=operations,
        )
        for number, (port, chaincode, operations) in enumerate(ports.peers, start=1)
    )
