"""Where a peer lies, after it was fetched or built if need be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

__all__ = ["PeerUnavailable", "peer_path"]


class PeerUnavailable(Exception):
    """A peer cannot be fetched or built; the text has the reason."""


async def peer_path(repository: Path, name: str) -> Path:
    """The folder or program of a peer that tools/bench_peers.py knows.

    Raises:
        PeerUnavailable: It cannot be made ready.
    """
    command = [sys.executable, str(repository / "tools" / "bench_peers.py"), name]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode != 0:
        raise PeerUnavailable(f"{name}: the lines above say why; the network is needed the first time")
    return Path(done.stdout.strip())
