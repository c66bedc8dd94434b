"""Alive is not ready: what each process says that it misses, and what the supervisor makes of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from caimi.apps.devnet.supervisor_api import ChildReadiness, supervisor_app, write_targets
from caimi.apps.http_server import bearer_check
from caimi.apps.json_observer import JsonObserver
from caimi.apps.reachability import Reachability
from caimi.apps.readiness import LANE_BOUND_S, stale_lanes
from caimi.apps.relay_api import relay_app
from caimi.apps.validator_api import validator_app
from caimi.devnet.process import ProcessSpec
from caimi.devnet.supervisor import ChildState, Supervisor
from caimi.ports.metrics import READY
from caimi.validator.attestor import Attestor
from caimi.validator.keygen import GenerationStatus
from caimi.validator.keys import KeyStatus
from caimi.validator.rate_limit import RateLimiter
from tests.unit.apps.exposition import read_exposition
from tests.unit.relay.world import StepClock, World, run


class Keys:
    """The key-holding part of a validator, as far as its status."""

    def __init__(self, group_key: bytes | None) -> None:
        self.group_key = group_key

    def status(self) -> KeyStatus:
        generation = GenerationStatus(attempt=0, phase="reveal", waits_for=(2, 4), fault=None)
        return KeyStatus(generation=generation, group_key=self.group_key, releases=0)


async def _ask(app: Any, path: str = "/readyz") -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://process") as client:
        assert (await client.get("/healthz")).text == "ok\n", "the process lives, whatever it misses"
        return await client.get(path)


def _validator(world: World, keys: Keys) -> Any:
    attestor, given = world.peers[0], keys
    assert isinstance(attestor, Attestor)
    limiter = RateLimiter(world.clock, per_second=1, burst=1)
    return validator_app(attestor, given, limiter, JsonObserver("v", io.StringIO()), releases=limiter)  # pyright: ignore[reportArgumentType]


def _relay(world: World) -> Any:
    observer = JsonObserver("relay", io.StringIO())
    return relay_app(world.relays[0], world.stores[0], observer, may_change=bearer_check("t" * 16))


# --- validator and relay


def test_a_validator_is_ready_when_it_follows_its_lanes_and_has_the_group_key() -> None:
    async def scenario() -> None:
        with World() as world:
            app = _validator(world, Keys(b"\2" * 33))
            answer = await _ask(app)
            assert (answer.status_code, answer.json()["ready"]) == (503, False)
            assert answer.json()["missing"] == ["lane fabric: STARTING", "lane ethereum: STARTING"]
            await world.step()
            answer = await _ask(app)
            assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": []})
            assert read_exposition((await _ask(app, "/metrics")).text)[READY.full_name].value() == 1

    run(scenario())


def test_a_validator_without_the_group_key_says_whom_it_waits_for() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.step()
            answer = await _ask(_validator(world, Keys(None)))
            assert answer.status_code == 503
            assert answer.json()["missing"] == ["no group key: phase reveal, waits for validators 2, 4"]

    run(scenario())


def test_a_validator_that_cannot_read_a_lane_names_it_and_the_cause() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.step()
            world.nodes["ethereum"].is_up = False
            await world.step()
            answer = await _ask(_validator(world, Keys(b"\2" * 33)))
            (missing,) = answer.json()["missing"]
            assert missing.startswith("lane ethereum: UNREACHABLE: ") and "the simulated node is down" in missing
            metrics = read_exposition((await _ask(_validator(world, Keys(b"\2" * 33)), "/metrics")).text)
            assert metrics[READY.full_name].value() == 0

    run(scenario())


def test_a_validator_whose_reading_hangs_is_not_ready() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.step()
            world.clock.advance(LANE_BOUND_S + 1)
            answer = await _ask(_validator(world, Keys(b"\2" * 33)))
            assert answer.json()["missing"] == ["lane fabric: FOLLOWING", "lane ethereum: FOLLOWING"]

    run(scenario())


def test_a_relay_is_ready_while_it_reads_its_lanes_within_the_bound() -> None:
    async def scenario() -> None:
        with World() as world:
            app = _relay(world)
            await world.step()
            assert (await _ask(app)).status_code == 200
            world.nodes["ethereum"].is_up = False
            await world.step()
            assert (await _ask(app)).status_code == 200, "a hiccup is within the bound"
            for _ in range(int(LANE_BOUND_S) + 1):
                await world.step()
            answer = await _ask(app)
            assert answer.status_code == 503
            (missing,) = answer.json()["missing"]
            assert missing.startswith("lane ethereum: not read for 1") and "the simulated node is down" in missing
            world.nodes["ethereum"].is_up = True
            await world.step()
            assert (await _ask(app)).status_code == 200

    run(scenario())


@pytest.mark.parametrize(("seconds", "count"), [(LANE_BOUND_S, 0), (LANE_BOUND_S + 0.1, 1)])
def test_the_bound_of_a_lane(seconds: float, count: int) -> None:
    assert len(stale_lanes({"a": seconds}, {})) == count


# --- others that a process needs


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (200, ()),
        (503, ("the relay at http://relay answers 503",)),
    ],
)
def test_another_process_is_asked_for_its_health(status: int, missing: tuple[str, ...]) -> None:
    async def scenario() -> None:
        transport = httpx2.MockTransport(lambda request: httpx2.Response(status))
        async with httpx2.AsyncClient(transport=transport) as client:
            assert await Reachability("the relay", "http://relay/", client, clock=StepClock()).missing() == missing

    asyncio.run(scenario())


def test_a_process_that_is_away_is_asked_again_only_after_a_while() -> None:
    asked: list[str] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        raise httpx2.ConnectError("refused")

    async def scenario() -> None:
        clock = StepClock()
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(refuse)) as client:
            relay = Reachability("the relay", "http://relay", client, clock=clock)
            for _ in range(3):
                assert await relay.missing() == ("the relay at http://relay does not answer: ConnectError",)
            clock.advance(2)
            await relay.missing()
        assert asked == ["/healthz", "/healthz"]

    asyncio.run(scenario())


# --- supervisor


def _child(name: str, *, pid: int | None = 7, ready: bool = True, restarts: int = 0) -> ChildState:
    url = f"http://{name}.test:1234/readyz" if ready else None
    spec = ProcessSpec(name=name, argv=("/bin/true",), cwd=Path("/"), log_path=Path("/dev/null"), ready_url=url)
    return ChildState(spec=spec, pid=pid, restarts=restarts, exit_code=None if pid else -9)


async def _supervised(
    children: list[ChildState], answer: Callable[[httpx2.Request], httpx2.Response], path: str
) -> httpx2.Response:
    observer = JsonObserver("supervisor", io.StringIO())
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        by_name = {child.spec.name: child for child in children}
        readiness = ChildReadiness(by_name, client, clock=StepClock(), observer=observer)
        return await _ask(supervisor_app(readiness, observer), path)


def test_the_supervisor_names_the_process_and_what_it_misses() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "relay.test":
            return httpx2.Response(503, json={"ready": False, "missing": ["lane ethereum: not read for 20 s"]})
        if request.url.host == "host.test":
            return httpx2.Response(200, content=b"nonsense")
        return httpx2.Response(200, json={"ready": True, "missing": []})

    children = [
        _child("relay"),
        _child("host"),
        _child("content"),
        _child("validator-1", pid=None, restarts=3),
        _child("ethereum", ready=False),
    ]
    answered = asyncio.run(_supervised(children, answer, "/readyz"))
    assert answered.status_code == 503
    assert answered.json()["missing"] == [
        "validator-1 is down (exit code -9)",
        "relay: lane ethereum: not read for 20 s",
        "host: says nonsense about its readiness",
    ]


def test_the_supervisor_counts_restarts_by_child() -> None:
    def silent(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("late")

    children = [_child("relay", restarts=3), _child("ethereum", pid=None, ready=False)]
    families = read_exposition(asyncio.run(_supervised(children, silent, "/metrics")).text)
    assert families["caimi_supervisor_child_restarts"].value(child="relay") == 3
    assert families["caimi_supervisor_child_up"].value(child="relay") == 1
    assert families["caimi_supervisor_child_up"].value(child="ethereum") == 0
    assert families["caimi_supervisor_child_ready"].samples.keys() == {
        ("caimi_supervisor_child_ready", frozenset({("child", "relay")}))
    }
    assert families["caimi_supervisor_child_ready"].value(child="relay") == 0


def test_prometheus_finds_every_process_with_metrics(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    supervisor._children |= {"relay": _child("relay"), "ethereum": _child("ethereum", ready=False)}
    supervisor._url = "http://127.0.0.1:9"
    write_targets(tmp_path, supervisor)
    assert (tmp_path / "prometheus-targets.json").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "prometheus-targets.json").read_text()
    assert '"relay.test:1234"' in text and '"127.0.0.1:9"' in text and "ethereum" not in text
