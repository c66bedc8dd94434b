"""One trace id for each workflow, from the command line to the receipt (spec 00 §6).

The id of a publication or request is known to everybody who works on it, so the trace id is made of it: nobody has to
pass one on for two processes to use the same. What is passed on over HTTP, as W3C Trace Context and Baggage, tells a
process for which ids it is asked something that names none. It is for logs only: nothing is decided by it, and whatever
is malformed in it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from caimi.types.primitives import Bytes32

__all__ = ["MOST_IDS", "TraceContext", "current_trace", "trace_headers", "trace_of", "traced", "working_on"]

MOST_IDS: Final = 64
"""How many ids are passed on; a run carries no more events."""
_BAGGAGE: Final = "caimi.ids"
_LONGEST_BAGGAGE: Final = 8_192
_TRACE_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_IDS: Final = re.compile(r"[0-9a-f]{64}(?:\.[0-9a-f]{64})*")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SPAN_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """For what something is done."""

    trace: str
    """32 hex digits: of the first id, or what a caller said."""
    ids: tuple[Bytes32, ...]
    """Publications and requests, at most `MOST_IDS`; none if a caller named none."""


_current: ContextVar[TraceContext | None] = ContextVar("caimi_trace", default=None)


def trace_of(identifier: Bytes32) -> str:
    """The trace id of a publication or request: the first 16 bytes of its id, as 32 hex digits."""
    trace = identifier[:16].hex()
    # Trace Context has no trace of zeros.
    return trace if trace != _NO_TRACE else _NO_TRACE[:-1] + "1"


def current_trace() -> TraceContext | None:
    """For what the present task works, None if for nothing in particular."""
    return _current.get()


@contextmanager
def working_on(*identifiers: Bytes32) -> Generator[None]:
    """Within the block the present task, and tasks that it starts, work on these; without any, as before."""
    ids = identifiers[:MOST_IDS]
    context = TraceContext(trace=trace_of(ids[0]), ids=ids) if ids else _current.get()
    with _within(context):
        yield


@contextmanager
def traced(headers: Mapping[str, str]) -> Generator[None]:
    """Within the block the present task works on what an HTTP request's headers (in lower case) name."""
    with _within(_read(headers.get("traceparent", ""), headers.get("baggage", ""))):
        yield


def trace_headers(entropy: Callable[[int], bytes]) -> dict[str, str]:
    """Headers of an HTTP request that the present task sends; none if it works on nothing in particular.

    Arguments:
        entropy: gives so many random bytes, for the id of the call; they need not be secret.
    """
    context = _current.get()
    if context is None:
        return {}
    span = entropy(_SPAN_BYTES).hex()
    headers = {"traceparent": f"00-{context.trace}-{span if span != _NO_SPAN else _NO_SPAN[:-1] + '1'}-01"}
    if context.ids:
        headers["baggage"] = f"{_BAGGAGE}={'.'.join(identifier.hex() for identifier in context.ids)}"
    return headers


@contextmanager
def _within(context: TraceContext | None) -> Generator[None]:
    before = _current.set(context)
    try:
        yield
    finally:
        _current.reset(before)


def _read(parent: str, baggage: str) -> TraceContext | None:
    ids = _read_ids(baggage)
    found = _TRACE_PARENT.fullmatch(parent)
    # Version 00 ends after its flags, ff is none; what later ones add is not read.
    known = found is not None and found[1] != "ff" and (found[1] != "00" or found[4] is None)
    if found is not None and known and found[2] != _NO_TRACE and found[3] != _NO_SPAN:
        return TraceContext(trace=found[2], ids=ids)
    return TraceContext(trace=trace_of(ids[0]), ids=ids) if ids else None


def _read_ids(baggage: str) -> tuple[Bytes32, ...]:
    if len(baggage) > _LONGEST_BAGGAGE:
        return ()
    for member in baggage.split(","):
        name, _, value = member.partition(";")[0].partition("=")
        text = value.strip()
        if name.strip() == _BAGGAGE and _IDS.fullmatch(text):
            return tuple(Bytes32(bytes.fromhex(one)) for one in text.split(".")[:MOST_IDS])
    return ()
