"""Running an encoded call (spec 10 §2) on the reference model, as a ledger would: all of it, or nothing."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryState
from caimi.types.errors import BadEncoding, UnknownFunction
from caimi.types.primitives import UnixSeconds
from caimi.wire.functions import decode_call

__all__ = ["MAX_CALLS", "after_call", "copy_registry", "run_call"]

MAX_CALLS: Final = 1000
"""Most calls in one multicall."""
_METHODS: Final = {
    "lockModel": "lock_model",
    "applyRun": "apply_run",
    "abort": "abort",
    "abortUnlocked": "abort_unlocked",
    "lockBatch": "lock_batch",
    "answerBatch": "answer_batch",
    "abortBatch": "abort_batch",
    "takeOut": "take_out",
    "revoke": "revoke",
    "pause": "pause",
    "resume": "resume",
    "govern": "govern",
    "changeSet": "change_set",
    "enterSet": "enter_set",
    "retireSet": "retire_set",
    "withdraw": "withdraw",
    "fund": "fund",
    "requestInference": "request_inference",
    "answerInference": "answer_inference",
}


def run_call(registry: Registry, data: bytes, *, now: UnixSeconds) -> None:
    """Decode and run one call.

    Raises:
        Refusal: Of the decoding or of the call; the registry is unchanged then. `UnknownFunction` also for the
            functions of the board, which the model lacks.
    """
    name, arguments = decode_call(data)
    if name == "multicall":
        # A registry makes sure itself that one call does nothing or all; several need a copy.
        changed = copy_registry(registry)
        _run_all(changed, arguments[0], now)
        registry.state = changed.state
    else:
        _run_one(registry, name, arguments, now)


def after_call(registry: Registry, data: bytes, *, now: UnixSeconds) -> Registry:
    """The registry after the call; the one given is left as it is. Raises as `run_call`."""
    name, arguments = decode_call(data)
    changed = copy_registry(registry)
    if name == "multicall":
        _run_all(changed, arguments[0], now)
    else:
        _run_one(changed, name, arguments, now)
    return changed


def copy_registry(registry: Registry) -> Registry:
    """A registry that can be changed without changing the first."""
    # Containers and the records that change are copied; all other values are frozen and shared.
    state = registry.state
    copied: dict[str, Any] = {}
    for field in dataclasses.fields(RegistryState):
        value = getattr(state, field.name)
        copied[field.name] = value.copy() if isinstance(value, (dict, list, set)) else value
    copied["publications"] = {k: dataclasses.replace(v) for k, v in state.publications.items()}
    copied["batches"] = {k: dataclasses.replace(v) for k, v in state.batches.items()}
    copied["requests"] = {k: dataclasses.replace(v) for k, v in state.requests.items()}
    return Registry(RegistryState(**copied), registry.network)


def _run_all(registry: Registry, calls: tuple[bytes, ...], now: UnixSeconds) -> None:
    if len(calls) > MAX_CALLS:
        raise BadEncoding
    for call in calls:
        name, arguments = decode_call(call)
        if name == "multicall":
            raise BadEncoding
        _run_one(registry, name, arguments, now)


def _run_one(registry: Registry, name: str, arguments: tuple[Any, ...], now: UnixSeconds) -> None:
    method = _METHODS.get(name)
    if method is None:
        raise UnknownFunction
    getattr(registry, method)(*arguments, now=now)
