"""How a command ends whatever happens to it: exit code, what it prints, and one object with `--json`."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import typer

from caimi.cli.app import app
from caimi.cli.devnet_commands import _confirmed  # pyright: ignore[reportPrivateUsage]
from caimi.cli.output import DEFECT, INTERRUPTED, Terminal, run_command
from caimi.sdk.errors import SdkError, UnknownName
from caimi.types.errors import LowBalance
from caimi.types.failure import Retry


class _Safe(SdkError):
    """Something does not answer."""

    retry = Retry.SAFE
    hint = "do this"


def _raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    async def act() -> None:
        raise error

    return act


def _end(error: BaseException, *, as_json: bool = False) -> int:
    with pytest.raises(typer.Exit) as caught:
        run_command(Terminal(as_json=as_json, resume="say it again"), _raising(error))
    return caught.value.exit_code


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (UnknownName("no"), 2, "UnknownName"),
        (LowBalance(9, 5), 3, "LowBalance"),
        (_Safe("away"), 4, "_Safe"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x/y"), 3, "FileProblem"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 3, "FileProblem"),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), 3, "FileProblem"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "FileProblem"),
        (KeyboardInterrupt(), INTERRUPTED, "Interrupted"),
        (asyncio.CancelledError(), INTERRUPTED, "Interrupted"),
        (KeyError("x"), DEFECT, "KeyError"),
        (OSError("no file and no room"), DEFECT, "OSError"),
    ],
)
def test_every_end_has_its_exit_code_and_is_one_object(
    error: BaseException, code: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _end(error, as_json=True) == code
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert (value["ok"], value["exit_code"], value["problem"]["error"]) == (False, code, name)
    assert set(value["problem"]) == {"error", "text", "blame", "certainty", "retry", "hint"}
    assert value["problem"]["hint"]
    assert err
    # Without it nothing goes to standard output.
    assert _end(error) == code
    assert capsys.readouterr().out == ""


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    _end(KeyboardInterrupt())
    assert capsys.readouterr().err == "caimi: interrupted\ncaimi: hint: say it again\n"


@pytest.mark.parametrize(
    ("command", "hint"),
    [("publish", "nothing is published twice"), ("infer", "its request goes on"), ("up", "goes on in the background")],
)
def test_the_long_commands_say_how_to_go_on(
    command: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        "publish": ["publish", "m.onnx", "--name", "a", "--home", "fabric", "--mirror", "ethereum"],
        "infer": ["infer", "a", "--input", "x.npz"],
        "up": ["up"],
    }[command]

    def interrupted(act: Coroutine[Any, Any, None]) -> None:
        act.close()
        raise KeyboardInterrupt

    monkeypatch.setenv("CAIMI_HOME", str(tmp_path))
    monkeypatch.setattr(asyncio, "run", interrupted)
    with pytest.raises(SystemExit) as caught:
        app(words)
    assert caught.value.code == INTERRUPTED
    assert hint in capsys.readouterr().err


def test_sigterm_ends_like_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned: list[bool] = []

    async def act() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(typer.Exit) as caught:
        run_command(Terminal(as_json=True), act)
    assert (caught.value.exit_code, cleaned) == (INTERRUPTED, [True])
    assert json.loads(capsys.readouterr().out)["problem"]["retry"] == "safe"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_is_lost_on_the_way_comes_again(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("caimi.cli.output._CANCELLED_AGAIN_S", 0.01)
    lost: list[int] = []

    async def act() -> None:
        os.kill(os.getpid(), number)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append(1)

    with pytest.raises(typer.Exit) as caught:
        run_command(Terminal(as_json=False, resume="say it again"), act)
    assert (caught.value.exit_code, len(lost)) == (INTERRUPTED, 2)
    assert capsys.readouterr().err == "caimi: interrupted\ncaimi: hint: say it again\n"


def test_a_reader_that_has_seen_enough_is_no_defect() -> None:
    program = (
        "import sys\nfrom caimi.cli.output import Terminal, run_command\nimport typer\n"
        "async def act():\n    for number in range(100_000):\n        typer.echo('a line of output')\n"
        "try:\n    run_command(Terminal(as_json=False), act)\nexcept typer.Exit as end:\n    sys.exit(end.exit_code)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"a line of output\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_the_same_line_of_progress_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=False)
    for text in ("waits for a", "waits for a", "waits for b", "waits for a"):
        terminal.say(text)
    assert [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()] == [
        "waits for a",
        "waits for b",
        "waits for a",
    ]


@pytest.mark.parametrize(("answer", "expected"), [("y", True), ("YES", True), ("", False), ("n", False), ("yo", False)])
def test_only_a_yes_is_one(
    answer: str, *, expected: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class _Input:
        def readline(self) -> str:
            return answer + "\n"

    monkeypatch.setattr("sys.stdin", _Input())
    assert _confirmed("Remove all?") is expected
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Remove all? [y/N] ")


def test_completion_offers_commands_and_lanes_stay_words() -> None:
    environment = {
        **os.environ,
        "_CAIMI_COMPLETE": "complete_bash",
        "COMP_WORDS": "caimi pub",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "caimi pub",
    }
    program = "import sys; sys.argv = ['caimi']; from caimi.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["publish", "publish-batch"]
