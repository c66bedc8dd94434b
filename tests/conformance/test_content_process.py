"""The content server as a process of its own, and an uploader of it; each killed in the middle of an upload."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest

from caimi.bundle.unixfs import FileRoot
from caimi.ports.content import StoreUnavailable, UploadProgress
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.transfer import Content

pytestmark = pytest.mark.devnet

TOKEN = "a token of the tests"
_PATIENCE_S = 240
"""On a machine that does much else."""
CONTENT = hashlib.shake_128(b"killed").digest(40 << 20)


class Server:
    """One content server over a folder, on a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        token, self._config = folder / "token", folder / "contentd.json"
        token.write_text(TOKEN)
        http = {"host": "127.0.0.1", "port": self.port}
        document = {
            "process": "content",
            "name": "content",
            "http": http,
            "folder": str(folder / "store"),
            "token_file": str(token),
        }
        self._config.write_text(json.dumps(document))
        self._config.chmod(0o600)
        token.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "caimi.apps.contentd", "--config", str(self._config)]
        self.process = subprocess.Popen(command, env={"PATH": os.environ["PATH"]})
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the server does not start"
                time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server, None, None]:
    server = Server(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


async def upload(server: Server, *, kill_at: int | None = None) -> tuple[FileRoot, UploadProgress]:
    last: list[UploadProgress] = []

    def told(progress: UploadProgress) -> None:
        last.append(progress)
        if kill_at is not None and progress.blocks >= kill_at:
            server.kill()

    async with HttpBlockStore(server.url, token=TOKEN) as store:
        root = await Content(sources=[], store=store, window=4).upload([CONTENT], progress=told)
    return root, last[-1]


def test_an_upload_continues_after_the_server_was_killed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        asyncio.run(upload(server, kill_at=20))
    kept = [p for p in (tmp_path / "store" / "blocks").rglob("*") if p.is_file()]
    assert len(kept) >= 20
    server.start()
    root, progress = asyncio.run(upload(server))
    assert progress.blocks == root.blocks == 41
    assert progress.sent_blocks == 41 - len(kept)  # nothing that was acknowledged is lost or sent again

    async def read() -> bytes:
        async with HttpBlockStore(server.url) as store:
            stream = await Content(sources=[store]).open(root.cid, max_content_bytes=1 << 30)
            return b"".join([bytes(piece) async for piece in stream])

    assert asyncio.run(read()) == CONTENT
    assert not list((tmp_path / "store" / "partial").iterdir())


def _taken(server: Server) -> int:
    # Blocks that the server took, those among them that it had already.
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=60) as answer:
        found = re.search(r'caimi_content_requests_total\{call="put",result="ok"\} (\d+)', answer.read().decode())
    return int(found[1]) if found else 0


_UPLOADER = """
import asyncio, hashlib, sys
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.transfer import Content

async def main():
    async with HttpBlockStore(sys.argv[1], token=sys.argv[2]) as store:
        content = hashlib.shake_128(sys.argv[3].encode()).digest(40 << 20)
        await Content(sources=[], store=store).upload([content])

asyncio.run(main())
"""


@pytest.mark.parametrize("kill_at", [1, 20, 36])
def test_an_uploader_that_was_killed_sends_one_block_again_at_most(server: Server, kill_at: int) -> None:
    command = [sys.executable, "-c", _UPLOADER, server.url, TOKEN, "killed"]
    before = _taken(server)
    with subprocess.Popen(command) as uploader:
        until = time.monotonic() + _PATIENCE_S
        while _taken(server) - before < kill_at and time.monotonic() < until:
            time.sleep(0.005)
        uploader.send_signal(signal.SIGKILL)
    assert _taken(server) - before >= kill_at, "the upload did not go on"
    # At once, by a client that has started already: what is on its way is still being kept.
    root, _ = asyncio.run(upload(server))
    assert root.blocks <= _taken(server) - before <= root.blocks + 1
