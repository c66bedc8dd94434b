"""What a devnet's supervisor shows of its children: /readyz, /metrics, and where Prometheus finds all of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from fastapi import FastAPI

from caimi.apps.http_server import new_app, served
from caimi.apps.json_observer import JsonObserver
from caimi.apps.process_config import HttpConfig
from caimi.apps.system import SystemClock
from caimi.devnet.ports import choose_ports
from caimi.devnet.supervisor import ChildState, Supervisor
from caimi.ports.clock import Clock
from caimi.ports.metrics import CHILD_READY, CHILD_RESTARTS, CHILD_UP
from caimi.ports.observer import Observer
from caimi.sdk.network import write_json

__all__ = ["TARGETS_FILE", "ChildReadiness", "Readiness", "showing_children", "supervisor_app", "write_targets"]

TARGETS_FILE: Final = "prometheus-targets.json"
"""In the state folder: every process of the devnet, for Prometheus' `file_sd_configs`."""
_KEPT_S: Final = 1.0
_TIMEOUT_S: Final = 3.0
_LONGEST: Final = 1 << 16
_MOST_SENTENCES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What one process said of itself when it was last asked."""

    missing: tuple[str, ...]
    """Nothing if it is ready."""


class ChildReadiness:
    """Asks the children's /readyz, all at once; their answers count for a second."""

    def __init__(
        self, children: Mapping[str, ChildState], client: httpx2.AsyncClient, *, clock: Clock, observer: Observer
    ) -> None:
        self._children = children
        self._client = client
        self._clock = clock
        self._observer = observer
        self._asked_at: float | None = None
        self._known: dict[str, Readiness] = {}

    async def ask(self) -> Mapping[str, Readiness]:
        """By name; of processes that have a readiness."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _KEPT_S:
            names = [name for name, child in self._children.items() if child.spec.ready_url is not None]
            answers = await asyncio.gather(*(self._ask(self._children[name]) for name in names))
            self._known, self._asked_at = dict(zip(names, answers, strict=True)), now
        return self._known

    async def missing(self) -> list[str]:
        """What all of them miss, each sentence with the process's name."""
        down = [f"{name} is down (exit code {c.exit_code})" for name, c in self._children.items() if c.pid is None]
        known = await self.ask()
        return down + [
            f"{name}: {text}"
            for name, readiness in known.items()
            if self._children[name].pid is not None
            for text in readiness.missing
        ]

    def collect(self) -> None:
        """Set the gauges of the children."""
        for name, child in self._children.items():
            self._observer.gauge(CHILD_UP, float(child.pid is not None), child=name)
            self._observer.gauge(CHILD_RESTARTS, child.restarts, child=name)
        for name, readiness in self._known.items():
            self._observer.gauge(CHILD_READY, float(not readiness.missing), child=name)

    async def _ask(self, child: ChildState) -> Readiness:
        try:
            answer = await self._client.get(child.spec.ready_url or "", timeout=_TIMEOUT_S)
            body: Any = answer.json() if len(answer.content) <= _LONGEST else None
            missing = [str(text) for text in body["missing"]]
        except httpx2.HTTPError as error:
            return Readiness(missing=(f"does not say whether it is ready: {type(error).__name__}",))
        except (ValueError, TypeError, KeyError):
            return Readiness(missing=("says nonsense about its readiness",))
        return Readiness(missing=tuple(missing[:_MOST_SENTENCES]))


def supervisor_app(readiness: ChildReadiness, observer: JsonObserver) -> FastAPI:
    """The application."""
    observer.collect(readiness.collect)
    return new_app("CAIMI supervisor", observer, ready=readiness.missing)


@asynccontextmanager
async def showing_children(
    supervisor: Supervisor, observer: JsonObserver, *, taken: Collection[int]
) -> AsyncGenerator[ChildReadiness]:
    """Serve the supervisor's interface on a free port while the block runs; `supervisor.json` says where.

    Arguments:
        taken: ports of children that do not listen yet.
    Raises:
        NoFreePorts: There is none.
    """
    (port,) = choose_ports(1, order=random.Random(), taken=taken)
    clock = SystemClock()
    async with httpx2.AsyncClient(trust_env=False) as client:
        readiness = ChildReadiness(supervisor.children, client, clock=clock, observer=observer)
        async with served(supervisor_app(readiness, observer), HttpConfig(port=port)):
            supervisor.serves_at(f"http://127.0.0.1:{port}")
            yield readiness


def write_targets(home: Path, supervisor: Supervisor) -> None:
    """Write the file from which Prometheus learns of every process that has metrics."""
    urls = {name: child.spec.ready_url for name, child in supervisor.children.items()} | {"supervisor": supervisor.url}
    targets = [
        {"targets": [urlsplit(url).netloc], "labels": {"job": "caimi", "process": name}}
        for name, url in urls.items()
        if url
    ]
    write_json(home / TARGETS_FILE, targets)
