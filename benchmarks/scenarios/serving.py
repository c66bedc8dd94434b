"""Direct calls to the host: cold start by stage, an open loop of 480 calls a second, a closed one without pauses."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.devnet import BenchDevnet, bench_devnet
from benchmarks.direct import Call, DirectCaller
from benchmarks.load import Answered, HttpPool, closed_loop, open_loop, poisson_times
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.scenarios.encryption import aes_gcm_seconds, sha256_seconds
from benchmarks.scenarios.inference import SEED, resnet_file
from caimi.bundle.signature import DType
from caimi.bundle.tensors import Tensor, encode_tensors
from caimi.sdk.client import Client
from caimi.types.primitives import PublicationId
from caimi.wire.direct_body import DirectReply

__all__ = ["SCENARIOS", "Served", "image", "served_model", "serving_conditions"]

_SIDE: Final = 32
_COLD: Final = 3
_RATE: Final = 480.0
_OPEN_S: Final = 20.0
_SETTLED_S: Final = 300.0
_IN_FLIGHT: Final = (16, 64, 256, 1_000)
_CLOSED_S: Final = 8.0
_MOST_RATE: Final = 1_500
_STAGES: Final = ("lease", "key", "open", "start")
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model that the host has loaded, and who asks it."""

    devnet: BenchDevnet
    caller: DirectCaller
    payload: bytes

    async def calls(self, count: int) -> list[Call]:
        """So many calls, made ahead."""
        return await asyncio.to_thread(lambda: [self.caller.call(self.payload) for _ in range(count)])

    def check(self, calls: Sequence[Call], answers: Sequence[Answered]) -> None:
        """Open one answer in a hundred and verify its receipt.

        Raises:
            CaimiError, ValueError: One does not hold.
        """
        # In a closed loop answers come in another order than calls.
        good = {answer.body for answer in answers[::100] if answer.status == _OK}
        by_id = {call.request: call for call in calls}
        for body in good:
            self.caller.open(by_id[DirectReply.from_bytes(body).receipt.request], body)

    async def logits(self) -> NDArray[np.float32]:
        """Of one answer."""
        pool, (call,) = HttpPool(self.caller.host, self.caller.port), await self.calls(1)
        try:
            status, body = await pool.send(call.wire)
        finally:
            await pool.close()
        if status != _OK:
            raise ValueError(f"the host answers {status}: {body[:300].decode('utf-8', 'replace')}")
        return self.caller.open(call, body)["logits"].array()[0]


async def _publish(stage: Stage) -> tuple[BenchDevnet, PublicationId]:
    devnet, path = await bench_devnet(stage), await resnet_file(stage)
    token = await asyncio.to_thread((devnet.network.home / "token").read_text)
    stage.tell("publishing ResNet-50")
    async with Client(devnet.network, token=token.strip()) as client:
        published = await client.publish(
            path,
            account=devnet.publisher,
            name=f"resnet50-{os.urandom(4).hex()}",
            version=1,
            home="ethereum",
            mirrors=("fabric",),
        )
        await client.wait_settled(published.id, timeout_s=_SETTLED_S)
    return devnet, published.id


def image() -> NDArray[np.float32]:
    """The input of all calls, 1 x 3 x 32 x 32."""
    return np.random.default_rng(SEED).standard_normal((1, 3, _SIDE, _SIDE), dtype=np.float32)


def _payload() -> bytes:
    pixels = image()
    return encode_tensors({"image": Tensor(dtype=DType.FLOAT32, shape=pixels.shape, data=pixels.tobytes())})


async def _first_answer(caller: DirectCaller, payload: bytes) -> float:
    # The host says 503 while it looks for the publication: what counts is when the answer is there.
    pool, begin = HttpPool(caller.host, caller.port), time.perf_counter()
    try:
        while True:
            call = caller.call(payload)
            status, body = await pool.send(call.wire)
            if status == _OK:
                caller.open(call, body)
                return time.perf_counter() - begin
            if time.perf_counter() - begin > _SETTLED_S:
                raise TimeoutError(f"the host answers {status}: {body[:300].decode('utf-8', 'replace')}")
            await asyncio.sleep(0.1)
    finally:
        await pool.close()


