"""The command line. Nothing heavy is imported before a command runs: `caimi --help` must be quick."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the `caimi` program."""
    try:
        from caimi.cli.app import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    app()
