"""`GET /readyz`: whether a process can do its work now, and what it misses. `/healthz` says only that it lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from caimi.apps.json_observer import JsonObserver
from caimi.apps.metric_book import MEDIA_TYPE
from caimi.ports.metrics import READY

__all__ = ["LANE_BOUND_S", "Check", "ReadinessBody", "add_operator_routes", "stale_lanes"]

LANE_BOUND_S: Final = 15.0
"""For how long a lane may not be read before its follower is not ready."""

Check = Callable[[], Awaitable[Sequence[str]]]
"""What is missing, one sentence each; nothing if the process is ready."""


class ReadinessBody(BaseModel):
    """Whether the process can do its work."""

    ready: bool
    missing: list[str]
    """One sentence each; empty if it is ready."""


def add_operator_routes(app: FastAPI, observer: JsonObserver, check: Check) -> None:
    """Serve /readyz and /metrics; a scrape asks for the readiness too."""

    async def missing() -> list[str]:
        found = list(await check())
        observer.gauge(READY, float(not found))
        return found

    @app.get("/readyz", responses={503: {"model": ReadinessBody}}, summary="Whether the process can do its work")
    async def readyz() -> ReadinessBody:  # pyright: ignore[reportUnusedFunction] - a route
        found = await missing()
        body = ReadinessBody(ready=not found, missing=found)
        # An answer of its own class is sent as it is; the annotation describes it.
        return body if body.ready else JSONResponse(body.model_dump(), status_code=503)  # pyright: ignore[reportReturnType]

    @app.get("/metrics", response_class=Response, summary="Numbers in Prometheus' text format")
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        await missing()
        return Response(observer.metrics(), media_type=MEDIA_TYPE)


def stale_lanes(unread: Mapping[str, float], causes: Mapping[str, str]) -> list[str]:
    """What is missing of lanes that were not read within the bound.

    Arguments:
        unread: seconds since each lane was last read without an error, by name.
        causes: why not, where that is known.
    """
    return [
        f"lane {name}: not read for {seconds:.0f} s" + (f": {causes[name]}" if causes.get(name) else "")
        for name, seconds in unread.items()
        if seconds > LANE_BOUND_S
    ]
