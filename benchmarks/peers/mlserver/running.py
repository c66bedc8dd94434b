"""MLServer as a process, and a load on it from another one."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from benchmarks.peers.fetch import PeerUnavailable, peer_path

__all__ = ["MlServer", "running_mlserver"]

_HERE: Final = Path(__file__).resolve().parent
_READY_S: Final = 120.0
_BATCH_ROWS: Final = 32
_BATCH_WAIT_S: Final = 0.002
_MODEL: Final = "resnet50"


@dataclass(frozen=True, slots=True, kw_only=True)
class MlServer:
    """One that runs."""

    environment: dict[str, str]
    grpc_port: int
    image: Path

    async def load(self, in_flight: int, seconds: float) -> tuple[float, list[float]]:
        """Calls a second with so many in flight, and the logits of one answer."""
        program = (_python(), str(_HERE / "load.py"), str(self.grpc_port), str(self.image))
        child = await asyncio.create_subprocess_exec(
            *program, str(in_flight), str(seconds), env=self.environment, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await child.communicate()
        if child.returncode != 0:
            raise PeerUnavailable(f"mlserver: the load ended with {child.returncode}; the lines above say why")
        found: dict[str, Any] = json.loads(told)
        return found["answered"] / found["seconds"], found["logits"]


@asynccontextmanager
async def running_mlserver(
    repository: Path, folder: Path, model: Path, image: bytes, *, workers: int
) -> AsyncGenerator[MlServer]:
    """MLServer with one model, ready to answer.

    Arguments:
        folder: scratch of its own.
        image: float32 values of one input.
        workers: its processes for inference; 0 runs it in the server's own.

    Raises:
        PeerUnavailable: It cannot be fetched, or does not start.
    """
    packages = await peer_path(repository, "mlserver")
    ports = _free_ports(3)
    files = {"settings.json": _settings(folder, ports, workers), "model-settings.json": _model_settings(model)}
    await asyncio.to_thread(_write, folder, image, files)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join((str(packages), str(_HERE))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    begin = "from mlserver.cli import main; main()"
    log = folder / "log"
    with log.open("wb") as stream:
        child = await asyncio.create_subprocess_exec(
            *(_python(), "-c", begin, "start", str(folder)),
            env=environment,
            # It writes metrics where it stands.
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        await _until_ready(child, f"http://127.0.0.1:{ports[0]}/v2/models/{_MODEL}/ready", log)
        yield MlServer(environment=environment, grpc_port=ports[1], image=folder / "image")
    finally:
        # Its workers are in its group.
        os.killpg(child.pid, 9)
        await child.wait()


def _python() -> str:
    # Not the one of our environment, whose packages it would see too.
    return str(Path(sys.base_prefix) / "bin" / "python3")


def _settings(folder: Path, ports: list[int], workers: int) -> dict[str, Any]:
    names = ("http_port", "grpc_port", "metrics_port")
    return {
        **dict(zip(names, ports, strict=True)),
        "debug": False,
        "host": "127.0.0.1",
        "parallel_workers": workers,
        "environments_dir": str(folder / "environments"),
    }


def _model_settings(model: Path) -> dict[str, Any]:
    return {
        "name": _MODEL,
        "implementation": "onnx_model.OnnxModel",
        "parameters": {"uri": str(model)},
        "max_batch_size": _BATCH_ROWS,
        "max_batch_time": _BATCH_WAIT_S,
    }


def _write(folder: Path, image: bytes, files: dict[str, dict[str, Any]]) -> None:
    folder.mkdir()
    (folder / "image").write_bytes(image)
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


async def _until_ready(child: asyncio.subprocess.Process, url: str, log: Path) -> None:
    try:
        async with asyncio.timeout(_READY_S), httpx2.AsyncClient(trust_env=False) as client:
            while child.returncode is None:
                try:
                    if (await client.get(url)).is_success:
                        return
                except httpx2.HTTPError:
                    pass
                await asyncio.sleep(0.2)
    except TimeoutError:
        pass
    told = await asyncio.to_thread(log.read_text, encoding="utf-8", errors="replace")
    raise PeerUnavailable("mlserver does not get ready: " + " | ".join(told.splitlines()[-5:]))
