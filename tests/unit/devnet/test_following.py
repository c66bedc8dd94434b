"""Following a bring-up of another process by the file that it writes, and the state of a network that is not up yet."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.devnet import status
from caimi.apps.devnet.background import follow_background, stop_background
from caimi.apps.devnet.errors import BringUpBlocked, BringUpFailed, BringUpRefused, NotRunning, StillStarting
from caimi.apps.devnet.progress import Progress, Step, unfinished_step
from caimi.apps.devnet.status import read_status
from caimi.sdk.errors import ServiceUnavailable
from caimi.sdk.network import network_to_json, write_json
from caimi.types.failure import Retry
from tests.unit.sdk.network_fixture import a_network


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder whose lock somebody holds."""
    lock = os.open(tmp_path / "supervisor.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield tmp_path
    os.close(lock)


def _follow(home: Path, *, timeout_s: float = 0.0) -> list[str]:
    steps: list[Step] = []
    asyncio.run(follow_background(home, tell=steps.append, timeout_s=timeout_s))
    return [step.name for step in steps]


def _progress(home: Path, *lines: dict[str, Any]) -> Progress:
    progress = Progress(file=home / "up.jsonl")
    progress.begin()
    for line in lines:
        progress.append(line)
    return progress


def test_a_bring_up_is_followed_until_it_is_over(home: Path) -> None:
    progress = _progress(home)
    progress.done("plan", "x")
    progress.note("not shown")
    progress.done("keys")
    progress.ready()
    assert _follow(home) == ["plan", "keys"]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [("never", BringUpRefused), ("after", BringUpBlocked), ("safe", BringUpFailed), ("odd", BringUpFailed)],
)
def test_what_ended_it_decides_whether_to_repeat(home: Path, retry: str, expected: type[BringUpFailed]) -> None:
    _progress(home, {"error": "Some: thing; do this", "retry": retry})
    with pytest.raises(BringUpFailed, match="Some: thing; do this") as caught:
        _follow(home)
    assert type(caught.value) is expected
    if retry != "odd":
        assert caught.value.retry is Retry(retry)


def test_rejects_a_bring_up_that_takes_too_long(home: Path) -> None:
    _progress(home).done("plan")
    with pytest.raises(BringUpFailed, match="done so far: plan; it goes on in the background"):
        _follow(home)


def test_rejects_a_supervisor_that_ended_without_a_word(tmp_path: Path) -> None:
    _progress(tmp_path).done("plan")
    with pytest.raises(BringUpFailed, match="the supervisor ended"):
        _follow(tmp_path, timeout_s=60.0)


def test_half_a_line_is_not_read(home: Path) -> None:
    progress = _progress(home)
    progress.done("plan")
    with (home / "up.jsonl").open("a") as file:
        file.write('{"step": "ke')
    assert unfinished_step(home / "up.jsonl") == "plan"


def test_the_step_that_a_bring_up_has_reached(home: Path) -> None:
    assert unfinished_step(home / "up.jsonl") is None
    progress = _progress(home)
    assert unfinished_step(home / "up.jsonl") == "nothing yet"
    progress.done("ledgers")
    assert unfinished_step(home / "up.jsonl") == "ledgers"
    progress.ready()
    assert unfinished_step(home / "up.jsonl") is None


def test_rejects_to_stop_what_has_not_said_who_it_is(home: Path) -> None:
    for content in (None, "", "{}", '{"pid": null}'):
        if content is not None:
            (home / "supervisor.json").write_text(content)
        with pytest.raises(BringUpFailed, match="just starting or stopping"):
            asyncio.run(stop_background(home))


def test_rejects_to_stop_what_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        asyncio.run(stop_background(tmp_path))


def test_a_network_that_is_being_made_has_no_status(home: Path) -> None:
    _progress(home).done("ledgers")
    with pytest.raises(StillStarting, match="done so far: ledgers"):
        asyncio.run(read_status(home))


def test_nobody_answers_and_that_is_said_of_each(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(home / "network.json", network_to_json(a_network(home)))
    _progress(home).done("services")
    log = str(home / "logs" / "relay.log")
    relay: dict[str, Any] = {"pid": None, "restarts": 3, "exit_code": -9, "log": log}
    (home / "supervisor.json").write_text(json.dumps({"pid": 1, "processes": {"relay": relay}}))

    async def silent(question: Awaitable[list[str]]) -> list[str]:
        question.close()  # type: ignore[attr-defined]
        raise ServiceUnavailable("http://127.0.0.1:1: ConnectError")

    real = status._asked  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(status, "_asked", lambda who, question: real(who, silent(question)))  # type: ignore[misc]
    found = asyncio.run(read_status(home))
    assert not found.is_healthy
    assert found.problems[:2] == (
        "it is still starting; done so far: services",
        f"relay is down (exit code -9), see {log}",
    )
    told = [problem.split(": ")[0] for problem in found.problems[2:]]
    assert told == ["relay", *(f"validator {i}" for i in range(1, 5)), "host", "content store"]
    assert found.to_json()["healthy"] is False
    assert found.processes[0].restarts == 3


def test_a_process_that_hangs_does_not_hang_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging() -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(status, "_ANSWER_S", 0.01)
    asked = status._asked  # pyright: ignore[reportPrivateUsage]
    assert asyncio.run(asked("relay", hanging())) == ["relay: no answer within 0 s"]
