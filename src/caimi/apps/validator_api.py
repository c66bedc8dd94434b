"""A validator's HTTP interface (schemas/validator.json)."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, Field

from caimi.apps.hex_values import hex_of, read_bytes32, read_hex, read_lane
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import Problem
from caimi.apps.readiness import LANE_BOUND_S
from caimi.types.primitives import Generation, Sequence
from caimi.types.records import Checkpoint, Publication, Signature
from caimi.validator.attestor import Attestor
from caimi.validator.keys import ValidatorKeys
from caimi.validator.lane import LaneCondition
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import decode, encode

__all__ = ["KeysBody", "LaneStatusBody", "ReleaseIn", "SignedCheckpoint", "ValidatorStatusBody", "validator_app"]

_U64 = 2**64 - 1
_PUBLICATION_LIMIT = 1 << 14
Hex32 = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{64}$")]
Hex = Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2})*$", max_length=2 + 2 * _PUBLICATION_LIMIT)]


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
    """following, starting, unreachable, abstaining, stalled, halted, astray or dropped."""
    cause: str
    height: int
    final_height: int
    last_sequence: int
    attested_height: int
    sources: int
    """Sources that are compared."""
    note: str


class KeyStatusBody(BaseModel):
    """The epoch's key as this validator has it."""

    attempt: int
    """Of the key ceremony, 0 to 15."""
    phase: str
    """starting, commit, reveal, complaint, justification, close, done, left out or failed."""
    waits_for: list[int]
    """Seats whose message is missing."""
    fault: str | None
    """The last fault that showed, and whose it was."""
    group_key: str | None
    releases: int
    """Leases that got this validator's partial."""


class ValidatorStatusBody(BaseModel):
    """Who this validator is and how its lanes are."""

    network: str
    address: str
    signer: int
    epoch: int
    lanes: list[LaneStatusBody]
    keys: KeyStatusBody


class KeysBody(BaseModel):
    """The public side of the epoch's key (spec 40 §3)."""

    epoch: int
    group_key: str
    """33 bytes, compressed."""
    verification_keys: list[str]
    """Of share index 1 to n."""
    threshold: int
    transcript: str
    """Hash of the key generation's messages (spec 41 §3)."""


class ReleaseIn(BaseModel):
    """For which lease a partial is asked (spec 60 §2). Only the board and the ledgers decide."""

    lease: Hex32
    publication: Hex
    """The ABI-encoded `Publication` that the lease names."""
    capsule: Hex
    """195 bytes."""


class Released(BaseModel):
    """The sealed partial lies on the board."""

    lease: str
    index: int
    """Share index of this validator."""


def validator_app(
    attestor: Attestor,
    keys: ValidatorKeys,
    limiter: RateLimiter,
    observer: JsonObserver,
    *,
    releases: RateLimiter,
) -> FastAPI:
    """The application; `releases` limits how often a client may ask for a partial."""
    app = new_app("CAIMI validator", observer, ready=lambda: _missing(attestor, keys))
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

    @app.get("/v1/keys", responses=problems, summary="The public side of the epoch's key")
    async def public_keys() -> KeysBody:  # pyright: ignore[reportUnusedFunction] - a route
        public = keys.public()
        return KeysBody(
            epoch=public.key.epoch,
            group_key=hex_of(public.key.group_key.encode()),
            verification_keys=[hex_of(key.encode()) for key in public.key.verification_keys],
            threshold=public.key.threshold,
            transcript=hex_of(public.transcript),
        )

    @app.post("/v1/releases", responses=problems, summary="Put this validator's sealed partial of a lease on the board")
    async def release(request: Request, body: ReleaseIn) -> Released:  # pyright: ignore[reportUnusedFunction]
        releases.take(request.client.host if request.client else "")
        lease = read_bytes32(body.lease)
        publication = decode(Publication, read_hex(body.publication), limit=_PUBLICATION_LIMIT)
        await keys.release(lease, publication, read_hex(body.capsule))
        return Released(lease=hex_of(lease), index=attestor.status().seat.signer + 1)

    @app.get("/v1/status", summary="This validator and its lanes")
    async def status() -> ValidatorStatusBody:  # pyright: ignore[reportUnusedFunction] - a route
        return _status(attestor, keys)

    return app


async def _missing(attestor: Attestor, keys: ValidatorKeys) -> list[str]:
    missing = [
        f"lane {lane.name}: {lane.condition.value.upper()}" + (f": {lane.cause}" if lane.cause else "")
        for lane in attestor.status().lanes
        # A dropped lane is a decision and nothing that is missing.
        if lane.condition is not LaneCondition.DROPPED
        and (lane.condition is not LaneCondition.FOLLOWING or attestor.unread_seconds(lane.lane) > LANE_BOUND_S)
    ]
    generation = keys.status().generation
    if keys.status().group_key is None:
        waits = ", ".join(str(index) for index in generation.waits_for)
        missing.append(f"no group key: phase {generation.phase}" + (f", waits for validators {waits}" if waits else ""))
    return missing


def _key_status(keys: ValidatorKeys) -> KeyStatusBody:
    status = keys.status()
    return KeyStatusBody(
        attempt=status.generation.attempt,
        phase=status.generation.phase,
        waits_for=list(status.generation.waits_for),
        fault=status.generation.fault,
        group_key=None if status.group_key is None else hex_of(status.group_key),
        releases=status.releases,
    )


def _status(attestor: Attestor, keys: ValidatorKeys) -> ValidatorStatusBody:
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
        keys=_key_status(keys),
    )
