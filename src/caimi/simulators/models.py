"""SIMULATED models: a file of weights instead of ONNX, run in this process instead of a limited child.

Whatever a host does around its runtime it does here too; the real runtime has its own tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role
from caimi.bundle.signature import DType, ModelSignature, TensorSpec
from caimi.bundle.tensors import Tensor, decode_tensors, encode_tensors
from caimi.ports.model_runtime import RuntimeFailed
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32

__all__ = ["NotSimulated", "SimulatedModel", "SimulatedRuntime", "batch", "values_of"]

_MAGIC: Final = b"SIMULATED MODEL\0"
_IN: Final = 4
_OUT: Final = 2
_LIMIT: Final = 1 << 16
_SIGNATURE: Final = ModelSignature(
    inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=("N", _IN)),),
    outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=("N", _OUT)),),
)


class NotSimulated(CaimiError):
    """The file is no simulated model."""

    hint = "simulated models are made by SimulatedModel.drawn only"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModel:
    """x [N, 4] times a matrix gives y [N, 2]."""

    weights: tuple[float, ...] = field(repr=False)

    @classmethod
    def drawn(cls, rng: random.Random) -> SimulatedModel:
        """Weights that no other model has."""
        # Whole numbers, and products below 2^24: no machine rounds them.
        return cls(weights=tuple(float(rng.randint(-2_000, 2_000)) for _ in range(_IN * _OUT)))

    @classmethod
    def from_bytes(cls, data: bytes) -> SimulatedModel:
        """Inverse of `to_bytes`.

        Raises:
            NotSimulated: It is something else.
        """
        if len(data) != len(_MAGIC) + 4 * _IN * _OUT or not data.startswith(_MAGIC):
            raise NotSimulated
        return cls(weights=struct.unpack(f"<{_IN * _OUT}f", data[len(_MAGIC) :]))

    def to_bytes(self) -> bytes:
        """The model file: 48 bytes."""
        return _MAGIC + self.secret

    @property
    def secret(self) -> bytes:
        """What nobody but a host may ever see of the file: 32 bytes."""
        return struct.pack(f"<{_IN * _OUT}f", *self.weights)

    def manifest(self) -> Manifest:
        """Of a bundle with this file only. It says ONNX, since there is no word for what exists nowhere else."""
        data = self.to_bytes()
        entry = FileEntry(path="model", size=len(data), sha256=Bytes32(hashlib.sha256(data).digest()), role=Role.MODEL)
        return Manifest(
            kind=BundleKind.MODEL,
            framework=Framework.ONNX,
            files=(entry,),
            signature=_SIGNATURE,
            licence_sha256=ZERO32,
        )

    def run(self, inputs: bytes) -> bytes:
        """Safetensors bytes of y for those of x."""
        x = decode_tensors(inputs, max_bytes=_LIMIT)["x"].array()
        y = (x @ np.asarray(self.weights, dtype="<f4").reshape(_IN, _OUT)).astype("<f4")
        return encode_tensors({"y": Tensor(dtype=DType.FLOAT32, shape=y.shape, data=y.tobytes())})


def batch(rng: random.Random, *, name: str = "x", width: int = _IN) -> bytes:
    """Safetensors bytes of an input of two rows that nobody else has."""
    x = np.asarray([rng.randint(-1_000, 1_000) for _ in range(2 * width)], dtype="<f4")
    return encode_tensors({name: Tensor(dtype=DType.FLOAT32, shape=(2, width), data=x.tobytes())})


def values_of(payload: bytes) -> bytes:
    """The bare numbers of a payload with one tensor."""
    (tensor,) = decode_tensors(payload, max_bytes=_LIMIT).values()
    return bytes(tensor.data)


class SimulatedRuntime:
    """`ModelRuntime` of one host."""

    def __init__(self, *, rng: random.Random, mixes_up: bool = False) -> None:
        """Arguments:
        mixes_up: PLANTED FAULT: gives the output of the run before.
        """
        self.failure = 0.0
        """Probability that a run ends the runner."""
        self.failures = 0
        self.seconds = 0.0
        """How long a run takes."""
        self._rng = rng
        self._mixes_up = mixes_up
        self._before: bytes | None = None

    async def load(self, files: Mapping[str, bytearray], manifest: Manifest) -> _Loaded:
        """See `ModelRuntime`."""
        (model,) = files.values()
        return _Loaded(self, SimulatedModel.from_bytes(bytes(model)))

    def run(self, model: SimulatedModel, inputs: bytes) -> bytes | None:
        """The output, None if the runner ends."""
        if self._rng.random() < self.failure:
            self.failures += 1
            return None
        output = model.run(inputs)
        before, self._before = self._before, output
        return before if self._mixes_up and before is not None else output


class _Loaded:
    def __init__(self, runtime: SimulatedRuntime, model: SimulatedModel) -> None:
        self.is_alive = True
        self.keeps_rows_apart = True
        self._runtime = runtime
        self._model = model

    async def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.is_alive:
            raise RuntimeFailed("the runner is gone")
        await asyncio.sleep(self._runtime.seconds)
        output = self._runtime.run(self._model, encode_tensors(inputs))
        if output is None:
            self.is_alive = False
            raise RuntimeFailed("killed")
        return decode_tensors(output, max_bytes=_LIMIT)

    async def close(self) -> None:
        self.is_alive = False
