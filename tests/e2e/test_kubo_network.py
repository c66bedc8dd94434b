"""A network whose blocks a real Kubo daemon keeps: published through it, killed, answered from it, all by itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from caimi.apps.demo.digits import train_digits
from caimi.bundle.cid import format_cid, parse_cid
from caimi.devnet.toolchain import load_toolchain
from tests.e2e.own_network import OwnNetwork, own_network

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnNetwork]:
    if load_toolchain().kubo is None:
        pytest.skip("the toolchain has not built Kubo: python3 tools/bootstrap.py test-long builds it")
    with own_network(tmp_path_factory.mktemp("kubo"), "--profile", "light", "--storage", "kubo") as running:
        yield running


def _ask(network: OwnNetwork, command: str, **parameters: str) -> str:
    port = json.loads((network.home / "plan.json").read_text())["kubo_port"]
    url = f"http://127.0.0.1:{port}/api/v0/{command}"
    return httpx2.post(url, params=parameters, trust_env=False, timeout=30.0).raise_for_status().text


def _blocks(network: OwnNetwork) -> set[str]:
    return {json.loads(line)["Ref"] for line in _ask(network, "refs/local").splitlines()}


def test_kubo_keeps_the_blocks_over_its_own_death_and_restarts(network: OwnNetwork, tmp_path: Path) -> None:
    assert network.status()["storage"] == "kubo"
    digits = train_digits(seed=1)
    (tmp_path / "digits.onnx").write_bytes(digits.onnx)
    np.savez(tmp_path / "in.npz", image=digits.images[:8])
    before = _blocks(network)
    network.publish(tmp_path / "digits.onnx", "digits")
    kept = _blocks(network) - before
    assert kept, "the ciphertext is there"
    folder = network.home / "content"
    assert not folder.exists() or not any(path.is_file() for path in folder.rglob("*"))

    network.kill("kubo")
    words = ["infer", "digits", "--input", str(tmp_path / "in.npz")]
    first = network.caimi(*words, "--output", str(tmp_path / "1.npz"), "--receipt", str(tmp_path / "1.json"))
    assert first["verified"]
    network.caimi("down")
    assert network.caimi("up")["storage"] == "kubo"
    assert kept <= _blocks(network)
    second = network.caimi(*words, "--output", str(tmp_path / "2.npz"), "--receipt", str(tmp_path / "2.json"))
    assert second["verified"]
    labels = np.load(tmp_path / "2.npz")["logits"].argmax(axis=-1)
    assert (labels == digits.labels[:8]).mean() > 0.8


def test_its_cids_are_ours(network: OwnNetwork) -> None:
    for text in _blocks(network):
        # Kubo lists blocks by multihash, as raw CIDs.
        assert format_cid(parse_cid(text)) == text


def test_it_talks_to_nobody(network: OwnNetwork) -> None:
    pid = network.pid("kubo")
    told = subprocess.run(["ss", "-Htunlp"], capture_output=True, text=True, check=True).stdout
    mine = [line.split() for line in told.splitlines() if f"pid={pid}," in line]
    port = json.loads((network.home / "plan.json").read_text())["kubo_port"]
    assert [words[4] for words in mine] == [f"127.0.0.1:{port}"]
    assert json.loads(_ask(network, "config/show"))["Bootstrap"] == []
    assert str(network.home / "kubo") in _ask(network, "repo/stat")
