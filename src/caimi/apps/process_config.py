"""What the configuration file of a process holds. This is the one place that says so.

One JSON object in a file of mode 0600, read by `python -m caimi.apps.<process>d --config FILE`. Byte strings are hex,
paths absolute. Unknown fields, missing fields and other types are refused (`ConfigRefused` names the place).

    {"process": "validator", "name": "validator-0", "devnet": true,
     "network": {"id": "0x…", "genesis": {"root_genesis": "0x…", "validators": ["0x…", …], "f": 1, "t": 2,
                 "operators": ["0x…"], "attestation": 0, "nonce": "0x…"}},
     "lanes": [{"kind": "ethereum", "name": "ethereum", "caip2": "eip155:31337", "registry": "0x…32 bytes",
                "endpoints": ["http://127.0.0.1:8545", …], "finality": {"kind": "depth", "depth": 2}, "first_block": 0,
                "sender": null, "note": "both endpoints are one node"},
               {"kind": "fabric", "name": "fabric", "caip2": "fabric:…", "registry": "0x…", "channel": "caimi",
                "chaincode": "registry", "peers": [{"endpoint": "127.0.0.1:7051", "tls_ca": "/…/ca.pem"}],
                "member": {"msp": "Org1MSP", "certificate": "/…/cert.pem", "private_key": "/…/key.pem"}}],
     "http": {"port": 8100}, "store": "/…/validator-0.sqlite", "log": "/…/validator-0.log",
     "key": {"file": "/…/signing.key", "password_file": "/…/password", "purpose": "validator-0/signing"},
     "vault": {"file": "/…/vault.sqlite", "password_file": "/…/password", "purpose": "validator-0/vault"},
     "board": "fabric"}

A relay has `validators`, `token_file` and optionally `tuning` in place of `key`, and a `sender` in each Ethereum lane:

    {"process": "relay", "name": "relay", …, "token_file": "/…/token",
     "validators": [{"signer": 0, "url": "http://127.0.0.1:8100"}, …]}

A host's is in `caimi.apps.host_config`.

`crash_at` = {"step": "relay.sent", "count": 2} makes the process kill itself (SIGKILL) when it has persisted that
step for the second time; the steps are `RelayStep`, `ValidatorStep`, `KeyStep` and `HostStep`. With "record":
"/…/file" it makes that file first and is not killed while the file exists: started again, it recovers. Refused unless
`devnet` is true.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from caimi.apps.strict_json import ConfigRefused, read_json
from caimi.chains.ethereum.fees import DEFAULT_MAX_FEE_PER_GAS
from caimi.crypto.keystore import DEFAULT_COST
from caimi.ports.attestation_store import ValidatorStep
from caimi.ports.host_store import HostStep
from caimi.ports.key_vault import KeyStep
from caimi.ports.relay_store import RelayStep
from caimi.protocol.batches import MAX_BATCH
from caimi.types.primitives import Address, Bytes32
from caimi.types.records import Attestation, Genesis, Lane
from caimi.wire.chain_ids import chain_hash
from caimi.wire.digests import network_id

__all__ = [
    "CrashAt",
    "DepthRule",
    "EthereumLane",
    "FabricLane",
    "FabricMember",
    "FabricPeer",
    "FinalizedRule",
    "GenesisConfig",
    "HttpConfig",
    "KeyFile",
    "LaneConfig",
    "NetworkConfig",
    "RelayConfig",
    "TuningConfig",
    "ValidatorConfig",
    "ValidatorEndpoint",
    "VaultFile",
    "board_lane",
    "check_process",
    "read_config",
]

T = TypeVar("T")
_LONGEST: Final = 1 << 20
_STEPS: Final = frozenset(step.value for kind in (RelayStep, ValidatorStep, KeyStep, HostStep) for step in kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisConfig:
    """The genesis descriptor (spec 10 §7)."""

    root_genesis: Bytes32
    validators: tuple[Address, ...]
    f: int
    t: int
    operators: tuple[Address, ...]
    attestation: Attestation
    nonce: Bytes32

    def record(self) -> Genesis:
        """The record of the wire."""
        return Genesis(
            root_genesis=self.root_genesis,
            validators=self.validators,
            f=self.f,
            t=self.t,
            operators=self.operators,
            attestation=self.attestation,
            nonce=self.nonce,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Which network the process belongs to."""

    id: Bytes32
    genesis: GenesisConfig

    def __post_init__(self) -> None:
        if network_id(self.genesis.record()) != self.id:
            raise ValueError("id is not the hash of genesis")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Where the process listens; loopback unless said otherwise."""

    port: int
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A secp256k1 secret, encrypted by `caimi.crypto.keystore`."""

    file: Path
    password_file: Path
    """Its bytes without a final newline are the password."""
    purpose: str
    """As given to `encrypt_secret`, e.g. "validator-0/signing"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFile:
    """Where a validator keeps its key shares (`caimi.storage.sqlite_vault`)."""

    file: Path
    password_file: Path
    """Its bytes without a final newline are the password."""
    purpose: str
    """Names the process: a vault opens under the purpose that it was made for."""
    cost: int = DEFAULT_COST
    """Binary logarithm of scrypt's N, for a new vault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthRule:
    """Final is what lies `depth` blocks below the tip."""

    kind: Literal["depth"]
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizedRule:
    """Final is what the node's tag `finalized` names."""

    kind: Literal["finalized"]


