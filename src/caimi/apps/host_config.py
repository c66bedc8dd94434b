"""What the configuration file of a host holds; the rest is in `caimi.apps.process_config`.

{"process": "host", "name": "host", "network": {…}, "lanes": [{…}], "http": {"port": 8400},
 "store": "/…/host.sqlite", "log": "/…/host.log", "board": "fabric", "token_file": "/…/token",
 "operator": {"file": "/…/operator.key", "password_file": "/…/password", "purpose": "host-operator/signing"},
 "relay": "http://127.0.0.1:8200", "content": "http://127.0.0.1:8300",
 "validators": [{"signer": 0, "url": "http://127.0.0.1:8100"}, …]}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caimi.apps.process_config import (
    CrashAt,
    FabricLane,
    HttpConfig,
    KeyFile,
    LaneConfig,
    NetworkConfig,
    ValidatorEndpoint,
    board_lane,
    check_process,
)

__all__ = ["HostConfig", "HostLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """How much a host takes on."""

    models: int = 4
    """Loaded at a time."""
    model_bytes: int = 1 << 30
    """Of one ciphertext, and of one model."""
    tensor_bytes: int = 64 << 20
    """Of one input, and of one output."""
    runner_memory_bytes: int = 4 << 30
    """Address space of the process that runs one model."""
    run_cpu_seconds: int = 60
    threads: int = 2
    lease_seconds: int = 3_600
    lease_calls: int = 10_000
    direct_calls: int = 4_096
    """At a time, of all models."""
    direct_bytes: int = 512 << 20
    """Of their bodies."""
    batch_rows: int = 32
    """Most rows of direct calls that are run together."""
    batch_wait_ms: int = 2
    """How long the first call of a batch waits for others."""
    drain_seconds: int = 20
    """How long calls that were taken are worked on after SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """A host process."""

    process: Literal["host"]
    name: str
    network: NetworkConfig
    lanes: tuple[LaneConfig, ...]
    board: str
    """Name of the Fabric lane whose chaincode is the board."""
    http: HttpConfig
    store: Path
    token_file: Path
    """Bearer token of this host's changing calls, and of those that it makes at relay and content store."""
    operator: KeyFile
    """Signs the keys of each start; one of the genesis descriptor's operators."""
    relay: str
    content: str
    """URLs."""
    validators: tuple[ValidatorEndpoint, ...]
    limits: HostLimits = HostLimits()
    answer_seconds: float = 30.0
    log: Path | None = None
    devnet: bool = False
    crash_at: CrashAt | None = None
    clock_ahead_seconds: int = 0
    """How far this process's clock is ahead of the machine's, negative for behind; devnets only."""

    def __post_init__(self) -> None:
        check_process(self.lanes, self.devnet, self.crash_at, self.clock_ahead_seconds)
        board_lane(self.lanes, self.board)
        if len({v.signer for v in self.validators}) != len(self.validators):
            raise ValueError("a signer is there twice")

    @property
    def board_lane(self) -> FabricLane:
        """The lane that `board` names."""
        return board_lane(self.lanes, self.board)
