"""Many callers, one commit: what arrives while a commit is being prepared becomes durable with it."""

from __future__ import annotations

import asyncio

from caimi.ports.clock import Clock
from caimi.ports.relay_store import Change, RelayStep, RelayStore

__all__ = ["GroupCommit"]


class GroupCommit:
    """Collects changes of one step."""

    def __init__(self, step: RelayStep, *, store: RelayStore, clock: Clock, seconds: float = 0.0) -> None:
        self._step = step
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._waiting: list[Change] = []
        self._commit: asyncio.Task[None] | None = None

    async def write(self, *changes: Change) -> None:
        """Return once the changes are durable, together with those of others."""
        self._waiting.extend(changes)
        if self._commit is None:
            self._commit = asyncio.ensure_future(self._flush())
        # A caller that goes away must not take the commit of the others with it.
        await asyncio.shield(self._commit)

    async def _flush(self) -> None:
        await self._clock.sleep(self._seconds)
        changes, self._waiting, self._commit = self._waiting, [], None
        self._store.write(self._step, *changes)