async def served_model(stage: Stage) -> Served:
    """ResNet-50 on the devnet of this run, published once and loaded."""

    async def make() -> Served:
        devnet, publication = await _publish(stage)
        caller = await DirectCaller.begin(devnet, publication)
        await _first_answer(caller, _payload())
        return Served(devnet=devnet, caller=caller, payload=_payload())

    return cast(Served, await stage.once("served", make))


# --- cold start


async def _stage_sums(devnet: BenchDevnet) -> dict[str, float]:
    text = await devnet.connections.service(devnet.network.host_url or "").get_text("/metrics")
    found = dict(re.findall(r'host_load_seconds_sum\{[^}]*stage="(\w+)"[^}]*\} ([0-9.e+-]+)', text))
    return {name: float(found.get(name, 0)) for name in _STAGES}


async def _cold_start(stage: Stage) -> Findings:
    totals: list[float] = []
    stages: dict[str, list[float]] = {name: [] for name in _STAGES}
    rest: list[float] = []
    limits: list[float] = []
    path, payload, devnet = await resnet_file(stage), _payload(), await bench_devnet(stage)
    data = await asyncio.to_thread(path.read_bytes)
    rounds = max(1, round(_COLD * stage.effort))
    for number in range(rounds):
        _, publication = await _publish(stage)
        limits.append(await asyncio.to_thread(lambda: sha256_seconds(data) + aes_gcm_seconds(data)))
        before = await _stage_sums(devnet)
        total = await _first_answer(await DirectCaller.begin(devnet, publication), payload)
        after = await _stage_sums(devnet)
        for name in _STAGES:
            stages[name].append(after[name] - before[name])
        totals.append(total)
        rest.append(total - sum(after[name] - before[name] for name in _STAGES))
        stage.tell(f"cold start {number + 1} of {rounds}: {total:.2f} s")
    peer = "one SHA-256 and one AES-256-GCM"
    return Findings(
        measures=(
            _seconds("first answer", totals, Aim(of=Quantity.VALUE, bound=0.6)),
            *(_seconds(f"of it, {name}", stages[name]) for name in ("lease", "key")),
            Measure(
                name="of it, open",
                unit="s",
                statistic=Statistic.MEDIAN,
                better=Better.LOWER,
                samples=tuple(stages["open"]),
                peer=peer,
                peer_samples=tuple(limits),
                aim=Aim(of=Quantity.RATIO, bound=2.0),
            ),
            _seconds("of it, start", stages["start"]),
            _seconds("of it, the rest", rest),
        ),
        conditions={
            **devnet.conditions(),
            "model": f"ResNet-50, {len(data) / 1e6:.0f} MB, generated weights, never seen by the host",
            "lease": "the lease on the board of Fabric",
            "key": "partials of the validators through the board, opened and combined",
            "open": "blocks fetched and verified, decrypted, the commitment checked",
            "start": "the runner process: inspection and session",
            "rest": "publication and capsule fetched, the call's own cryptography, the first run",
        },
    )


def _seconds(name: str, samples: Sequence[float], aim: Aim | None = None) -> Measure:
    return Measure(
        name=name, unit="s", statistic=Statistic.MEDIAN, better=Better.LOWER, samples=tuple(samples), aim=aim
    )


# --- load


def _share(answers: Sequence[Answered], status: int) -> float:
    return sum(answer.status == status for answer in answers) / len(answers)


async def _open_480(stage: Stage) -> Findings:
    served = await served_model(stage)
    seconds = max(5.0, _OPEN_S * stage.effort)
    times = poisson_times(_RATE, seconds, rng=random.Random(SEED))
    pool = HttpPool(served.caller.host, served.caller.port)
    warm = await served.calls(200)
    await closed_loop([call.wire for call in warm], 32, pool.send, seconds=_CLOSED_S)
    calls = await served.calls(len(times))
    stage.tell(f"{len(times)} calls in {seconds:.0f} s")
    answers = await open_loop([call.wire for call in calls], times, pool.send)
    await pool.close()
    served.check(calls, answers)
    done = [answer.seconds for answer in answers if answer.status == _OK]
    if not done:
        raise ValueError(f"no call of {len(answers)} was answered; the first got {answers[0].status}")
    return Findings(
        measures=(
            Measure(
                name="total latency",
                unit="s",
                statistic=Statistic.P99,
                better=Better.LOWER,
                samples=tuple(done),
                aim=Aim(of=Quantity.VALUE, bound=1.2),
            ),
            _seconds("total latency", done),
            Measure(
                name="calls answered",
                unit="of 1",
                statistic=Statistic.MEAN,
                better=Better.HIGHER,
                samples=(_share(answers, _OK),),
                aim=Aim(of=Quantity.VALUE, bound=1.0),
            ),
        ),
        conditions={
            **serving_conditions(served),
            "load": f"Poisson, {_RATE:.0f} calls/s for {seconds:.0f} s, from this machine too",
            "latency": "from the moment when the call was due until its last byte, of the calls that were answered",
            "refused with 429": _share(answers, 429),
        },
    )


