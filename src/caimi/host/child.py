"""`ModelRuntime` over runner processes: one for each loaded model, killed at the first thing that it does wrong."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from caimi.bundle import onnx_errors, tensors
from caimi.bundle.buffers import BytesLike
from caimi.bundle.errors import BundleError
from caimi.bundle.manifest import Manifest, encode_manifest
from caimi.bundle.signature import ModelSignature
from caimi.bundle.tensors import Tensor, check_tensors
from caimi.host.frames import (
    HEADER,
    Frame,
    RunnerLimits,
    loaded_paths,
    pack_header,
    pack_tensors,
    read_failure,
    unpack_header,
    unpack_tensors,
)
from caimi.ports.model_runtime import RuntimeFailed, RuntimeRefused

__all__ = ["ChildRuntime", "ModelChild"]

_MAX_FAILURE: Final = 1 << 13
_ERRORS: Final[dict[str, type[BundleError]]] = {
    name: getattr(module, name)
    for module in (onnx_errors, tensors)
    for name in module.__all__
    if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), BundleError)
}


class ChildRuntime:
    """A runner for each model, and one more that has started before there is a model for it."""

    def __init__(self, limits: RunnerLimits) -> None:
        self._limits = limits
        self._spare: ModelChild | None = None

    @property
    def waiting(self) -> int | None:
        """The process id of the runner that waits for a model, None if there is none."""
        return self._spare.pid if self._spare is not None and self._spare.is_alive else None

    def prepare(self) -> None:
        """Start the runner of the next model: the runtime's library takes longer to start than most models to load."""
        if self._spare is None:
            self._spare = ModelChild.start(self._limits)

    async def load(self, files: Mapping[str, bytearray], manifest: Manifest) -> ModelChild:
        """See `ModelRuntime.load`."""
        child, self._spare = self._spare, None
        keeps_one = child is not None
        if child is not None and not child.is_alive:
            await child.close()
            child = None
        child = child or ModelChild.start(self._limits)
        try:
            await child.load(files, manifest)
        except BaseException:
            await child.close()
            raise
        if keeps_one:
            self.prepare()
        return child

    async def close(self) -> None:
        """End the runner that has no model. Models are closed by themselves."""
        if self._spare is not None:
            await self._spare.close()
            self._spare = None


class ModelChild:
    """One runner. One call at a time; others wait."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, limits: RunnerLimits) -> None:
        self._process = process
        self._connection = connection
        self._limits = limits
        self._turn = asyncio.Lock()
        self._signature: ModelSignature | None = None
        self.keeps_rows_apart = False
        """See `LoadedModel.keeps_rows_apart`."""
        self._is_alive = True

    @classmethod
    def start(cls, limits: RunnerLimits) -> ModelChild:
        """A runner without a model: no environment of ours, no files but its socket."""
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                (sys.executable, "-I", "-m", "caimi.host.runner", str(theirs.fileno()), limits.to_json()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # Nothing but what keeps the library from reporting its use to its maker.
                env={"ORT_DISABLE_TELEMETRY": "1"},
                cwd="/",
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(process, ours, limits)

    @property
    def is_alive(self) -> bool:
        """Whether it can still be run."""
        return self._is_alive and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the runner."""
        return self._process.pid

    async def load(self, files: Mapping[str, bytearray], manifest: Manifest) -> None:
        """See `ModelRuntime.load`."""
        encoded = encode_manifest(manifest)
        parts = (len(encoded).to_bytes(4, "big") + encoded, *(files[path] for path in loaded_paths(manifest)))
        told = await self._call(Frame.LOAD, parts, Frame.LOADED, 1, seconds=self._limits.load_wait_s)
        self.keeps_rows_apart = bytes(told) == b"\x01"
        self._signature = manifest.signature

    async def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `LoadedModel.run`."""
        if self._signature is None:
            raise RuntimeRefused("no model is loaded")
        check_tensors(self._signature.inputs, inputs)
        limit, seconds = self._limits.max_output_bytes, self._limits.run_wait_s
        parts = pack_tensors(self._signature.inputs, inputs)
        payload = await self._call(Frame.RUN, parts, Frame.RESULT, limit, seconds=seconds)
        try:
            return unpack_tensors(self._signature.outputs, payload)
        except ValueError as error:
            await self.close()
            raise RuntimeFailed("the outputs are no tensors of the model's signature") from error

    async def close(self) -> None:
        """See `LoadedModel.close`."""
        self._is_alive = False
        self._connection.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    async def _call(
        self, kind: Frame, parts: Sequence[BytesLike], wanted: Frame, limit: int, *, seconds: float
    ) -> bytearray:
        async with self._turn:
            if not self.is_alive:
                raise RuntimeFailed("the runner is gone")
            try:
                async with asyncio.timeout(seconds):
                    answer, payload = await self._exchange(kind, parts, {wanted: limit, Frame.FAILURE: _MAX_FAILURE})
                    failure = read_failure(payload) if answer is Frame.FAILURE else None
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                await self.close()
                raise RuntimeFailed(f"{type(error).__name__}, exit code {self._process.returncode}") from error
            except BaseException:
                # Cancelled in the middle of a frame: what comes next could be anything.
                await self.close()
                raise
        if failure is None:
            return payload
        name, text = failure
        raise _ERRORS.get(name, RuntimeRefused)(text)

    async def _exchange(
        self, kind: Frame, parts: Sequence[BytesLike], accepted: dict[Frame, int]
    ) -> tuple[Frame, bytearray]:
        loop, connection = asyncio.get_running_loop(), self._connection
        await loop.sock_sendall(connection, pack_header(kind, sum(len(part) for part in parts)))
        for part in parts:
            # From the caller's buffer: a stream would keep copies of the plaintext.
            if len(part):
                await loop.sock_sendall(connection, part)
        answer, length = unpack_header(await self._read(HEADER.size), accepted)
        return answer, await self._read(length)

    async def _read(self, length: int) -> bytearray:
        buffer, filled = bytearray(length), 0
        view = memoryview(buffer)
        while filled < length:
            count = await asyncio.get_running_loop().sock_recv_into(self._connection, view[filled:])
            if not count:
                raise EOFError("the runner ended")
            filled += count
        return buffer
