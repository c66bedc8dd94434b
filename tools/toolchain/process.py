"""Running other programs: quietly with a progress line while they work, or in the open with their own output."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ToolchainError

__all__ = ["call", "call_watching", "capture", "run_logged", "say"]

_PROGRESS_EVERY_S = 15.0
_TAIL_LINES = 30


def say(text: str) -> None:
    """Print one progress line on standard error; standard output belongs to the target."""
    sys.stderr.write(f"caimi: {text}\n")
    sys.stderr.flush()


def call(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]) -> int:
    """Run a program with our own input and output. Returns its exit code; 127 if it cannot be started."""
    try:
        return subprocess.run([str(word) for word in command], cwd=cwd, env=dict(environment), check=False).returncode
    except OSError as error:
        say(f"cannot start {command[0]}: {error.strerror}")
        return 127


def call_watching(
    command: Sequence[str | Path], *, marker: str, cwd: Path, environment: Mapping[str, str]
) -> tuple[int, bool]:
    """Run a program, pass its output on, and also tell whether a line of it began with `marker` (after spaces)."""
    seen = False
    try:
        child = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        say(f"cannot start {command[0]}: {error.strerror}")
        return 127, False
    with child:
        for line in child.stdout or ():
            seen = seen or line.lstrip().startswith(marker)
            sys.stdout.write(line)
        sys.stdout.flush()
    return child.returncode, seen


def capture(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]) -> str:
    """The standard output of a short program.

    Raises:
        ToolchainError: It could not be started or did not end with 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, env=dict(environment), check=True, capture_output=True, text=True)
    except OSError as error:
        raise ToolchainError(f"cannot start {words[0]}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise ToolchainError(f"`{' '.join(words)}` failed:\n{error.stderr.strip()}") from error
    return done.stdout


def run_logged(
    command: Sequence[str | Path], *, label: str, log: Path, cwd: Path, environment: Mapping[str, str]
) -> None:
    """Run a long program with its output in `log`, and say every few seconds that it is still at work.

    Raises:
        ToolchainError: It could not be started or did not end with 0; the text has the end of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"{label} ...")
    begin = time.monotonic()
    with log.open("wb") as stream:
        try:
            child = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise ToolchainError(f"{label}: cannot start {command[0]}: {error.strerror}") from error
        code = _wait(child, label=label, log=log, begin=begin)
    if code != 0:
        raise ToolchainError(
            f"{label}: {command[0]} ended with {code}. End of its output ({log}):\n{_tail(log, _TAIL_LINES)}\n"
            "If this is a network failure, run the same command again: finished parts are kept."
        )
    say(f"{label}: done in {time.monotonic() - begin:.0f} s")


def _wait(child: subprocess.Popen[bytes], *, label: str, log: Path, begin: float) -> int:
    try:
        while True:
            try:
                return child.wait(timeout=_PROGRESS_EVERY_S)
            except subprocess.TimeoutExpired:
                lines = log.read_bytes().count(b"\n")
                last = _tail(log, 1).strip()[:90]
                say(f"{label}: {time.monotonic() - begin:.0f} s, {lines} lines of output, now: {last}")
    except BaseException:
        # Ctrl-C must not leave a compiler behind.
        child.kill()
        child.wait()
        raise


def _tail(log: Path, lines: int) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
