"""Tensors on their way into a model and out of it (spec 60 §4, §5)."""

from __future__ import annotations

from dataclasses import dataclass

from caimi.bundle.signature import ModelSignature
from caimi.bundle.tensors import (
    MalformedTensors,
    Tensor,
    TensorsRefused,
    check_finite,
    check_tensors,
    decode_tensors,
    encode_tensors,
)
from caimi.ports.model_runtime import RuntimeFailed

__all__ = ["TensorLimits", "checked_inputs", "checked_outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorLimits:
    """How large one input or output may be, in bytes of safetensors."""

    input_bytes: int = 64 << 20
    output_bytes: int = 64 << 20


def checked_inputs(signature: ModelSignature | None, payload: bytes, *, limits: TensorLimits) -> dict[str, Tensor]:
    """Decode an input that the model takes.

    Raises:
        TensorsRefused: It is none, or not what the signature says.
    """
    tensors = decode_tensors(payload, max_bytes=limits.input_bytes)
    if signature is None:
        raise TensorsRefused("the model takes no tensors")
    check_tensors(signature.inputs, tensors)
    check_finite(tensors)
    return tensors


def checked_outputs(signature: ModelSignature | None, outputs: dict[str, Tensor], *, limits: TensorLimits) -> bytes:
    """Encode what came out of a runner, which is as little trusted as the model.

    Raises:
        RuntimeFailed: Not the outputs of the signature, or too many bytes.
    """
    specs = () if signature is None else signature.outputs
    found = {(name, tensor.dtype) for name, tensor in outputs.items()}
    if not specs or found != {(spec.name, spec.dtype) for spec in specs}:
        raise RuntimeFailed("the outputs are not those of the model's signature")
    try:
        payload = encode_tensors(outputs)
        decode_tensors(payload, max_bytes=limits.output_bytes)
    except MalformedTensors as error:
        raise RuntimeFailed("the outputs are no tensors") from error
    except TensorsRefused as error:
        raise RuntimeFailed("the outputs are larger than served") from error
    return payload
