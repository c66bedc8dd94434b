"""HTTP server of blocks: anyone may read, the holder of the token may write (schemas: its OpenAPI document)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from caimi.bundle.cid import CID_TEXT_CHARS, format_cid, parse_cid
from caimi.bundle.errors import BlockMismatch, BlockTooLarge, BundleError, CidRefused
from caimi.bundle.unixfs import MAX_BLOCK_BYTES, verify_block
from caimi.ports.content import (
    MAX_CIDS_ASKED,
    BlockMissing,
    BlockStore,
    ContentError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from caimi.ports.metrics import CONTENT_BYTES, CONTENT_REQUESTS
from caimi.ports.observer import Observer
from caimi.storage.settled import SettledStore
from caimi.types.failure import CaimiError

__all__ = ["MissingAnswer", "MissingQuestion", "create_app"]

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_MEDIA_TYPE: Final = "application/vnd.ipld.raw"
_JSON: Final = "application/json"
_MAX_QUESTION_BYTES: Final = 1 << 17
_STATUS: Final[dict[type[CaimiError], int]] = {
    BlockMissing: 404,
    CidRefused: 400,
    BlockMismatch: 422,
    BlockTooLarge: 413,
    StoreFull: 507,
    StoreRefused: 401,
    StoreUnavailable: 503,
}

CidText = Annotated[str, Field(min_length=CID_TEXT_CHARS, max_length=CID_TEXT_CHARS)]


class MissingQuestion(BaseModel):
    """Which of these does the store lack?"""

    cids: Annotated[list[CidText], Field(max_length=MAX_CIDS_ASKED)]


class MissingAnswer(BaseModel):
    """Those that it lacks, in the order asked."""

    missing: list[str]


def create_app(
    store: BlockStore, *, token: str, observer: Observer, check_writable: Callable[[], None] = lambda: None
) -> FastAPI:
    """The ASGI application; whoever serves it adds /metrics and /readyz, which all processes have.

    Arguments:
        token: What `PUT` needs as bearer token; at least 16 characters.
        check_writable: Called by `/healthz`; raises a ContentError when the store takes no blocks.
    Raises:
        StoreRefused: The token is too short to be a secret.
    """
    if len(token) < 16:
        raise StoreRefused("a token has at least 16 characters")
    app = FastAPI(title="CAIMI content store", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)

    async def refuse(request: Request, error: Exception) -> Response:
        known = error if isinstance(error, CaimiError) else StoreUnavailable(str(error))
        call = request.method.lower()
        observer.count(CONTENT_REQUESTS, call="missing" if call == "post" else call, result=type(known).__name__)
        return _refusal(known)

    async def refuse_route(request: Request, error: Exception) -> Response:
        # Also a CID with a slash in it: the framework finds no route, and would answer in words of its own.
        said = error.detail if isinstance(error, HTTPException) else str(error)
        return await refuse(request, CidRefused(f"{said}: blocks are at /v1/blocks/CID"))

    app.add_exception_handler(HTTPException, refuse_route)
    app.add_exception_handler(ContentError, refuse)
    app.add_exception_handler(BundleError, refuse)
    _add_block_routes(app, SettledStore(store), observer, token.encode())
    _add_health(app, check_writable)
    return app


def _add_block_routes(app: FastAPI, store: SettledStore, observer: Observer, token: bytes) -> None:
    async def get_block(cid: str) -> Response:
        """The block's bytes."""
        block = await store.get(parse_cid(cid))
        observer.count(CONTENT_REQUESTS, call="get", result="ok")
        observer.count(CONTENT_BYTES, len(block.data), direction="out")
        headers = {"Cache-Control": _IMMUTABLE, "ETag": f'"{cid}"', "X-Content-Type-Options": "nosniff"}
        return Response(content=bytes(block.data), media_type=_MEDIA_TYPE, headers=headers)

    async def head_block(cid: str) -> Response:
        """Whether the block is there: 200 or 404."""
        parsed = parse_cid(cid)
        if not await store.has(parsed):
            raise BlockMissing(parsed, store.name)
        observer.count(CONTENT_REQUESTS, call="head", result="ok")
        return Response(headers={"Cache-Control": _IMMUTABLE, "ETag": f'"{cid}"'}, media_type=_MEDIA_TYPE)

    async def put_block(cid: str, request: Request, authorization: Annotated[str, Header()] = "") -> Response:
        """Keep a block of at most 2 MiB whose hash is the CID's."""
        if not hmac.compare_digest(authorization.encode(), b"Bearer " + token):
            raise StoreRefused("PUT needs the bearer token of this store")
        parsed = parse_cid(cid)
        with store.arriving(parsed):
            block = verify_block(parsed, await _bounded(request, MAX_BLOCK_BYTES))
        await store.put(block)
        observer.count(CONTENT_REQUESTS, call="put", result="ok")
        observer.count(CONTENT_BYTES, len(block.data), direction="in")
        return Response(status_code=201)

    async def missing_blocks(request: Request) -> MissingAnswer:
        """Which of at most 1024 blocks the store lacks."""
        # Read by hand: the framework would take a body of any size into memory before it looks at it.
        try:
            question = MissingQuestion.model_validate_json(await _bounded(request, _MAX_QUESTION_BYTES))
        except ValidationError as error:
            raise CidRefused(f"not a list of at most {MAX_CIDS_ASKED} CIDs: {error.error_count()} errors") from error
        cids = [parse_cid(text) for text in question.cids]
        missing = await store.missing(cids)
        observer.count(CONTENT_REQUESTS, call="missing", result="ok")
        return MissingAnswer(missing=[format_cid(cid) for cid in cids if cid in missing])

    path = "/v1/blocks/{cid}"
    app.add_api_route(path, get_block, methods=["GET"], response_class=Response, operation_id="getBlock")
    app.add_api_route(path, head_block, methods=["HEAD"], response_class=Response, operation_id="hasBlock")
    app.add_api_route(path, put_block, methods=["PUT"], status_code=201, operation_id="putBlock")
    question = {"requestBody": {"required": True, "content": {_JSON: {"schema": MissingQuestion.model_json_schema()}}}}
    app.add_api_route(
        "/v1/blocks/missing", missing_blocks, methods=["POST"], operation_id="missingBlocks", openapi_extra=question
    )


def _add_health(app: FastAPI, check_writable: Callable[[], None]) -> None:
    def healthz() -> Response:
        """200 when the store takes blocks."""
        check_writable()
        return JSONResponse({"status": "ok"})

    app.add_api_route("/healthz", healthz, methods=["GET"], operation_id="health")


async def _bounded(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BlockTooLarge(f"more than {limit} bytes")
    return bytes(body)


def _refusal(error: CaimiError) -> Response:
    status = _STATUS.get(type(error), 500)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    body = {"error": type(error).__name__, "message": str(error), "hint": error.hint, "retry": error.retry.value}
    return JSONResponse(body, status_code=status, headers=headers)
