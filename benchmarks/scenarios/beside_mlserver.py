"""Direct calls and MLServer with the same model, the same library and as many calls in flight, in turn."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import numpy as np

from benchmarks.interleave import Arm, interleave
from benchmarks.load import HttpPool, closed_loop
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.peers.mlserver.running import MlServer, running_mlserver
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.scenarios.inference import resnet_file
from benchmarks.scenarios.serving import Served, image, served_model, serving_conditions

__all__ = ["SCENARIOS"]

_IN_FLIGHT: Final = 64
_ROUND_S: Final = 5.0
_ROUNDS: Final = 4
_MOST_RATE: Final = 1_500
_TOLERANCE: Final = 1e-4
_WORKERS: Final = {"MLServer": 1, "MLServer, in one process": 0}


async def _ours(served: Served) -> float:
    # Sealing and signing of a consumer are not the host's work; MLServer's client makes its one request ahead too.
    calls = await served.calls(round(_ROUND_S * _MOST_RATE))
    pool = HttpPool(served.caller.host, served.caller.port)
    seconds, answers = await closed_loop([call.wire for call in calls], _IN_FLIGHT, pool.send, seconds=_ROUND_S)
    await pool.close()
    served.check(calls, answers)
    return sum(answer.status == 200 for answer in answers) / seconds


async def _theirs(server: MlServer) -> float:
    return (await server.load(_IN_FLIGHT, _ROUND_S))[0]


async def _beside(stage: Stage) -> Findings:
    served, path = await served_model(stage), await resnet_file(stage)
    pixels = image()
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(
                running_mlserver(
                    stage.repository, stage.folder / f"mlserver-{count}", path, pixels.tobytes(), workers=count
                )
            )
            for name, count in _WORKERS.items()
        }
        difference = await _largest_difference(served, servers["MLServer"])
        samples = await interleave(
            {"ours": lambda: _ours(served), **{name: _arm(server) for name, server in servers.items()}},
            rounds=stage.rounds(_ROUNDS),
            tell=stage.tell,
        )
    return Findings(
        measures=tuple(
            Measure(
                name="throughput",
                unit="calls/s",
                statistic=Statistic.MEDIAN,
                better=Better.HIGHER,
                samples=samples["ours"],
                peer=name,
                peer_samples=samples[name],
                aim=Aim(of=Quantity.RATIO, bound=1.5),
            )
            for name in _WORKERS
        ),
        conditions={
            **serving_conditions(served),
            "load": f"{_IN_FLIGHT} in flight, rounds of {_ROUND_S:.0f} s in turn, from this machine too",
            "peer": "MLServer 1.7.1, onnxruntime with 2 threads, adaptive batching as ours: 32 rows, 2 ms; raw tensors "
            "by gRPC without encryption, a Python client in a process of its own, no signature, lease or receipt",
            "largest_difference": difference,
        },
    )


def _arm(server: MlServer) -> Arm:
    return lambda: _theirs(server)


async def _largest_difference(served: Served, server: MlServer) -> float:
    # Both have to compute the same, or nothing is compared.
    _, found = await server.load(1, 0.1)
    ours = await served.logits()
    difference = float(np.abs(ours - np.asarray(found, dtype=np.float32)).max() / np.abs(ours).max())
    if difference > _TOLERANCE:
        raise ValueError(f"the host and MLServer differ by {difference:.1e} of the largest logit")
    return difference


SCENARIOS: Final = (
    Scenario(
        name="serve_beside_mlserver",
        summary="direct calls beside MLServer with the same model and library, 64 in flight",
        minutes=2.0,
        run=_beside,
    ),
)
