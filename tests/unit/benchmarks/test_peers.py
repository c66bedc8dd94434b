"""Peers: what is fetched is what is pinned; the HTLC relay takes its steps in order; CCIP's tree; sound settings."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import bench_peers
import pytest
from toolchain.errors import ToolchainError

from benchmarks.peers.ccip import tree_root
from benchmarks.peers.htlc.ledgers import CLAIMED, Swap
from benchmarks.peers.htlc.relay import NotClaimed, make_swap, publish_swap
from benchmarks.peers.hyperlane import bytecode_of
from caimi.crypto.ecdsa import SigningKey, verify_signer
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import keccak256

_ROOT = Path(__file__).resolve().parents[3]
_KEY = SigningKey(bytes(31) + b"\x07")


def _sri(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def test_an_archive_with_another_hash_is_refused() -> None:
    bench_peers.check_integrity(b"archive", _sri(b"archive"))
    with pytest.raises(ToolchainError, match="expected"):
        bench_peers.check_integrity(b"archivf", _sri(b"archive"))


def _archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as packed:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))


def test_only_the_named_files_are_unpacked(tmp_path: Path) -> None:
    _archive(tmp_path / "a.tgz", {"package/a/b.bin": b"1", "package/c": b"2", "../evil": b"3"})
    bench_peers.unpack(tmp_path / "a.tgz", tmp_path / "out", ["a/b.bin"])
    assert [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")] == ["a", "a/b.bin"]
    with pytest.raises(ToolchainError, match="has no file c/d"):
        bench_peers.unpack(tmp_path / "a.tgz", tmp_path / "out", ["c/d"])


def test_every_pin_has_a_version_and_a_hash_and_stays_below_its_folder() -> None:
    pins: dict[str, Any] = json.loads((_ROOT / "benchmarks" / "peers" / "npm.json").read_text(encoding="utf-8"))
    for pin in pins.values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", pin["version"])
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", pin["integrity"])
        assert pin["files"]
        assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in pin["files"])


def test_an_unknown_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_peers.main(["nobody"]) == 2
    assert "hyperlane" in capsys.readouterr().err


def test_no_code_of_another_project_is_committed() -> None:
    kinds = {
        path.suffix for path in (_ROOT / "benchmarks").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    # .in and .txt: which packages, and their hashes.
    assert kinds <= {".py", ".sol", ".go", ".mod", ".sum", ".json", ".svg", ".pyc", ".in", ".txt"}
    assert all(path.name == "requirements.txt" for path in (_ROOT / "benchmarks").rglob("*.txt"))


def test_the_bytecode_is_taken_from_a_factory(tmp_path: Path) -> None:
    (tmp_path / "A__factory.js").write_text('const _bytecode = "0x6080ff";\n', encoding="ascii")
    assert bytecode_of(tmp_path / "A__factory.js") == b"\x60\x80\xff"
    (tmp_path / "B__factory.js").write_text('const _bytecode = "0x60__$library$__";\n', encoding="ascii")
    with pytest.raises(ValueError, match="no bytecode"):
        bytecode_of(tmp_path / "B__factory.js")


def test_the_tree_pairs_from_the_front_and_sorts() -> None:
    a, b, c = (keccak256(bytes([n])) for n in range(3))

    def node(*pair: bytes) -> bytes:
        return keccak256(bytes(31) + b"\x01" + b"".join(sorted(pair)))

    assert tree_root([a]) == a
    assert tree_root([a, b]) == tree_root([b, a]) == node(a, b)
    assert tree_root([a, b, c]) == node(c, node(a, b))


class _Leg:
    def __init__(self, name: str, done: list[str], state: int) -> None:
        self.name, self.done, self.shown = name, done, state
        self.expiry = 0

    async def lock(self, swap: Swap, expiry: int) -> None:
        self.expiry = expiry
        self.done.append(f"lock {self.name}")

    async def claim(self, swap: Swap) -> None:
        self.done.append(f"claim {self.name}")

    async def state(self, identifier: Bytes32) -> int:
        return self.shown


def test_the_htlc_relay_takes_its_steps_in_order_and_the_mirror_expires_first() -> None:
    done: list[str] = []
    home, mirror = _Leg("home", done, CLAIMED), _Leg("mirror", done, CLAIMED)
    asyncio.run(publish_swap(make_swap(_KEY, b"x"), home=home, mirror=mirror))
    assert done == ["lock home", "lock mirror", "claim mirror", "claim home"]
    assert mirror.expiry < home.expiry


@pytest.mark.parametrize("states", [(CLAIMED, 1), (1, CLAIMED), (0, 0)])
def test_a_publication_that_is_not_claimed_on_both_is_not_counted(states: tuple[int, int]) -> None:
    home, mirror = (_Leg(name, [], state) for name, state in zip(("home", "mirror"), states, strict=True))
    with pytest.raises(NotClaimed):
        asyncio.run(publish_swap(make_swap(_KEY, b"x"), home=home, mirror=mirror))


def test_a_swap_is_signed_by_its_publisher_and_locked_by_its_secret() -> None:
    swap = make_swap(_KEY, b"publication")
    assert swap.publication == _KEY.address + b"publication"
    verify_signer(keccak256(swap.publication), swap.signature, _KEY.address)
    assert swap.hashlock == hashlib.sha256(swap.preimage).digest()
    assert make_swap(_KEY, b"publication").preimage != swap.preimage
