"""Configuration files: what is read comes back, and everything else is refused with its place."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.http_server import read_token
from caimi.apps.key_files import open_key, save_key
from caimi.apps.process import crash_points
from caimi.apps.process_config import EthereumLane, KeyFile, RelayConfig, read_config
from caimi.apps.strict_json import ConfigRefused, read_json, to_json
from caimi.apps.system import KillAt
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.errors import MalformedKeystore, WrongPassword
from caimi.crypto.keystore import MIN_COST
from caimi.types.primitives import Bytes32
from caimi.types.records import Attestation, Genesis
from caimi.wire.digests import network_id
from tests.unit.relay.world import Counter, key


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _network() -> dict[str, Any]:
    genesis = Genesis(
        root_genesis=Bytes32(b"\1" * 32),
        validators=tuple(key(f"validator {i}").address for i in range(4)),
        f=1,
        t=2,
        operators=(key("operator").address,),
        attestation=Attestation.NONE,
        nonce=Bytes32(b"\2" * 32),
    )
    return {
        "id": _hex(network_id(genesis)),
        "genesis": {
            "root_genesis": _hex(genesis.root_genesis),
            "validators": [_hex(v) for v in genesis.validators],
            "f": 1,
            "t": 2,
            "operators": [_hex(genesis.operators[0])],
            "attestation": 0,
            "nonce": _hex(genesis.nonce),
        },
    }


def example() -> dict[str, Any]:
    sender = {"file": "/k", "password_file": "/p", "purpose": "relay/sender"}
    return {
        "process": "relay",
        "name": "relay",
        "network": _network(),
        "lanes": [
            {
                "kind": "ethereum",
                "name": "ethereum",
                "caip2": "eip155:31337",
                "registry": _hex(bytes(12) + b"\3" * 20),
                "endpoints": ["http://127.0.0.1:1"],
                "finality": {"kind": "depth", "depth": 2},
                "sender": sender,
            },
            {
                "kind": "fabric",
                "name": "fabric",
                "caip2": "fabric:00112233445566778899aabbccddeeff",
                "registry": _hex(b"\4" * 32),
                "channel": "caimi",
                "chaincode": "registry",
                "peers": [{"endpoint": "127.0.0.1:2", "tls_ca": "/ca"}],
                "member": {"msp": "Org1MSP", "certificate": "/c", "private_key": "/k"},
            },
        ],
        "http": {"port": 8000},
        "store": "/s",
        "token_file": "/t",
        "validators": [{"signer": 0, "url": "http://127.0.0.1:3"}],
    }


def _write(path: Path, value: Any, mode: int = 0o600) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    path.chmod(mode)
    return path


def test_configuration_comes_back_as_it_was(tmp_path: Path) -> None:
    config = read_config(RelayConfig, _write(tmp_path / "a", example()))
    assert isinstance(config.lanes[0], EthereumLane)
    assert config.lanes[0].lane.registry == bytes(12) + b"\3" * 20
    assert config.http.host == "127.0.0.1"
    again = read_json(RelayConfig, json.dumps(to_json(config)))
    assert again == config


Path_ = tuple[str | int, ...]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("extra",), 1, r"\$\.extra: unknown field"),
        (("network", "genesis", "extra"), 1, r"\$\.network\.genesis\.extra: unknown field"),
        (("process",), "validator", r"\$\.process: expected one of 'relay'"),
        (("http", "port"), "8000", r"\$\.http\.port: expected int, found str"),
        (("http", "port"), True, r"\$\.http\.port: expected int, found bool"),
        (("http",), None, r"\$\.http: expected an object"),
        (("store",), "", r"\$\.store: expected Path"),
        (("lanes", 0, "kind"), "substrate", r"\$\.lanes\[0\]\.kind: expected one of 'ethereum', 'fabric'"),
        (("lanes", 0, "kind"), ["ethereum"], r"\$\.lanes\[0\]\.kind: expected one of 'ethereum', 'fabric'"),
        (("name",), "\ud800", r"\$\.name: expected text that can be written"),
        (("store",), "a\0b", r"\$\.store: expected Path"),
        (("network", "genesis", "attestation"), [0], r"\.attestation: expected Attestation, found list"),
        (("network", "genesis", "attestation"), False, r"\.attestation: expected Attestation, found bool"),
        (("lanes", 0, "registry"), "0x" + "00" * 31 + "  ", r"registry: expected 0x and 64 hex digits"),
        (("lanes", 0, "registry"), "0x12", r"\$\.lanes\[0\]\.registry: expected 0x and 64 hex digits"),
        (("lanes", 0, "registry"), "0x" + "zz" * 32, r"\$\.lanes\[0\]\.registry: expected 0x and 64 hex digits"),
        (("lanes", 0, "batch_items"), 257, r"\$\.lanes\[0\]: ValueError batch_items is not 1 to 256"),
        (("lanes", 0, "batch_items"), 0, r"\$\.lanes\[0\]: ValueError batch_items is not 1 to 256"),
        (("lanes", 0, "max_fee_per_gas"), 0, r"\$\.lanes\[0\]: ValueError max_fee_per_gas is below 1"),
        (("lanes", 0, "endpoints"), [], r"\$\.lanes\[0\]: ValueError a lane needs an endpoint"),
        (("lanes", 0, "endpoints"), "http://x", r"\$\.lanes\[0\]\.endpoints: expected a list"),
        (("lanes", 0, "finality"), {"kind": "hope"}, r"\$\.lanes\[0\]\.finality\.kind: expected one of"),
        (("lanes", 0, "sender"), None, "every Ethereum lane of a relay needs a sender"),
        (("lanes", 0, "name"), "fabric", "a lane is there twice"),
        (("lanes",), [], "no lane"),
        (("network", "id"), _hex(b"\7" * 32), r"\$\.network: ValueError id is not the hash of genesis"),
        (("network", "genesis", "f"), 2, "id is not the hash of genesis"),
        (("network", "genesis", "attestation"), 7, r"\.attestation: expected Attestation, found int"),
        (("crash_at",), {"step": "relay.sent"}, "crash_at is for devnets only"),
        (("clock_ahead_seconds",), -600, "clock_ahead_seconds is for devnets only"),
        (("validators",), [{"signer": 0, "url": "a"}, {"signer": 0, "url": "b"}], "a signer is there twice"),
    ],
)
def test_rejects_field(tmp_path: Path, place: Path_, value: Any, message: str) -> None:
    config = copy.deepcopy(example())
    inner: Any = config
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ConfigRefused, match=message):
        read_config(RelayConfig, _write(tmp_path / "a", config))


@pytest.mark.parametrize("name", ["process", "network", "lanes", "http", "store", "token_file", "validators"])
def test_rejects_missing_field(tmp_path: Path, name: str) -> None:
    config = example()
    del config[name]
    with pytest.raises(ConfigRefused, match=rf"\$\.{name}: missing"):
        read_config(RelayConfig, _write(tmp_path / "a", config))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"process": "relay", "process": "relay"}', '{"a": NaN}', "[" * 100_000]
)
def test_rejects_text_that_is_no_object(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigRefused):
        read_config(RelayConfig, _write(tmp_path / "a", text))


def test_rejects_file_that_others_can_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="mode 644, expected 600"):
        read_config(RelayConfig, _write(tmp_path / "a", example(), mode=0o644))


def test_rejects_file_that_is_missing_or_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="No such file"):
        read_config(RelayConfig, tmp_path / "nothing")
    with pytest.raises(ConfigRefused, match="longer than"):
        read_config(RelayConfig, _write(tmp_path / "a", " " * (1 << 20) + "{}"))


def test_rejects_crash_at_a_step_that_does_not_exist(tmp_path: Path) -> None:
    for crash in ({"step": "relay.nothing"}, {"step": "relay.sent", "count": 0}):
        config = {**example(), "devnet": True, "crash_at": crash}
        with pytest.raises(ConfigRefused, match="crash_at"):
            read_config(RelayConfig, _write(tmp_path / "a", config))
    config = {**example(), "devnet": True, "crash_at": {"step": "relay.sent", "count": 2}}
    assert read_config(RelayConfig, _write(tmp_path / "a", config)).crash_at is not None


def test_key_file_opens_with_its_password_only(tmp_path: Path) -> None:
    password = _write(tmp_path / "password", "secret\n")
    file = KeyFile(file=tmp_path / "key", password_file=password, purpose="validator-0/signing")
    saved = key("saved")
    save_key(saved, file, entropy=Counter("salt"), cost=MIN_COST)
    assert file.file.stat().st_mode & 0o777 == 0o600
    assert saved.reveal() not in file.file.read_bytes()
    assert open_key(file).address == saved.address
    with pytest.raises(FileExistsError):
        save_key(SigningKey(b"\1" * 32), file, entropy=Counter("salt"), cost=MIN_COST)
    other = KeyFile(file=file.file, password_file=password, purpose="validator-1/signing")
    with pytest.raises(WrongPassword):
        open_key(other)
    _write(password, "guess\n")
    with pytest.raises(WrongPassword):
        open_key(file)
    file.file.write_bytes(b"CAIMIKEY")
    with pytest.raises(MalformedKeystore):
        open_key(file)
    file.file.chmod(0o640)
    with pytest.raises(ConfigRefused, match="mode 640"):
        open_key(file)


def test_rejects_short_token(tmp_path: Path) -> None:
    assert read_token(_write(tmp_path / "t", " 0123456789abcdef\n")) == "0123456789abcdef"
    with pytest.raises(ConfigRefused, match="shorter"):
        read_token(_write(tmp_path / "t", "0123456789abcde\n"))
    with pytest.raises(ConfigRefused, match="cannot be read"):
        read_token(tmp_path / "nothing")


def test_kill_at_kills_at_the_counted_step(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []

    def kill(process: int, number: int) -> None:
        killed.append((process, number))

    monkeypatch.setattr(os, "kill", kill)
    crash = KillAt("relay.sent", 2)
    for step in ("relay.sent", "relay.done", "relay.done"):
        crash.reached(step)
    assert killed == []
    crash.reached("relay.sent")
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_kill_at_with_a_record_kills_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[bool] = []
    record = tmp_path / "crashed"

    def kill(process: int, number: int) -> None:
        killed.append(record.exists())

    monkeypatch.setattr(os, "kill", kill)
    config = {**example(), "devnet": True, "crash_at": {"step": "relay.sent", "record": str(record)}}
    for _ in range(2):
        crash = crash_points(read_config(RelayConfig, _write(tmp_path / "a", config)).crash_at)
        crash.reached("relay.done")
        crash.reached("relay.sent")
    assert killed == [True]


@pytest.mark.parametrize("process", ["validatord", "relayd"])
def test_process_with_a_bad_configuration_says_why_and_ends(tmp_path: Path, process: str) -> None:
    path = _write(tmp_path / "a", "{}")
    command = [sys.executable, "-m", f"caimi.apps.{process}", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("caimi: error: ConfigRefused: $.process: missing\ncaimi: hint: ")
    assert done.stdout == ""
