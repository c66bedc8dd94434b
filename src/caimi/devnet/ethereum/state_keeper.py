"""Keeps whole copies of the state that Anvil writes over itself once a second.

Anvil empties its file and writes it again: a kill in between leaves a torn one, with which it never starts any more.
The copies are made as soon as a dump is complete, so that the last whole one is at most a second old, and its blocks
are within the finality depth.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from caimi.devnet.ethereum.anvil import AnvilPlan

__all__ = ["StateKeeper"]

_POLL_S: Final = 0.1
_WHOLE: Final = ("block", "accounts", "blocks", "transactions")


class StateKeeper:
    """Of one Anvil, in the supervisor's process."""

    def __init__(self, plan: AnvilPlan) -> None:
        self._state = plan.state
        # The older one is for the case that the newer one was copied while Anvil paused in the middle.
        self._kept = (plan.folder / "state.kept.json", plan.folder / "state.older.json")
        self._seen: tuple[int, int] | None = None
        self._copied: tuple[int, int] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Copy each complete dump while the block runs."""
        copying = asyncio.create_task(self._run())
        try:
            yield
        finally:
            copying.cancel()

    def look(self) -> None:
        """Copy the state if it is new, and has not changed since the last look. A full disk only ends this attempt."""
        seen = self._stamp()
        if seen is None or seen == self._copied or seen != self._seen:
            self._seen = seen
            return
        newer, older = self._kept
        fresh = newer.with_suffix(".new")
        try:
            shutil.copyfile(self._state, fresh)
            if not _ends(fresh) or self._stamp() != seen:
                return
            if newer.exists():
                newer.replace(older)
            fresh.replace(newer)
        except OSError:
            return
        self._copied = seen

    def mend(self) -> None:
        """Before Anvil starts: put the newest whole copy in the place of a torn state."""
        if _is_whole(self._state):
            return
        for kept in self._kept:
            if _is_whole(kept):
                fresh = self._state.with_suffix(".mended")
                shutil.copyfile(kept, fresh)
                fresh.replace(self._state)
                return

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(_POLL_S)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._state)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def _ends(path: Path) -> bool:
    # The last byte is enough here: `mend` reads all of it, once per start.
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"}"


def _is_whole(path: Path) -> bool:
    try:
        state = cast("dict[str, Any]", json.loads(path.read_bytes()))
        return all(name in state for name in _WHOLE)
    except (OSError, ValueError, TypeError):
        return False
