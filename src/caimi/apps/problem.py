"""Errors on HTTP: one JSON object, made from any typed error and made back into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from caimi.bundle.errors import BundleError
from caimi.crypto.errors import BadSealingKey, CapsuleRefused, InvalidCapsule, MalformedCapsule
from caimi.host.call_errors import (
    AlreadyAnswered,
    DeadlineTooFar,
    DeadlineUnmeetable,
    Delayed,
    HostBusy,
    HostEnding,
    ModelNotReady,
    NotYetAnswered,
)
from caimi.host.errors import HostError
from caimi.host.telling import public_text
from caimi.ports.chain import ChainUnavailable, SourcesDisagree
from caimi.ports.content import ContentError
from caimi.ports.host_relay import PublicationUnknown, RelayUnavailable
from caimi.ports.key_release import ForeignCapsule, ForeignPublication, NoShareYet, UnreadHome
from caimi.ports.model_runtime import RuntimeFailed, RuntimeRefused
from caimi.ports.validators import Abstains, NotYet, ValidatorUnavailable
from caimi.relay.lanes import UnknownLane
from caimi.types.errors import (
    BadEncoding,
    BadSignature,
    Blame,
    CaimiError,
    Certainty,
    HighS,
    Refusal,
    Retry,
    WrongSigner,
)
from caimi.validator.rate_limit import TooManyRequests
from caimi.wire.refusal_json import refusal_from_json, refusal_to_json

__all__ = [
    "Forbidden",
    "MalformedRequest",
    "NoSuchThing",
    "Problem",
    "RemoteError",
    "add_problems",
    "problem_of",
    "read_problem",
]


class Problem(BaseModel):
    """What went wrong."""

    error: str
    """Name of the error (spec/errors.toml for refusals)."""
    blame: str
    certainty: str
    retry: str
    """never, after (something else has changed) or safe."""
    hint: str
    values: dict[str, str | int]
    """The refusal's arguments by name; `text` for other errors."""


class MalformedRequest(CaimiError):
    """The HTTP request is not what the interface describes."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "see the OpenAPI description in schemas/"


class Forbidden(CaimiError):
    """Changing calls need the token of the state folder."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "send `Authorization: Bearer` with the text of the token file"


class NoSuchThing(CaimiError):
    """This process knows nothing of that id."""

    blame = Blame.CALLER
    retry = Retry.AFTER
    hint = "check the id, and that this process serves the lanes that it is on"


class RemoteError(CaimiError):
    """Another process failed with an error that has no class here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.error}: {problem.values.get('text', '')}")
        self.problem = problem


_NOT_FOUND: Final = 404
_STATUS: Final[tuple[tuple[type[CaimiError], int], ...]] = (
    (MalformedRequest, 400),
    (BadEncoding, 400),
    (BadSignature, 400),
    (HighS, 400),
    (WrongSigner, 400),
    (Forbidden, 401),
    (NoSuchThing, 404),
    (UnknownLane, 404),
    (NotYet, 425),
    (NoShareYet, 425),
    (NotYetAnswered, 425),
    (AlreadyAnswered, 409),
    (DeadlineTooFar, 422),
    (HostBusy, 429),
    (DeadlineUnmeetable, 429),
    (HostEnding, 503),
    (ModelNotReady, 503),
    (RuntimeFailed, 503),
    (RuntimeRefused, 422),
    (PublicationUnknown, 404),
    (HostError, 422),
    (RelayUnavailable, 503),
    (ContentError, 503),
    (ForeignPublication, 422),
    (ForeignCapsule, 422),
    (CapsuleRefused, 422),
    (BundleError, 422),
    (BadSealingKey, 422),
    (UnreadHome, 503),
    (SourcesDisagree, 503),
    (TooManyRequests, 429),
    (Refusal, 422),
    (Abstains, 503),
    (ValidatorUnavailable, 503),
    (ChainUnavailable, 503),
)
_PLAIN: Final[tuple[type[CaimiError], ...]] = (
    MalformedRequest,
    Forbidden,
    NoSuchThing,
    UnknownLane,
    NotYet,
    Abstains,
    ValidatorUnavailable,
    ChainUnavailable,
    SourcesDisagree,
    NoShareYet,
    ForeignPublication,
    ForeignCapsule,
    MalformedCapsule,
    InvalidCapsule,
    BadSealingKey,
    UnreadHome,
)


def problem_of(error: CaimiError) -> tuple[int, Problem]:
    """HTTP status and body of an error."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    values: dict[str, str | int] = {"text": public_text(error)}
    if isinstance(error, Refusal):
        values = refusal_to_json(error)
    problem = Problem(
        error=type(error).__name__,
        blame=error.blame.value,
        certainty=error.certainty.value,
        retry=error.retry.value,
        hint=error.hint,
        values=values,
    )
    return status, problem


def read_problem(body: Any) -> CaimiError:
    """The error that a body tells of; `RemoteError` for classes that are not known here.

    Raises:
        BadEncoding: It is no problem object.
    """
    try:
        problem = Problem.model_validate(body)
    except ValueError as error:
        raise BadEncoding from error
    plain = next((kind for kind in _PLAIN if kind.__name__ == problem.error), None)
    if plain is not None:
        return plain(str(problem.values.get("text", "")))
    return refusal_from_json(problem.error, problem.values) or RemoteError(problem)


def add_problems(app: FastAPI) -> None:
    """Let `app` answer with problems."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, CaimiError):
            raise error
        headers: Mapping[str, str] = {}
        if isinstance(error, (TooManyRequests, Delayed)):
            headers = {"Retry-After": str(int(error.seconds) + 1)}
        status, problem = problem_of(error)
        return JSONResponse(problem.model_dump(), status_code=status, headers=dict(headers))

    async def malformed(request: Request, error: Exception) -> JSONResponse:
        text = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}"
            for e in (error.errors() if isinstance(error, RequestValidationError) else ())
        )
        return await known(request, MalformedRequest(text))

    async def refused_by_framework(request: Request, error: Exception) -> JSONResponse:
        # No such route or method, or a body that cannot be read.
        code, text = (error.status_code, error.detail) if isinstance(error, HTTPException) else (400, str(error))
        return await known(request, NoSuchThing(text) if code == _NOT_FOUND else MalformedRequest(text))

    app.add_exception_handler(CaimiError, known)
    app.add_exception_handler(HTTPException, refused_by_framework)
    app.add_exception_handler(RequestValidationError, malformed)
