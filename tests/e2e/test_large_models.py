"""Models of any size: the publisher and the relay stay below 512 MiB, and a killed upload sends nothing twice."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from caimi.bundle.dagpb import MAX_LINKS
from caimi.bundle.framing import bundle_bytes
from caimi.bundle.stream import StreamSize
from caimi.sdk.bundles import read_bundle
from tests.crash.devnet_fixture import Devnet, running_devnet
from tests.e2e.large_models import MARKED, expected_rows, write_one_file, write_tables

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(3600)]

_CAIMI: Final = [sys.executable, "-m", "caimi.cli"]
_MOST_MIB: Final = 512
_PATIENCE_S: Final = 1800.0


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """Its host takes models of 4 GiB, each of which its runner holds twice."""

    def larger(config: dict[str, Any]) -> None:
        config["limits"] = {**config.get("limits", {}), "model_bytes": 4 << 30, "runner_memory_bytes": 16 << 30}

    with running_devnet(tmp_path_factory.mktemp("large")) as running:
        running.configure("host", larger)
        running.run(running.restart("host"))
        yield running


def _peak_mib(pid: int) -> int:
    # The most that a process ever had in memory; 0 once it is gone.
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


class _Publisher:
    """`caimi publish` of a folder or file, watched."""

    def __init__(self, devnet: Devnet, path: Path, name: str) -> None:
        self._told = path.with_name(f"{time.monotonic_ns()}.err")
        words = ["publish", str(path), "--name", name, "--home", "fabric", "--mirror", "ethereum", "--json"]
        environment = {**os.environ, "CAIMI_HOME": str(devnet.home)}
        with self._told.open("w") as told:
            self._process = subprocess.Popen(
                [*_CAIMI, *words], stdout=subprocess.PIPE, stderr=told, text=True, env=environment
            )
        self.peak_mib = 0

    def until(self, condition: Callable[[], bool]) -> None:
        """Watch until something is so; the process must still run."""
        self._watch(lambda: condition() or self._process.poll() is not None)
        assert self._process.poll() is None, self._told.read_text()

    def told(self) -> str:
        """Its progress, in which it also says when the store did not answer and a block was sent again for that."""
        return self._told.read_text()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def finish(self) -> dict[str, Any]:
        self._watch(lambda: self._process.poll() is not None)
        out, _ = self._process.communicate()
        assert self._process.returncode == 0, self._told.read_text()
        return json.loads(out)

    def _watch(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < until, self._told.read_text()
            self.peak_mib = max(self.peak_mib, _peak_mib(self._process.pid))
            time.sleep(0.05)


def _blocks_taken(devnet: Devnet) -> int:
    # How many blocks the store took in since it was started.
    with urllib.request.urlopen(f"{devnet.network.content_url}/metrics", timeout=60) as answer:
        found = re.search(r'caimi_content_requests_total\{call="put",result="ok"\} (\d+)', answer.read().decode())
    return int(found[1]) if found else 0


def _blocks_of(folder: Path) -> int:
    level = StreamSize.of_plaintext(bundle_bytes(read_bundle(folder).manifest)).segments
    blocks = level
    while level > 1:
        level = math.ceil(level / MAX_LINKS)
        blocks += level
    return blocks


def _check_answer(devnet: Devnet, folder: Path, name: str, tables: int) -> None:
    np.savez(folder / "in.npz", row=np.array(MARKED, dtype=np.int64))
    files = ["--output", str(folder / "out.npz"), "--receipt", str(folder / "r.json")]
    words = ["infer", name, "--direct", "--deadline", "60", "--input", str(folder / "in.npz"), *files, "--json"]
    environment, until = {**os.environ, "CAIMI_HOME": str(devnet.home)}, time.monotonic() + _PATIENCE_S
    while True:
        done = subprocess.run([*_CAIMI, *words], capture_output=True, text=True, env=environment, timeout=900)
        # Loading may take longer than a direct call may wait; it goes on without one.
        if done.returncode == 0:
            break
        assert json.loads(done.stdout)["problem"]["retry"] == "safe", done.stderr
        assert time.monotonic() < until, done.stderr
    assert json.loads(done.stdout)["verified"]
    assert np.array_equal(np.load(folder / "out.npz")["sum"], expected_rows(tables, MARKED))


def test_a_gibibyte_is_published_and_answered_within_bounds(devnet: Devnet, tmp_path: Path) -> None:
    assert write_tables(tmp_path / "model", 4) > 1 << 30
    publisher = _Publisher(devnet, tmp_path / "model", "gibibyte")
    assert publisher.finish()["trace"]["states"] == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
    shutil.rmtree(tmp_path / "model")
    _check_answer(devnet, tmp_path, "gibibyte", 4)
    relay_mib, content_mib = (_peak_mib(devnet.process(name)["pid"]) for name in ("relay", "content"))
    print(f"1 GiB: publisher {publisher.peak_mib} MiB, relay {relay_mib} MiB, content store {content_mib} MiB")
    assert 0 < publisher.peak_mib <= _MOST_MIB
    assert 0 < relay_mib <= _MOST_MIB
    assert 0 < content_mib <= _MOST_MIB


def test_a_model_in_one_file_is_published_and_answered_within_bounds(devnet: Devnet, tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    assert write_one_file(path, 5) > 5 << 28
    publisher = _Publisher(devnet, path, "one")
    assert publisher.finish()["trace"]["states"] == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
    path.unlink()
    _check_answer(devnet, tmp_path, "one", 5)
    relay_mib = _peak_mib(devnet.process("relay")["pid"])
    print(f"1.25 GiB in one file: publisher {publisher.peak_mib} MiB, relay {relay_mib} MiB")
    assert 0 < publisher.peak_mib <= _MOST_MIB
    assert 0 < relay_mib <= _MOST_MIB


def test_three_gibibytes_go_on_after_a_kill_and_send_nothing_twice(devnet: Devnet, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert write_tables(folder, 12) > 3 << 30
    blocks, before = _blocks_of(folder), _blocks_taken(devnet)
    first = _Publisher(devnet, folder, "three")
    first.until(lambda: _blocks_taken(devnet) - before > blocks // 2)
    first.kill()
    killed_at = _blocks_taken(devnet) - before
    assert blocks // 2 < killed_at < blocks
    second = _Publisher(devnet, folder, "three")
    assert second.finish()["trace"]["states"] == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
    sent = _blocks_taken(devnet) - before
    shutil.rmtree(folder)
    _check_answer(devnet, tmp_path, "three", 12)
    relay_mib = _peak_mib(devnet.process("relay")["pid"])
    peak_mib = max(first.peak_mib, second.peak_mib)
    print(
        f"3 GiB: {blocks} blocks, killed at {killed_at}, {sent} taken; publisher {peak_mib} MiB, relay {relay_mib} MiB"
    )
    assert blocks <= sent <= blocks + 1, (first.told(), second.told())
    assert 0 < peak_mib <= _MOST_MIB
    assert 0 < relay_mib <= _MOST_MIB