async def _closed_600(stage: Stage) -> Findings:
    served = await served_model(stage)
    length = max(3.0, _CLOSED_S * stage.effort)
    rates: dict[int, float] = {}
    latencies: dict[int, list[float]] = {}
    for in_flight in _IN_FLIGHT:
        pool = HttpPool(served.caller.host, served.caller.port)
        warm = await served.calls(64)
        await closed_loop([call.wire for call in warm], 16, pool.send, seconds=length)
        calls = await served.calls(max(2 * in_flight, round(length * _MOST_RATE)))
        seconds, answers = await closed_loop([call.wire for call in calls], in_flight, pool.send, seconds=length)
        await pool.close()
        served.check(calls, answers)
        done = [answer.seconds for answer in answers if answer.status == _OK]
        rates[in_flight], latencies[in_flight] = len(done) / seconds, done
        stage.tell(f"{in_flight} in flight: {rates[in_flight]:.0f} calls/s, {len(done)} of {len(answers)} answered")
    best, most = max(rates, key=rates.__getitem__), _IN_FLIGHT[-1]
    return Findings(
        measures=(
            _throughput("throughput", rates[best], Aim(of=Quantity.VALUE, bound=600.0)),
            Measure(
                name=f"throughput at {most} in flight",
                unit="calls/s",
                statistic=Statistic.MEAN,
                better=Better.HIGHER,
                samples=(rates[most],),
                peer=f"our peak, at {best}",
                peer_samples=(rates[best],),
                aim=Aim(of=Quantity.RATIO, bound=0.95),
            ),
            *(_throughput(f"throughput at {n} in flight", rates[n]) for n in _IN_FLIGHT[:-1]),
            *(_seconds(f"latency at {n} in flight", latencies[n]) for n in _IN_FLIGHT if latencies[n]),
        ),
        conditions={
            **serving_conditions(served),
            "load": f"{length:.0f} s each with {', '.join(map(str, _IN_FLIGHT))} in flight, from this machine too",
            "counted": "calls that were answered; one in a hundred was opened and its receipt verified",
        },
    )


def _throughput(name: str, rate: float, aim: Aim | None = None) -> Measure:
    return Measure(name=name, unit="calls/s", statistic=Statistic.MEAN, better=Better.HIGHER, samples=(rate,), aim=aim)


def serving_conditions(served: Served) -> dict[str, Any]:
    """What is served, and how."""
    return {
        "model": "ResNet-50, ImageNet stem, float32, generated weights",
        "input": f"1 x 3 x {_SIDE} x {_SIDE}, {len(served.payload)} bytes, sealed",
        "host": "UNATTESTED, one process and one runner with 2 threads; batches of up to 32 rows, 2 ms wait",
        "lease": "10,000 calls each; a new one, with a new release of the key, in between",
        "each call": "signature, sealed input and output, signed receipt, under a lease",
        "consumers": 1,
    }


SCENARIOS: Final = (
    Scenario(
        name="cold_start",
        summary="a model that the host has never seen: seconds until its first answer, by stage",
        minutes=1.0,
        run=_cold_start,
    ),
    Scenario(
        name="serve_open_480",
        summary="direct calls at the times of a Poisson process, 480 a second",
        minutes=0.8,
        run=_open_480,
    ),
    Scenario(
        name="serve_closed_600",
        summary="direct calls as fast as they are answered, with 16 to 1,000 in flight",
        minutes=1.0,
        run=_closed_600,
    ),
)
"""Serving."""
