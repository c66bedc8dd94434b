"""Transcripts: a command, then what it has to print and how it has to end.

caimi models --home nowhere          a command; `!` before it: the exit code is not 0
exit 3                               its exit code
stdout 'pattern'                     a regular expression that occurs in it; `!` before it: does not
stderr 'pattern'
# anything                           a remark
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from caimi.cli.app import app

__all__ = ["Command", "parse", "play"]


@dataclass(slots=True, kw_only=True)
class Command:
    """One command and its expectations."""

    words: list[str]
    fails: bool
    line: int
    checks: list[tuple[bool, str, str]] = field(default_factory=list[tuple[bool, str, str]])
    """Whether it is expected, of which output, the pattern."""
    exit_code: int | None = None


def parse(text: str) -> list[Command]:
    """The commands of a transcript."""
    commands: list[Command] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        is_negated = line.startswith("! ")
        words = shlex.split(line.removeprefix("! "))
        match words:
            case ["caimi", *rest]:
                commands.append(Command(words=rest, fails=is_negated, line=number))
            case ["exit", code]:
                commands[-1].exit_code = int(code)
            case [("stdout" | "stderr") as stream, pattern]:
                commands[-1].checks.append((not is_negated, stream, pattern))
            case _:
                raise ValueError(f"line {number}: {raw!r}")
    return commands


def play(path: Path, variables: Mapping[str, str]) -> None:
    """Run every command of a transcript in this process; ${NAME} is replaced by a variable.

    Raises:
        AssertionError: Something is not as the transcript says.
    """
    text = path.read_text(encoding="utf-8")
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value)
    commands = parse(text)
    assert commands, f"{path.name} has no command"
    for command in commands:
        result = CliRunner().invoke(app, command.words)
        shown = f"{path.name}:{command.line}: caimi {' '.join(command.words)}\n{result.stdout}\n{result.stderr}"
        code = result.exit_code
        expected = command.exit_code if command.exit_code is not None else (None if command.fails else 0)
        assert code == expected if expected is not None else code != 0, f"exit code {code}\n{shown}"
        assert command.fails == (code != 0), f"exit code {code}\n{shown}"
        for is_expected, stream, pattern in command.checks:
            output = result.stdout if stream == "stdout" else result.stderr
            assert (re.search(pattern, output) is not None) == is_expected, f"{stream} {pattern!r}\n{shown}"
