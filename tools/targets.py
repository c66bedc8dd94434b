"""The targets of `tools/bootstrap.py`."""

from __future__ import annotations

import os
from pathlib import Path

from toolchain.errors import ToolchainError
from toolchain.process import say
from toolchain.setup import set_up

REPOSITORY = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    try:
        set_up(REPOSITORY, dict(os.environ))
    except ToolchainError as error:
        say(f"error: {error}")
        return 1
    return 0
