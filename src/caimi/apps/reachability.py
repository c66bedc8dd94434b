"""Asking whether another process answers, for one's own readiness: quick, bounded, and not more often than needed."""

from __future__ import annotations

from typing import Final

import httpx2

from caimi.ports.clock import Clock

__all__ = ["Reachability"]

_KEPT_S: Final = 2.0
_TIMEOUT_S: Final = 2.0
_OK: Final = 200


class Reachability:
    """Asks one process's /healthz; an answer counts for two seconds."""

    def __init__(self, name: str, url: str, client: httpx2.AsyncClient, *, clock: Clock) -> None:
        """Arguments:
        name: how it is called in what is missing.
        """
        self._name = name
        self._url = url.rstrip("/")
        self._client = client
        self._clock = clock
        self._asked_at: float | None = None
        self._missing: tuple[str, ...] = ()

    async def missing(self) -> tuple[str, ...]:
        """Nothing if it answers, else one sentence."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _KEPT_S:
            self._missing, self._asked_at = await self._ask(), now
        return self._missing

    async def _ask(self) -> tuple[str, ...]:
        try:
            answer = await self._client.get(f"{self._url}/healthz", timeout=_TIMEOUT_S)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return (f"{self._name} at {self._url} does not answer: {type(error).__name__}",)
        if answer.status_code != _OK:
            return (f"{self._name} at {self._url} answers {answer.status_code}",)
        return ()
