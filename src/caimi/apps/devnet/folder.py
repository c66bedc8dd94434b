"""The state folder of a devnet: where everything is, and the plan that is made once (docs/guide/state-folder.md)."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from caimi.apps.devnet.errors import NoStateFolder, OtherProfile, StateNotWritable
from caimi.apps.devnet.profiles import SHAPES, Choice, ProfileName, StorageName
from caimi.apps.strict_json import ConfigRefused, read_json, to_json
from caimi.crypto.quorum import default_threshold
from caimi.devnet.ethereum.anvil import AnvilPlan
from caimi.devnet.fabric.network import CollectionPlan, FabricPlan, FabricPorts
from caimi.devnet.kubo import KuboPlan
from caimi.devnet.ports import choose_ports
from caimi.sdk.errors import MalformedFile, OtherFormat
from caimi.sdk.network import FORMAT, read_network, write_json
from caimi.types.primitives import Bytes32, UnixSeconds

__all__ = ["VERSIONS", "DevnetPlan", "StateFolder", "check_choice", "check_state", "load_or_make_plan", "read_plan"]

VERSIONS: Final = {"fabric": "3.1.1", "registry": "2"}
"""What a state folder's ledgers were made with: another version cannot go on with them."""
_VALIDATORS: Final = 4
_FAULTS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DevnetPlan:
    """What is fixed when a state folder is made: ports, identifiers, numbers."""

    format: int
    fabric_ports: tuple[int, ...]
    ethereum_port: int
    content_port: int
    relay_port: int
    host_port: int
    validator_ports: tuple[int, ...]
    chain_id: int
    """EIP-155; a random one, so that two devnets are two chains."""
    nonce: Bytes32
    """Of the genesis descriptor."""
    created: UnixSeconds
    """Time of Ethereum's block 0."""
    profile: ProfileName = "full"
    storage: StorageName = "embedded"
    kubo_port: int | None = None
    """Of Kubo's RPC; None with the embedded store."""
    f: int = _FAULTS
    t: int = default_threshold(_VALIDATORS, _FAULTS)
    block_time_ms: int = 1_000
    """Between Ethereum's blocks."""
    finality_depth: int = 2
    """Blocks below Ethereum's tip."""
    fabric_window_s: int = 30
    ethereum_window_s: int = 5
    min_deposit: int = 1_000

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports of the network, on the loopback."""
        own = (self.ethereum_port, self.content_port, self.relay_port, self.host_port)
        own += () if self.kubo_port is None else (self.kubo_port,)
        return (*self.fabric_ports, *own, *self.validator_ports)

    @property
    def n(self) -> int:
        """How many validators there are."""
        return len(self.validator_ports)

    def fabric(self) -> FabricPlan:
        """The Fabric network's plan."""
        shape = SHAPES[self.profile]
        return FabricPlan(
            ports=FabricPorts.from_list(self.fabric_ports, orderers=shape.orderers, peers=shape.peers),
            endorsements=self.f + 1,
            collection=CollectionPlan(maximum_peers=shape.peers - 1),
            time_window_s=self.fabric_window_s,
            ordering=shape.ordering,
        )

    def kubo(self, folder: StateFolder) -> KuboPlan | None:
        """Kubo's plan, None with the embedded store."""
        return None if self.kubo_port is None else KuboPlan(port=self.kubo_port, folder=folder.root / "kubo")

    def anvil(self, folder: StateFolder) -> AnvilPlan:
        """Ethereum's plan."""
        return AnvilPlan(
            port=self.ethereum_port,
            chain_id=self.chain_id,
            folder=folder.root / "ethereum",
            block_time_ms=self.block_time_ms,
        )


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths below one folder. Nothing of a devnet lies anywhere else."""

    root: Path
    """Absolute."""

    @classmethod
    def at(cls, home: Path) -> StateFolder:
        """The folder at a path that may be relative."""
        return cls(home.absolute())

    @property
    def plan(self) -> Path:
        """The plan: the first file that is written."""
        return self.root / "plan.json"

    @property
    def network(self) -> Path:
        """The public description, written when both registries exist."""
        return self.root / "network.json"

    @property
    def token(self) -> Path:
        """Bearer token of all changing HTTP calls, mode 0600."""
        return self.root / "token"

    @property
    def password(self) -> Path:
        """Password of all key files, mode 0600."""
        return self.root / "password"

    @property
    def progress(self) -> Path:
        """What the latest bring-up did, JSON lines."""
        return self.root / "up.jsonl"

    @property
    def logs(self) -> Path:
        """One log for each process."""
        return self.root / "logs"

    def key(self, name: str) -> Path:
        """Key file of a process."""
        return self.root / "keys" / f"{name}.key"

    def account(self, name: str) -> Path:
        """Key file of a demonstration account."""
        return self.root / "accounts" / f"{name}.key"

    def process(self, name: str) -> Path:
        """Folder with the configuration and the store of a process, mode 0700."""
        self.make()
        folder = self.root / "processes" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """Log of a process."""
        self.make()
        self.logs.mkdir(mode=0o700, exist_ok=True)
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Make the folder, for its owner's eyes only, if it is not there.

        Raises:
            StateNotWritable: It cannot be made.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever made it before: nothing below it is anybody else's business.
            if self.root.stat().st_mode & 0o077:
                self.root.chmod(0o700)
        except OSError as error:
            raise StateNotWritable(f"{error.filename or self.root}: {error.strerror}") from error

    def claim(self) -> None:
        """Make the folder, and mark it as a devnet's before anything else is in it.

        Raises:
            NoStateFolder, OtherFormat, MalformedFile: See `check_state`.
            StateNotWritable: It cannot be made or written.
        """
        check_state(self)
        self.make()
        try:
            (self.root / _FIRST_FILE).touch(mode=0o600)
        except OSError as error:
            raise StateNotWritable(f"{error.filename or self.root}: {error.strerror}") from error

    def exists(self) -> bool:
        """Whether a devnet was ever begun here."""
        return self.plan.is_file()

    def wipe(self) -> None:
        """Remove the folder and everything in it.

        Raises:
            NoStateFolder: It is none: nothing is removed.
            StateNotWritable: Not everything can be removed.
        """
        self.check_own()
        try:
            if self.root.exists():
                shutil.rmtree(self.root)
        except OSError as error:
            raise StateNotWritable(f"{error.filename or self.root}: {error.strerror}") from error

    def check_own(self) -> None:
        """Refuse a folder that holds something else.

        Raises:
            NoStateFolder: It is no state folder.
            StateNotWritable: It cannot be looked into.
        """
        try:
            if self.plan.is_file() or not self.root.exists():
                return
            found = [path.name for path in self.root.iterdir()]
            if found and not (_FIRST_FILE in found and all(name.startswith(_OWN_FIRST) for name in found)):
                raise NoStateFolder(f"{self.root} is not empty and has no plan.json")
        except OSError as error:
            raise StateNotWritable(f"{error.filename or self.root}: {error.strerror}") from error


def check_state(folder: StateFolder) -> None:
    """Refuse a folder that this version cannot go on with. Nothing is written.

    Raises:
        NoStateFolder: It holds something else.
        OtherFormat: Another version made it.
        MalformedFile: Plan or network description are damaged.
    """
    folder.check_own()
    if folder.plan.is_file():
        _read_plan(folder.plan)
    if folder.network.is_file():
        found = read_network(folder.root).versions
        if any(found.get(name) != version for name, version in VERSIONS.items()):
            made, ours = (", ".join(f"{n} {v.get(n)}" for n in VERSIONS) for v in (found, VERSIONS))
            raise OtherFormat(f"{folder.network} was made with {made}; this version runs {ours}")


def read_plan(folder: StateFolder) -> DevnetPlan:
    """The plan of a folder that has one.

    Raises:
        OtherFormat: Another version made it.
        MalformedFile: It is damaged.
    """
    return _read_plan(folder.plan)


def check_choice(folder: StateFolder, choice: Choice) -> None:
    """Refuse a choice that contradicts the plan which the folder has.

    Raises:
        OtherProfile: It does.
        OtherFormat, MalformedFile: See `check_state`.
    """
    if not folder.plan.is_file():
        return
    plan = _read_plan(folder.plan)
    for name, wanted in choice.made().items():
        there = getattr(plan, name)
        if wanted != there:
            raise OtherProfile(f"the network in {folder.root} was made with {name} {there}, not {wanted}")


def load_or_make_plan(folder: StateFolder, choice: Choice | None = None) -> DevnetPlan:
    """Read the plan, or choose free ports and make one; token and password are made with it.

    Raises:
        NoStateFolder, OtherFormat, MalformedFile: See `check_state`.
        OtherProfile: See `check_choice`.
        NoFreePorts: There are too few.
    """
    chosen = choice or Choice()
    check_state(folder)
    check_choice(folder, chosen)
    if folder.plan.is_file():
        plan = _read_plan(folder.plan)
    else:
        folder.make()
        plan = _make_plan(chosen)
        write_json(folder.plan, to_json(plan))
    for path in (folder.token, folder.password):
        if not path.is_file():
            _write_secret(path)
    return plan


# The supervisor and the background process come before the plan.
_FIRST_FILE: Final = "supervisor.lock"
_OWN_FIRST: Final = ("supervisor.", "children.", "up.", "logs", "plan.json", "token", "password")


def _make_plan(choice: Choice) -> DevnetPlan:
    shape = SHAPES[choice.profile or "full"]
    needed = FabricPorts.count(orderers=shape.orderers, peers=shape.peers)
    ports = choose_ports(needed + 5 + _VALIDATORS, order=random.Random())
    fabric, kubo, rest = ports[:needed], ports[needed], ports[needed + 1 :]
    return DevnetPlan(
        format=FORMAT,
        kubo_port=kubo if choice.storage == "kubo" else None,
        fabric_ports=tuple(fabric),
        ethereum_port=rest[0],
        content_port=rest[1],
        relay_port=rest[2],
        host_port=rest[3],
        validator_ports=tuple(rest[4:]),
        chain_id=secrets.randbelow((1 << 31) - (1 << 20)) + (1 << 20),
        nonce=Bytes32(secrets.token_bytes(32)),
        created=UnixSeconds(int(time.time())),
        **choice.made(),
    )


def _read_plan(path: Path) -> DevnetPlan:
    try:
        text = path.read_text(encoding="utf-8")
        value: Any = json.loads(text)
        found = cast("dict[str, Any]", value).get("format") if isinstance(value, dict) else None
        if found != FORMAT:
            raise OtherFormat(f"{path} has format {found!r}, this version reads {FORMAT}")
        return read_json(DevnetPlan, text)
    except (OSError, ValueError, ConfigRefused) as error:
        raise MalformedFile(f"{path}: {error}") from error


def _write_secret(path: Path) -> None:
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
