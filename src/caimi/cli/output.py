"""What every command does with its result, its progress and its errors.

Results go to standard output: for people, or with `--json` one object. Everything else goes to standard error. The exit
code is 0, or by the error's retry class 2 (never), 3 (after something else has changed), 4 (safe to repeat); 1 is a
defect of CAIMI, 130 an interruption.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer

__all__ = ["DEFECT", "INTERRUPTED", "WRONG_WORDS", "HomeOption", "JsonOption", "Terminal", "run_command"]

T = TypeVar("T")

DEFECT: Final = 1
"""Exit code for what should never happen."""
WRONG_WORDS: Final = 2
"""Exit code for a command line that cannot be understood: never repeat it."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C or SIGTERM."""
_READER_GONE: Final = 141
_BAR_CELLS: Final = 24

HomeOption = Annotated[
    Path | None,
    typer.Option(
        help="State folder of the network. Default: the folder `caimi` in the XDG state folder (~/.local/state).",
        envvar="CAIMI_HOME",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object; progress stays on standard error.")]


class Terminal:
    """Standard output and error of one command."""

    def __init__(
        self, *, as_json: bool, resume: str = "repeat the command: nothing is half done", indent: int | None = 1
    ) -> None:
        """Arguments:
        resume: what to do after an interruption.
        indent: of JSON objects; None puts each on one line, for commands that print several.
        """
        self.as_json = as_json
        self._indent = indent
        self.resume = resume
        self._begin = time.monotonic()
        self._is_bar_open = False
        self._said = ""

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there who can answer a question."""
        return not self.as_json and sys.stdin.isatty()

    def result(self, value: dict[str, Any], *lines: str) -> None:
        """Print the result: the object with `--json`, the lines without."""
        self._close_bar()
        if self.as_json:
            typer.echo(json.dumps(value, indent=self._indent))
        else:
            for line in lines:
                typer.echo(line)

    def line(self, value: dict[str, Any], text: str) -> None:
        """Print one of several results as it comes: the object on one line with `--json`, the text without."""
        self._close_bar()
        typer.echo(json.dumps(value) if self.as_json else text)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """One line of progress; the same line again is left out."""
        self._close_bar()
        if text != self._said:
            typer.echo(f"{time.monotonic() - self._begin:7.1f} s  {text}", err=True)
        self._said = text

    def hint(self, text: str) -> None:
        """What to do next; not with `--json`."""
        self._close_bar()
        if not self.as_json:
            typer.echo(text, err=True)

    def bar(self, what: str, done: int, total: int) -> None:
        """Progress of a known amount of bytes: drawn in place on a terminal, told once at the end elsewhere."""
        if not sys.stderr.isatty():
            if done >= total:
                self.say(f"{what}: {_size(total)}")
            return
        cells = _BAR_CELLS * done // max(total, 1)
        shown = "█" * cells + "·" * (_BAR_CELLS - cells)
        typer.echo(f"\r{'':10}{what}  {shown}  {_size(done)} of {_size(total)} ", nl=False, err=True)
        self._is_bar_open = True

    def fail(self, error: Exception) -> NoReturn:
        """Say what went wrong, who is to blame and what to do, and end with the exit code of its retry class."""
        from caimi.types.failure import CaimiError

        if isinstance(error, OSError):
            error = _file_problem(error) or error
        if not isinstance(error, CaimiError):
            self.fail_by_defect(error)
        name, text = type(error).__name__, str(error).removeprefix(f"{type(error).__name__}: ")
        self._end(
            name,
            text if text != name else "",
            error.retry.exit_code,
            blame=error.blame.value,
            certainty=error.certainty.value,
            retry=error.retry.value,
            hint=error.hint,
        )

    def fail_by_words(self, text: str) -> NoReturn:
        """Say that the command line cannot be understood. People are shown its usage by whoever calls this."""
        if self.as_json:
            self._print_problem(
                "WrongWords", text, WRONG_WORDS, blame="caller", certainty="proven", retry="never", hint="see --help"
            )
        raise typer.Exit(WRONG_WORDS)

    def fail_by_interruption(self) -> NoReturn:
        """Say how to go on after Ctrl-C or SIGTERM."""
        self._close_bar()
        if self.as_json:
            self._print_problem(
                "Interrupted", "", INTERRUPTED, blame="caller", certainty="proven", retry="safe", hint=self.resume
            )
        typer.echo(f"caimi: interrupted\ncaimi: hint: {self.resume}", err=True)
        raise typer.Exit(INTERRUPTED) from None

    def fail_by_defect(self, error: BaseException) -> NoReturn:
        """Show what should never happen with all that helps to mend it."""
        import traceback

        self._close_bar()
        typer.echo("".join(traceback.format_exception(error)), err=True)
        typer.echo(f"caimi: error: {type(error).__name__}: this is a defect of CAIMI, please report it", err=True)
        if self.as_json:
            hint = "report it with what standard error shows"
            self._print_problem(
                type(error).__name__, str(error), DEFECT, blame="nobody", certainty="proven", retry="never", hint=hint
            )
        raise typer.Exit(DEFECT) from error

    def _end(self, name: str, text: str, code: int, **said: str) -> NoReturn:
        self._close_bar()
        if self.as_json:
            self._print_problem(name, text, code, **said)
        typer.echo(f"caimi: error: {name}{': ' + text if text else ''}", err=True)
        if said["hint"]:
            typer.echo(f"caimi: hint: {said['hint']}", err=True)
        typer.echo(f"caimi: blame: {said['blame']}; repeat: {said['retry']} (exit {code})", err=True)
        raise typer.Exit(code) from None

    def _print_problem(self, name: str, text: str, code: int, **said: str) -> None:
        problem = {"error": name, "text": text, **said}
        typer.echo(json.dumps({"ok": False, "problem": problem, "exit_code": code}, indent=self._indent))

    def _close_bar(self) -> None:
        if self._is_bar_open:
            typer.echo("", err=True)
            self._is_bar_open = False


_CANCELLED_AGAIN_S: Final = 5.0
"""Longer than what a command has to clean up takes."""


def run_command(terminal: Terminal, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the asynchronous part of a command; every error ends the program with its exit code."""
    import asyncio

    try:
        return asyncio.run(_until_terminated(act))
    except (KeyboardInterrupt, asyncio.CancelledError):
        terminal.fail_by_interruption()
    except (typer.Exit, typer.TyperException):
        raise
    except BrokenPipeError:
        # Whoever read the output has seen enough, such as `head`. What is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_READER_GONE) from None
    except Exception as error:
        terminal.fail(error)


async def _until_terminated(act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    # SIGTERM ends a command like Ctrl-C does: what it has to clean up is cleaned up.
    import asyncio
    import signal

    own, task = asyncio.current_task(), asyncio.ensure_future(act())
    if own is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, own.cancel)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # One that a library loses between two waits must not leave a command that nobody can end.
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCELLED_AGAIN_S)
        if not task.cancelled():
            task.exception()
        raise


def _file_problem(error: OSError) -> Exception | None:
    # A path that cannot be read or written, or a full disk, is no defect. Anything else that the system says is one.
    import errno

    from caimi.cli.errors import FileProblem

    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return FileProblem(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"
