"""One offline Kubo node in a temporary folder, driven through its HTTP RPC."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import httpx2

__all__ = ["KuboNode", "kubo_program"]

_START_SECONDS = 60.0
_BOUNDARY = "caimi-vectors-7e2d"
_REPOSITORY = Path(__file__).resolve().parents[2]


def kubo_program() -> Path | None:
    """The `ipfs` program that the toolchain built, None when it did not."""
    manifest = Path(os.environ.get("CAIMI_TOOLCHAIN") or _REPOSITORY / ".venv" / "caimi-toolchain.json")
    named = json.loads(manifest.read_text()).get("kubo") if manifest.is_file() else None
    return Path(named) if named and Path(named).is_file() else None


class KuboNode:
    """`with KuboNode(program) as node:` starts the node, and stops it and removes its folder at the end."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="caimi-kubo-"))
        self._environment = {
            "IPFS_PATH": str(self._folder / "repo"),
            "HOME": str(self._folder),
            "PATH": "/usr/bin:/bin",
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self.rpc_url = ""
        self.gateway_url = ""

    def __enter__(self) -> KuboNode:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the daemon and remove the folder."""
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(20)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, pieces: Iterable[bytes], *, chunk_bytes: int, links_per_node: int = 174) -> str:
        """Add a content with the profile of spec 15 §2 and return the CID that the node gives it."""
        params: dict[str, str] = {
            "cid-version": "1",
            "hash": "sha2-256",
            "raw-leaves": "true",
            "chunker": f"size-{chunk_bytes}",
            "max-file-links": str(links_per_node),
            "trickle": "false",
            "inline": "false",
            "pin": "false",
            "quieter": "true",
        }
        answer = httpx2.post(
            f"{self.rpc_url}/api/v0/add",
            params=params,
            content=_form(pieces),
            headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
            timeout=300.0,
            trust_env=False,
        )
        answer.raise_for_status()
        return str(json.loads(answer.text.splitlines()[-1])["Hash"])

    def collect_garbage(self) -> None:
        """Remove every block that no pin holds."""
        self._post("repo/gc")

    def forget_everything(self) -> None:
        """Unpin and remove all blocks."""
        keys = json.loads(self._post("pin/ls", type="recursive")).get("Keys", {})  # absent when nothing is pinned
        for cid in keys:
            self._post("pin/rm", arg=cid)
        self.collect_garbage()

    def _post(self, command: str, **params: str) -> str:
        answer = httpx2.post(f"{self.rpc_url}/api/v0/{command}", params=params, timeout=60.0, trust_env=False)
        answer.raise_for_status()
        return answer.text

    def _start(self) -> None:
        self._call("init", "--profile=test")
        self._call("config", "--json", "Addresses.Gateway", '"/ip4/127.0.0.1/tcp/0"')
        with (self._folder / "daemon.log").open("wb") as log:
            command = [self._program, "daemon", "--offline"]
            self._daemon = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        api = self._folder / "repo" / "api"
        while not (api.is_file() and self._answers(api)):
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kubo did not start: {(self._folder / 'daemon.log').read_text()[-2000:]}")
            time.sleep(0.05)
        self.gateway_url = (self._folder / "repo" / "gateway").read_text().strip()

    def _answers(self, api: Path) -> bool:
        parts = api.read_text().strip().split("/")  # /ip4/127.0.0.1/tcp/<port>
        if len(parts) < 5:
            return False
        self.rpc_url = f"http://{parts[2]}:{parts[4]}"
        try:
            return httpx2.post(f"{self.rpc_url}/api/v0/version", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    def _call(self, *words: str) -> None:
        subprocess.run([self._program, *words], env=self._environment, check=True, capture_output=True, timeout=60)


def _form(pieces: Iterable[bytes]) -> Iterator[bytes]:
    head = 'Content-Disposition: form-data; name="file"; filename="file"\r\nContent-Type: application/octet-stream'
    yield f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode()
    yield from pieces
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()
