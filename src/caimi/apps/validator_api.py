"""A validator's HTTP interface (schemas/validator.json)."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel

from caimi.apps.hex_values import hex_of, read_lane
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import Problem
from caimi.types.primitives import Generation, Sequence
from caimi.types.records import Checkpoint, Signature
from caimi.validator.attestor import Attestor
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import encode

__all__ = ["LaneStatusBody", "SignedCheckpoint", "ValidatorStatusBody", "validator_app"]

_U64 = 2**64 - 1


class SignedCheckpoint(BaseModel):
    """One validator's signature over a range."""

    checkpoint: str
    """The ABI-encoded `Checkpoint` (spec 10 §3), 0x hex."""
    signature: str
    """The ABI-encoded `Signature`, 0x hex."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, signature: Signature) -> SignedCheckpoint:
        """The body of an answer."""
        return cls(checkpoint=hex_of(encode(checkpoint)), signature=hex_of(encode(signature)))


class LaneStatusBody(BaseModel):
    """A lane as this validator sees it."""

    name: str
    chain: str
    registry: str
    generation: int
    condition: str
    """following, starting, unreachable, abstaining, stalled or halted."""
    cause: str
    height: int
    final_height: int
    last_sequence: int
    attested_height: int
    sources: int
    """Sources that are compared."""
    note: str


class ValidatorStatusBody(BaseModel):
    """Who this validator is and how its lanes are."""

    network: str
    address: str
    signer: int
    epoch: int
    lanes: list[LaneStatusBody]


def validator_app(attestor: Attestor, limiter: RateLimiter, observer: JsonObserver) -> FastAPI:
    """The application."""
    app = new_app("CAIMI validator", observer)
    problems: dict[int | str, dict[str, object]] = {code: {"model": Problem} for code in (400, 422, 425, 429, 503)}

    @app.get("/v1/checkpoints", responses=problems, summary="Sign the root over a range of final events")
    async def checkpoints(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        source_chain: str,
        source_registry: str,
        generation: Annotated[int, Query(ge=0, le=_U64)],
        first: Annotated[int, Query(ge=0, le=_U64)],
        last: Annotated[int, Query(ge=0, le=_U64)],
    ) -> SignedCheckpoint:
        limiter.take(request.client.host if request.client else "")
        source = read_lane(source_chain, source_registry)
        signed = await attestor.checkpoint(source, Generation(generation), Sequence(first), Sequence(last))
        return SignedCheckpoint.of(*signed)

    @app.get("/v1/status", summary="This validator and its lanes")
    async def status() -> ValidatorStatusBody:  # pyright: ignore[reportUnusedFunction] - a route
        return _status(attestor)

    return app


def _status(attestor: Attestor) -> ValidatorStatusBody:
    status = attestor.status()
    lanes = [
        LaneStatusBody(
            name=lane.name,
            chain=hex_of(lane.lane.chain),
            registry=hex_of(lane.lane.registry),
            generation=lane.generation,
            condition=lane.condition.value,
            cause=lane.cause,
            height=lane.height,
            final_height=lane.final_height,
            last_sequence=lane.last_sequence,
            attested_height=lane.attested_height,
            sources=lane.sources,
            note=lane.note,
        )
        for lane in status.lanes
    ]
    return ValidatorStatusBody(
        network=hex_of(status.seat.network),
        address=hex_of(status.address),
        signer=status.seat.signer,
        epoch=status.seat.epoch,
        lanes=lanes,
    )
