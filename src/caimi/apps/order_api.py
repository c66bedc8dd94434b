"""What a validator's operator orders over HTTP: part of the validator's interface (schemas/validator.json, spec 35)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, Field

from caimi.apps.hex_values import hex_of, read_hex, read_lane
from caimi.apps.problem import Problem
from caimi.types.records import Governance, Pause, Resume
from caimi.validator.orders import Order, Orders
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import decode, encode

__all__ = ["KeptBlock", "OrderIn", "SignedOrder", "add_orders"]

_LONGEST: Final = 1 << 10
_KINDS: Final[dict[str, type[Order]]] = {"pause": Pause, "resume": Resume, "govern": Governance}


class OrderIn(BaseModel):
    """What the operator orders (spec 35)."""

    kind: Literal["pause", "resume", "govern"]
    order: Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2})*$", max_length=2 + 2 * _LONGEST)]
    """The ABI-encoded `Pause`, `Resume` or `Governance`, 0x hex."""


class SignedOrder(BaseModel):
    """One validator's signature under an order."""

    signature: str
    """The ABI-encoded `Signature`, 0x hex."""


class KeptBlock(BaseModel):
    """The highest block that a lane could keep, if it were resumed now: below it this validator signed nothing else."""

    height: int
    block_hash: str


def add_orders(
    app: FastAPI,
    orders: Orders,
    limiter: RateLimiter,
    *,
    may_order: Callable[[Request], Coroutine[Any, Any, None]],
) -> None:
    """Add the routes to a validator's application; `may_order` lets nobody but the operator order."""
    problems: dict[int | str, dict[str, object]] = {code: {"model": Problem} for code in (400, 401, 422, 429, 503)}

    @app.post(
        "/v1/orders",
        responses=problems,
        dependencies=[Depends(may_order)],
        summary="Sign an order of this validator's operator",
    )
    async def order(body: OrderIn) -> SignedOrder:  # pyright: ignore[reportUnusedFunction] - a route
        wanted: Order = decode(_KINDS[body.kind], read_hex(body.order), limit=_LONGEST)
        return SignedOrder(signature=hex_of(encode(await orders.sign(wanted))))

    @app.get("/v1/kept-block", responses=problems, summary="The highest block that a lane could keep if it is resumed")
    async def kept_block(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request, chain: str, registry: str
    ) -> KeptBlock:
        limiter.take(request.client.host if request.client else "")
        block = await orders.kept_block(read_lane(chain, registry))
        return KeptBlock(height=block.height, block_hash=hex_of(block.block_hash))
