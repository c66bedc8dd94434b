"""The command line. Nothing heavy is imported before a command runs: `caimi --help` must be quick."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the `caimi` program."""
    from caimi.cli.app import app
    from caimi.cli.output import Terminal

    try:
        app()
    except Exception as error:  # not even a defect shows a traceback without saying what it is
        Terminal(as_json=False).end_by_defect(error)
