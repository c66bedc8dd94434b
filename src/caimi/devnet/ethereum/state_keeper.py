"""Keeps whole copies of the state that Anvil writes over itself every few seconds.

Anvil empties its file and writes it again: a kill in between leaves a torn one, with which it never starts any more.
The copies are made as soon as a dump is complete. A dump may also be of two moments, if a block is mined while it is
made: with it events would be missing for ever.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, cast

from caimi.devnet.ethereum.anvil import AnvilPlan

__all__ = ["NO_BLOCK", "StateKeeper"]

NO_BLOCK: Final = -1
"""Below block 0: Anvil has not made that one yet."""

_POLL_S: Final = 0.1
_WHOLE: Final = ("block", "accounts", "best_block_number", "blocks", "transactions")


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

    def mend(self) -> int | None:
        """Before Anvil starts: put the newest sound copy in the place of a state that is torn, or of two moments.

        Returns:
            Its highest block, `NO_BLOCK` of a first state; None if all are torn.
        """
        second_best: tuple[Path, int] | None = None
        for path in (self._state, *self._kept):
            condition, height = _read(path)
            if condition is _Condition.SOUND:
                self._take(path)
                return height
            if condition is _Condition.TWO_MOMENTS and second_best is None:
                second_best = path, height
        if second_best is None:
            return None
        self._take(second_best[0])
        return second_best[1]

    def _take(self, path: Path) -> None:
        if path != self._state:
            fresh = self._state.with_suffix(".mended")
            shutil.copyfile(path, fresh)
            fresh.replace(self._state)

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


class _Condition(Enum):
    SOUND = auto()
    # Anvil writes blocks first and accounts then: mined in between, a block's effects are there and its events are not.
    TWO_MOMENTS = auto()
    TORN = auto()


def _read(path: Path) -> tuple[_Condition, int]:
    # With the highest block.
    try:
        state = cast("dict[str, Any]", json.loads(path.read_bytes()))
        if not all(name in state for name in _WHOLE):
            return _Condition.TORN, 0
        height = _number(state["best_block_number"]) if state["blocks"] else NO_BLOCK
        return (_Condition.TWO_MOMENTS if _is_ahead(state) else _Condition.SOUND), height
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return _Condition.TORN, 0


def _is_ahead(state: dict[str, Any]) -> bool:
    # Whether an account has sent more than the blocks hold. Blocks that were taken back may hold more than was sent.
    sent: dict[str, int] = {}
    for transaction in state["transactions"]:
        told = transaction["info"]
        sender = str(told["from"]).lower()
        sent[sender] = max(sent.get(sender, 0), _number(told["nonce"]) + 1)
    return any(
        _number(account["nonce"]) > sent.get(address.lower(), 0)
        for address, account in state["accounts"].items()
        # A contract counts what it has created.
        if account.get("code", "0x") == "0x"
    )


def _number(told: str | int) -> int:
    # The node writes some as numbers, some as words in hexadecimal, some in decimal.
    return told if isinstance(told, int) else int(told, 0)
