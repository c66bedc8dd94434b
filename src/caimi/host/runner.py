"""The runner: a child process that inspects, loads and runs one model within limits.

    python -I -m caimi.host.runner SOCKET LIMITS

It has one socket to its host and nothing else: no input, no output, no environment, no file that it could write. It
ends when the socket does.
"""

from __future__ import annotations

import json
import resource
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime

from caimi.bundle.buffers import BytesLike, overwrite
from caimi.bundle.errors import BundleError
from caimi.bundle.manifest import Manifest, Role, decode_manifest
from caimi.bundle.onnx_external import external_paths, external_sizes
from caimi.bundle.onnx_inspect import InspectionLimits, inspect_model, verify_signature
from caimi.bundle.signature import DType
from caimi.bundle.tensors import Tensor, TensorsTooLarge, check_tensors
from caimi.host.frames import (
    HEADER,
    Frame,
    RunnerLimits,
    loaded_paths,
    pack_header,
    pack_tensors,
    unpack_header,
    unpack_tensors,
)

__all__ = ["main"]

# The library has no types.
_RUNTIME: Final[Any] = onnxruntime
_MAX_MANIFEST: Final = 1 << 20
_LONGEST_TEXT: Final = 500


class _Ended(Exception):
    # The host closed the socket.
    pass


class _Refused(Exception):
    # What the runtime says stays here: its words quote the model.
    pass


class _Runner:
    def __init__(self, connection: socket.socket, limits: RunnerLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._session: Any = None
        self._manifest: Manifest | None = None

    def serve(self) -> None:
        accepted = {
            Frame.LOAD: 4 + _MAX_MANIFEST + self._limits.max_model_bytes,
            Frame.RUN: self._limits.max_input_bytes,
        }
        while True:
            kind, length = unpack_header(self._read(HEADER.size), accepted)
            payload = self._read(length)
            try:
                if kind is Frame.LOAD:
                    _allow_cpu(self._limits.load_cpu_s)
                    self._answer(Frame.LOADED, [b"\x01" if self._load(payload) else b"\x00"])
                else:
                    _allow_cpu(self._limits.run_cpu_s)
                    self._answer(Frame.RESULT, self._run(payload))
            except (BundleError, _Refused, MemoryError) as error:
                name = type(error).__name__ if isinstance(error, BundleError) else "RuntimeRefused"
                told = {"error": name, "text": str(error)[:_LONGEST_TEXT]}
                self._answer(Frame.FAILURE, [json.dumps(told).encode()])
            finally:
                overwrite(payload)
                # Else it stays until the next call, and the runtime has a copy.
                del payload

    def _load(self, payload: bytearray) -> bool:
        if self._session is not None:
            raise _Refused("a runner loads one model")
        length = int.from_bytes(payload[:4], "big")
        manifest = decode_manifest(bytes(payload[4 : 4 + length]))
        files = _files_of(memoryview(payload)[4 + length :], manifest)
        (model_path,) = (file.path for file in manifest.files_of(Role.MODEL))
        limits = InspectionLimits(model_bytes=self._limits.max_model_bytes)
        found = inspect_model(files[model_path], limits=limits, size_of=external_sizes(manifest))
        if manifest.signature is None:
            raise _Refused("the manifest has no signature")
        verify_signature(manifest.signature, found.signature)
        if any(spec.dtype is DType.BFLOAT16 for spec in (*found.signature.inputs, *found.signature.outputs)):
            raise _Refused("bfloat16 inputs and outputs are not served")
        paths = external_paths(manifest)
        data = {name: files[paths[name]] for name in found.external}
        try:
            self._session = _session(bytes(files[model_path]), data, threads=self._limits.threads)
        except Exception as error:  # the runtime raises what it likes
            raise _Refused("the runtime does not load it") from error
        self._manifest = manifest
        # Its threads are there: nothing else will ever be started from here.
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        return found.keeps_rows_apart

    def _run(self, payload: bytearray) -> list[BytesLike]:
        if self._manifest is None or self._manifest.signature is None:
            raise _Refused("no model is loaded")
        signature = self._manifest.signature
        inputs = unpack_tensors(signature.inputs, payload)
        check_tensors(signature.inputs, inputs)
        names = [spec.name for spec in signature.outputs]
        try:
            arrays = self._session.run(names, {name: tensor.array() for name, tensor in inputs.items()})
        except Exception as error:  # as above
            raise _Refused("the runtime does not run it") from error
        outputs = {
            spec.name: Tensor(dtype=spec.dtype, shape=tuple(array.shape), data=_bytes_of(array, spec.dtype))
            for spec, array in zip(signature.outputs, arrays, strict=True)
        }
        parts = pack_tensors(signature.outputs, outputs)
        size = sum(len(part) for part in parts)
        if size > self._limits.max_output_bytes:
            raise TensorsTooLarge(f"outputs of {size} bytes, the limit is {self._limits.max_output_bytes}")
        return parts

    def _read(self, length: int) -> bytearray:
        buffer = bytearray(length)
        view, filled = memoryview(buffer), 0
        while filled < length:
            count = self._connection.recv_into(view[filled:])
            if not count:
                raise _Ended
            filled += count
        view.release()
        return buffer

    def _answer(self, kind: Frame, parts: Sequence[BytesLike]) -> None:
        self._connection.sendall(pack_header(kind, sum(len(part) for part in parts)))
        for part in parts:
            self._connection.sendall(part)


def _session(model: bytes, data: Mapping[str, memoryview], *, threads: int) -> Any:
    options = _RUNTIME.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The runtime looks on a disk only for what it was not given, and the inspection let no other name pass.
    options.add_external_initializers_from_files_in_memory(
        list(data), list(data.values()), [len(d) for d in data.values()]
    )
    return _RUNTIME.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])


def _files_of(content: memoryview, manifest: Manifest) -> dict[str, memoryview]:
    sizes = {file.path: file.size for file in manifest.files}
    files: dict[str, memoryview] = {}
    for path in loaded_paths(manifest):
        files[path], content = content[: sizes[path]], content[sizes[path] :]
    if len(content) or any(len(files[path]) != sizes[path] for path in files):
        raise _Refused("the files are not as long as the manifest says")
    return files


def _bytes_of(array: Any, dtype: DType) -> memoryview:
    # Sequences and maps are no arrays; the inspection lets none through.
    values = np.asarray(array)
    if values.dtype != np.dtype(dtype.value):
        raise _Refused("an output has another element type than the model says")
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _allow_cpu(seconds: int) -> None:
    # The clock of the limit runs from the start of the process.
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def _limit(limits: RunnerLimits) -> None:
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def main() -> int:
    """Serve one host until it closes the socket; the exit code."""
    limits = RunnerLimits.from_json(sys.argv[2])
    connection = socket.socket(fileno=int(sys.argv[1]))
    _limit(limits)
    try:
        _Runner(connection, limits).serve()
    except (_Ended, OSError):
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