def _check_batch_items(count: int) -> None:
    if not 1 <= count <= MAX_BATCH:
        raise ValueError(f"batch_items is not 1 to {MAX_BATCH}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EthereumLane:
    """A registry contract."""

    kind: Literal["ethereum"]
    name: str
    caip2: str
    registry: Bytes32
    """The contract's address, left-padded."""
    endpoints: tuple[str, ...]
    """JSON-RPC over HTTP. A validator compares all of them; a relay uses the first."""
    finality: DepthRule | FinalizedRule
    first_block: int = 0
    """Block of the contract's creation, or a lower one."""
    generation: int = 1
    sender: KeyFile | None = None
    """The account that pays for transactions. A relay needs it, a validator has none."""
    max_fee_per_gas: int = DEFAULT_MAX_FEE_PER_GAS
    """Wei: transactions wait while the chain wants more."""
    batch_items: int = 120
    """Publications of one batch whose home it is: what a transaction of 128 KiB holds, with room for long names."""
    in_flight: int = 16
    """Transactions of a relay that may wait at once."""
    batch_bytes: int = 48_000
    """Of calls that a relay packs into one transaction; a longer one goes alone."""
    apart_seconds: float = 0.0
    """So long a relay waits for a transaction before it prepares the next one."""
    note: str = ""
    """Shown by /v1/status, e.g. that all endpoints are one node."""

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("a lane needs an endpoint")
        if self.max_fee_per_gas < 1:
            raise ValueError("max_fee_per_gas is below 1")
        _check_batch_items(self.batch_items)

    @property
    def lane(self) -> Lane:
        """The lane's identifiers."""
        return Lane(chain=chain_hash(self.caip2), registry=self.registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricPeer:
    """A peer's gateway."""

    endpoint: str
    """host:port"""
    tls_ca: Path
    """PEM certificate of the authority that signed the peer's TLS certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricMember:
    """The identity in the channel. It admits to the channel and grants nothing in the registry."""

    msp: str
    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricLane:
    """A registry chaincode."""

    kind: Literal["fabric"]
    name: str
    caip2: str
    registry: Bytes32
    """keccak256("channel/chaincode")."""
    channel: str
    chaincode: str
    peers: tuple[FabricPeer, ...]
    """A validator compares all of them; a relay uses the first, and the next when one does not answer."""
    member: FabricMember
    generation: int = 1
    batch_items: int = 256
    """Publications of one batch whose home it is."""
    in_flight: int = 4
    """Transactions of a relay that may wait at once."""
    batch_bytes: int = 1 << 20
    """Of calls that a relay packs into one transaction."""
    apart_seconds: float = 1.0
    """So long a relay waits for a transaction before it prepares the next: two that change one balance contradict."""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.peers:
            raise ValueError("a lane needs a peer")
        _check_batch_items(self.batch_items)

    @property
    def lane(self) -> Lane:
        """The lane's identifiers."""
        return Lane(chain=chain_hash(self.caip2), registry=self.registry)


LaneConfig = EthereumLane | FabricLane


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashAt:
    """Where a devnet's process kills itself."""

    step: str
    count: int = 1
    record: Path | None = None
    """Made at that moment. While it exists the process is not killed; None kills it at each of its starts."""

    def __post_init__(self) -> None:
        if self.step not in _STEPS or self.count < 1:
            raise ValueError(f"no step {self.step!r}, or a count below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorEndpoint:
    """A validator that a relay asks."""

    signer: int
    """Its place in the validator set, from 0."""
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningConfig:
    """A relay's pace."""

    poll_seconds: float = 0.2
    answer_seconds: float = 10.0
    resend_seconds: float = 10.0
    replace_seconds: float = 60.0
    max_attempts: int = 10
    stalled_seconds: float = 120.0
    batch_calls: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorConfig:
    """A validator process."""

    process: Literal["validator"]
    name: str
    network: NetworkConfig
    lanes: tuple[LaneConfig, ...]
    http: HttpConfig
    store: Path
    key: KeyFile
    vault: VaultFile
    board: str
    """Name of the Fabric lane whose chaincode is the board (leases, partials, key generation)."""
    token_file: Path | None = None
    """Token of this validator's operator, for orders (spec 35); None: it signs none."""
    key_patience_seconds: float = 600.0
    """How long a phase of a key ceremony waits for who says nothing before this validator votes to go on (spec 41 §3).

    Above 0; longer than the others may be late, since who is too late gets no share until the next refresh."""
    log: Path | None = None
    """JSON lines; None is standard error."""
    requests_per_second: float = 50.0
    burst: int = 200
    releases_per_second: float = 5.0
    """Partials that one client may ask for in the long run; `release_burst` at once."""
    release_burst: int = 50
    poll_seconds: float = 1.0
    devnet: bool = False
    crash_at: CrashAt | None = None
    clock_ahead_seconds: int = 0
    """How far this process's clock is ahead of the machine's, negative for behind; devnets only."""

    def __post_init__(self) -> None:
        check_process(self.lanes, self.devnet, self.crash_at, self.clock_ahead_seconds)
        board_lane(self.lanes, self.board)

    @property
    def board_lane(self) -> FabricLane:
        """The lane that `board` names."""
        return board_lane(self.lanes, self.board)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """A relay process."""

    process: Literal["relay"]
    name: str
    network: NetworkConfig
    lanes: tuple[LaneConfig, ...]
    http: HttpConfig
    store: Path
    token_file: Path
    """Its text without white space around is the bearer token of changing calls, at least 16 characters."""
    validators: tuple[ValidatorEndpoint, ...]
    log: Path | None = None
    tuning: TuningConfig = TuningConfig()
    devnet: bool = False
    crash_at: CrashAt | None = None
    clock_ahead_seconds: int = 0
    """How far this process's clock is ahead of the machine's, negative for behind; devnets only."""

    def __post_init__(self) -> None:
        check_process(self.lanes, self.devnet, self.crash_at, self.clock_ahead_seconds)
        if any(isinstance(lane, EthereumLane) and lane.sender is None for lane in self.lanes):
            raise ValueError("every Ethereum lane of a relay needs a sender")
        if len({v.signer for v in self.validators}) != len(self.validators):
            raise ValueError("a signer is there twice")


def read_config(kind: type[T], path: Path) -> T:
    """Read the file of a process.

    Raises:
        ConfigRefused: It is missing, larger than 1 MiB, readable by others, or not an object of `kind`.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigRefused(f"{path}: mode {mode:o}, expected 600")
    if len(content) > _LONGEST:
        raise ConfigRefused(f"{path}: longer than {_LONGEST} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigRefused(f"{path}: not UTF-8") from error
    return read_json(kind, text)


def board_lane(lanes: tuple[LaneConfig, ...], name: str) -> FabricLane:
    """The Fabric lane of that name.

    Raises:
        ValueError: There is none.
    """
    found = next((lane for lane in lanes if lane.name == name), None)
    if not isinstance(found, FabricLane):
        raise ValueError(f"board {name!r} is no Fabric lane of this process")
    return found


def check_process(
    lanes: tuple[LaneConfig, ...], devnet: bool, crash_at: CrashAt | None, clock_ahead_seconds: int
) -> None:
    """What holds for every process.

    Raises:
        ValueError: No lane, a lane twice, or a crash point or a wrong clock outside of a devnet.
    """
    if not lanes:
        raise ValueError("no lane")
    if len({lane.name for lane in lanes}) != len(lanes) or len({lane.lane for lane in lanes}) != len(lanes):
        raise ValueError("a lane is there twice")
    if crash_at is not None and not devnet:
        raise ValueError("crash_at is for devnets only")
    if clock_ahead_seconds and not devnet:
        raise ValueError("clock_ahead_seconds is for devnets only")
