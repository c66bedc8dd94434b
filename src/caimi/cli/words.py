"""How the command line as a whole ends: wrong words and interruptions, also with `--json`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from caimi.cli.output import Terminal

__all__ = ["CommandGroup"]


class CommandGroup(TyperGroup):
    """All commands. With `--json` among the words, whatever happens gives one object on standard output."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        """Run the program and end it with its exit code."""
        words = sys.argv[1:] if args is None else list(args)
        terminal = Terminal(as_json="--json" in words)
        named["standalone_mode"] = False
        try:
            code = self._ended(terminal, words, *rest, **named)
        except typer.Exit as end:
            code = end.exit_code
        sys.exit(code if isinstance(code, int) else 0)

    def _ended(self, terminal: Terminal, words: list[str], *rest: Any, **named: Any) -> Any:
        try:
            return super().main(words, *rest, **named)
        except typer.Abort:
            terminal.fail_by_interruption()
        except typer.TyperException as error:
            # Usage and what is wrong with the words, for people.
            show = getattr(error, "show", None)
            if show is not None:
                show()
            terminal.fail_by_words(error.format_message())
        except Exception as error:  # not even a defect shows a traceback without saying what it is
            terminal.fail_by_defect(error)
