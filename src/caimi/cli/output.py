"""What every command does with its result, its progress and its errors.

Results go to standard output: for people, or with `--json` one object. Everything else goes to standard error. The exit
code is 0, or by the error's retry class 2 (never), 3 (after something else has changed), 4 (safe to repeat); 1 is a
defect of CAIMI, 130 an interruption.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer

__all__ = ["DEFECT", "HomeOption", "JsonOption", "Terminal", "run_command"]

T = TypeVar("T")

DEFECT: Final = 1
"""Exit code for what should never happen."""
_INTERRUPTED: Final = 130
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

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._begin = time.monotonic()
        self._is_bar_open = False

    def result(self, value: dict[str, Any], *lines: str) -> None:
        """Print the result: the object with `--json`, the lines without."""
        if self.as_json:
            typer.echo(json.dumps(value, indent=1))
        else:
            for line in lines:
                typer.echo(line)

    def say(self, text: str) -> None:
        """One line of progress."""
        self._close_bar()
        typer.echo(f"{time.monotonic() - self._begin:7.1f} s  {text}", err=True)

    def hint(self, text: str) -> None:
        """What to do next; not with `--json`."""
        self._close_bar()
        if not self.as_json:
            typer.echo(text, err=True)

    def bar(self, what: str, done: int, total: int) -> None:
        """Progress of a known amount of bytes: drawn in place on a terminal, told once at the end elsewhere."""
        if not sys.stderr.isatty():
            if done >= total:
                self.say(f"{what}: {total / 1e6:.1f} MB")
            return
        cells = _BAR_CELLS * done // max(total, 1)
        shown = "█" * cells + "·" * (_BAR_CELLS - cells)
        typer.echo(f"\r{'':10}{what}  {shown}  {done / 1e6:.1f} of {total / 1e6:.1f} MB ", nl=False, err=True)
        self._is_bar_open = True

    def fail(self, error: BaseException) -> NoReturn:
        """Say what went wrong, who is to blame and what to do, and end with the exit code of its retry class."""
        from caimi.types.errors import CaimiError

        self._close_bar()
        if not isinstance(error, CaimiError):
            self._fail_by_defect(error)
        name, text = type(error).__name__, str(error).removeprefix(f"{type(error).__name__}: ")
        code = error.retry.exit_code
        if self.as_json:
            problem = {
                "error": name,
                "text": text,
                "blame": error.blame.value,
                "certainty": error.certainty.value,
                "retry": error.retry.value,
                "hint": error.hint,
            }
            typer.echo(json.dumps({"ok": False, "problem": problem, "exit_code": code}, indent=1))
        typer.echo(f"caimi: error: {name}{': ' + text if text and text != name else ''}", err=True)
        if error.hint:
            typer.echo(f"caimi: hint: {error.hint}", err=True)
        typer.echo(f"caimi: blame: {error.blame.value}; repeat: {error.retry.value} (exit {code})", err=True)
        raise typer.Exit(code) from None

    def end_by_defect(self, error: BaseException) -> NoReturn:
        """As `fail`, outside of a command."""
        try:
            self._fail_by_defect(error)
        except typer.Exit:
            sys.exit(DEFECT)

    def _fail_by_defect(self, error: BaseException) -> NoReturn:
        import traceback

        typer.echo("".join(traceback.format_exception(error)), err=True)
        typer.echo(f"caimi: error: {type(error).__name__}: this is a defect of CAIMI, please report it", err=True)
        if self.as_json:
            problem = {"error": type(error).__name__, "text": str(error), "retry": "never"}
            typer.echo(json.dumps({"ok": False, "problem": problem, "exit_code": DEFECT}, indent=1))
        raise typer.Exit(DEFECT) from error

    def _close_bar(self) -> None:
        if self._is_bar_open:
            typer.echo("", err=True)
            self._is_bar_open = False


def run_command(terminal: Terminal, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the asynchronous part of a command; every error ends the program with its exit code."""
    import asyncio

    try:
        return asyncio.run(_until_terminated(act))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("caimi: interrupted", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception as error:
        terminal.fail(error)


async def _until_terminated(act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    # SIGTERM ends a command like Ctrl-C does: what it has to clean up is cleaned up.
    import asyncio
    import signal

    task = asyncio.ensure_future(act())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
