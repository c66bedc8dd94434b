"""Running an encoded call on the reference model, as a ledger would."""

from __future__ import annotations

import copy

from caimi.protocol.registry import Registry
from caimi.types.errors import BadEncoding, UnknownFunction
from caimi.types.primitives import UnixSeconds
from caimi.wire.functions import decode_call

__all__ = ["MAX_CALLS", "run_call"]

MAX_CALLS = 1000
"""Most calls in one multicall."""


def run_call(registry: Registry, data: bytes, *, now: UnixSeconds) -> None:
    """Decode and run one call.

    Raises:
        Refusal: Of the decoding or of the call; the registry is unchanged then.
    """
    name, arguments = decode_call(data)
    match name:
        case "lockModel":
            registry.lock_model(*arguments, now=now)
        case "applyRun":
            registry.apply_run(*arguments, now=now)
        case "abort":
            registry.abort(*arguments, now=now)
        case "abortUnlocked":
            registry.abort_unlocked(*arguments, now=now)
        case "withdraw":
            registry.withdraw(*arguments, now=now)
        case "fund":
            registry.fund(*arguments, now=now)
        case "requestInference":
            registry.request_inference(*arguments, now=now)
        case "answerInference":
            registry.answer_inference(*arguments, now=now)
        case "multicall":
            _run_all(registry, arguments[0], now)
        case _:
            raise UnknownFunction


def _run_all(registry: Registry, calls: tuple[bytes, ...], now: UnixSeconds) -> None:
    if len(calls) > MAX_CALLS:
        raise BadEncoding
    before = copy.deepcopy(registry.state)
    try:
        for call in calls:
            if decode_call(call)[0] == "multicall":
                raise BadEncoding
            run_call(registry, call, now=now)
    except Exception:
        registry.state = before
        raise
