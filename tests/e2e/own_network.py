"""A network of one test module, used by the command line and hurt from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from caimi.apps.devnet.running import is_running

__all__ = ["OwnNetwork", "own_network"]

# Longer than any clock here is set ahead: by home's clock nothing is late.
_DEADLINE_S = 3_600
_CAIMI = [sys.executable, "-m", "caimi.cli"]


class OwnNetwork:
    """A state folder and what lives in it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def caimi(self, *words: str, code: int = 0) -> Any:
        """Run a command with --json and return its object."""
        environment = {**os.environ, "CAIMI_HOME": str(self.home)}
        done = subprocess.run([*_CAIMI, *words, "--json"], capture_output=True, text=True, env=environment, timeout=800)
        assert done.returncode == code, f"{done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        return json.loads(done.stdout)

    def status(self) -> Any:
        """What `caimi status` says, healthy or not."""
        environment = {**os.environ, "CAIMI_HOME": str(self.home)}
        done = subprocess.run(
            [*_CAIMI, "status", "--json"], capture_output=True, text=True, env=environment, timeout=60
        )
        assert done.returncode in (0, 3), done.stderr
        return json.loads(done.stdout)

    def publish(self, model: Path, name: str, *, home: str = "fabric", mirror: str = "ethereum") -> str:
        """Publish until it is committed on both ledgers; the id."""
        words = ["--name", name, "--home", home, "--mirror", mirror, "--deadline", str(_DEADLINE_S)]
        published = self.caimi("publish", str(model), *words)
        assert published["trace"]["states"] == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
        return str(published["id"])

    def pid(self, name: str) -> int:
        """Number of a running process, by the supervisor."""
        found: list[int] = []

        def is_up() -> bool:
            pid = json.loads((self.home / "supervisor.json").read_text())["processes"][name]["pid"]
            found[:] = [] if pid is None else [pid]
            return bool(found)

        self.wait(is_up)
        return found[0]

    def kill(self, name: str) -> None:
        """Kill a process and wait until the supervisor has started it again."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        self.wait(lambda: self.pid(name) != pid)

    def ethereum(self, method: str, *parameters: Any) -> Any:
        """Ask Anvil something; waits for it to be up."""
        port = json.loads((self.home / "plan.json").read_text())["ethereum_port"]
        answers: list[Any] = []

        def answered() -> bool:
            question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
            try:
                answer = httpx2.post(f"http://127.0.0.1:{port}", json=question, trust_env=False, timeout=30.0).json()
            except httpx2.TransportError:
                return False
            assert "error" not in answer, answer
            answers.append(answer["result"])
            return True

        self.wait(answered)
        return answers[0]

    @property
    def height(self) -> int:
        """Anvil's tip."""
        return int(self.ethereum("eth_blockNumber"), 16)

    def wait_blocks(self, count: int) -> None:
        """Wait until Anvil has made some more blocks."""
        until = self.height + count
        self.wait(lambda: self.height >= until)

    def conditions(self, lane: str) -> set[str]:
        """What validators say about a lane."""
        return {seen["condition"] for seen in self.status()["lanes"][lane]["validators"].values()}

    def wait(self, condition: Callable[[], bool], *, within_s: float = 300.0) -> float:
        """Wait until a condition holds; how long it took."""
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() < begin + within_s
            time.sleep(0.2)
        return time.monotonic() - begin


@contextmanager
def own_network(folder: Path, *words: str) -> Generator[OwnNetwork]:
    """Bring a network up with these options; at the end none of its processes is left."""
    network = OwnNetwork(folder / "home")
    try:
        network.caimi("up", *words)
        yield network
    finally:
        if is_running(network.home):
            network.caimi("down")
