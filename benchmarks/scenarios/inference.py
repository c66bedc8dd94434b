"""What the host's runner costs: the same model, threads and batch as in onnxruntime without anything around it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.interleave import interleave
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.scenario import Findings, Scenario, Stage
from caimi.apps.demo.resnet import make_resnet50
from caimi.bundle.signature import DType
from caimi.bundle.tensors import Tensor, decode_tensors, encode_tensors
from caimi.host.child import ChildRuntime, ModelChild
from caimi.host.frames import RunnerLimits
from caimi.sdk.bundles import read_bundle

__all__ = ["SCENARIOS", "SEED", "resnet_file"]

SEED: Final = 20_26
"""Of generated weights and images."""
_ROUND_S: Final = 1.0
_ROUNDS: Final = 15
_TOLERANCE: Final = 1e-5
# Spinning threads win where nobody else wants the cores, and lose where somebody does: both are the library's best.
_SPINNING, _RESTING = "bare onnxruntime", "bare onnxruntime, not spinning"
_MAX_BYTES: Final = 64 << 20


async def resnet_file(stage: Stage) -> Path:
    """ResNet-50 with generated weights, made once in a run."""

    async def make() -> Path:
        path = stage.folder / "resnet50.onnx"
        stage.tell("making ResNet-50 with generated weights")
        path.write_bytes(await asyncio.to_thread(make_resnet50, seed=SEED))
        return path

    return cast(Path, await stage.once("resnet50", make))


async def _measure(stage: Stage, *, side: int, batch: int, aim: float) -> Findings:
    path, limits = await resnet_file(stage), RunnerLimits()
    images = np.random.default_rng(SEED).standard_normal((batch, 3, side, side), dtype=np.float32)
    spinning, resting = (_bare_session(path, limits.threads, spin=spin) for spin in ("1", "0"))
    encoded = encode_tensors({"image": Tensor(dtype=DType.FLOAT32, shape=images.shape, data=images.tobytes())})
    async with _runner(path, limits) as child:

        async def ours() -> NDArray[np.float32]:
            # As a host has them: tensors as bytes in, bytes out.
            given = decode_tensors(encoded, max_bytes=_MAX_BYTES)
            answer = encode_tensors(await child.run(given))
            return decode_tensors(answer, max_bytes=_MAX_BYTES)["logits"].array()

        async def bare(session: Any) -> NDArray[np.float32]:
            return cast("NDArray[np.float32]", session.run(["logits"], {"image": images})[0])

        expected = await bare(spinning)
        difference = float(np.abs(await ours() - expected).max() / np.abs(expected).max())
        if difference > _TOLERANCE:
            raise ValueError(f"runner and bare onnxruntime differ by {difference:.1e} of the largest logit")
        samples = await interleave(
            {
                "ours": lambda: _rate(ours, batch),
                _SPINNING: lambda: _rate(lambda: bare(spinning), batch),
                _RESTING: lambda: _rate(lambda: bare(resting), batch),
            },
            rounds=stage.rounds(_ROUNDS),
            tell=stage.tell,
            # The bare library's threads go on spinning for a moment, on cores that ours would need.
            pause_s=0.05,
        )
    return Findings(
        measures=_throughput(samples, aim),
        conditions={
            "model": "ResNet-50, ImageNet stem, float32, generated weights (speed only)",
            "input": f"{batch} x 3 x {side} x {side}",
            "threads": f"{limits.threads} each",
            "through": "bytes decoded, the runner process, tensors encoded; no lease, seal or receipt",
            "peer": "one session in this process, its own defaults but the threads, and once more without spinning",
            "round_s": _ROUND_S,
            "largest_difference": difference,
        },
    )


def _throughput(samples: Mapping[str, tuple[float, ...]], aim: float) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            name="throughput",
            unit="images/s",
            statistic=Statistic.MEDIAN,
            better=Better.HIGHER,
            samples=samples["ours"],
            peer=peer,
            peer_samples=samples[peer],
            aim=Aim(of=Quantity.RATIO, bound=aim),
        )
        for peer in (_SPINNING, _RESTING)
    )


async def _rate(call: Callable[[], Awaitable[Any]], batch: int) -> float:
    # Whole calls for about a round's time, back to back.
    begin, count, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < _ROUND_S:
        await call()
        count += batch
        elapsed = time.perf_counter() - begin
    return count / elapsed


@asynccontextmanager
async def _runner(path: Path, limits: RunnerLimits) -> AsyncGenerator[ModelChild]:
    bundle, model = await asyncio.to_thread(lambda: (read_bundle(path), bytearray(path.read_bytes())))
    child = await ChildRuntime(limits).load({path.name: model}, bundle.manifest)
    try:
        yield child
    finally:
        await child.close()


def _bare_session(path: Path, threads: int, *, spin: str) -> Any:
    # The library reports its use to its maker unless it is told not to before it is loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    library = cast(Any, onnxruntime)
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    return library.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


SCENARIOS: Final = (
    Scenario(
        name="inference_32x32_b8",
        summary="ResNet-50 at 32x32 in batches of 8, through the host's runner",
        minutes=0.9,
        run=lambda stage: _measure(stage, side=32, batch=8, aim=0.80),
    ),
    Scenario(
        name="inference_224x224_b1",
        summary="ResNet-50 at 224x224, one image at a time, through the host's runner",
        minutes=0.9,
        run=lambda stage: _measure(stage, side=224, batch=1, aim=0.95),
    ),
)
"""Ratios to onnxruntime by itself."""
