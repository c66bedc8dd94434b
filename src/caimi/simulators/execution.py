"""Runs a call of any ledger (spec 10 §2) on the reference model of a registry."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryState
from caimi.types.errors import RunTooLong, UnknownFunction
from caimi.types.primitives import UnixSeconds
from caimi.wire.functions import decode_call

__all__ = ["copy_registry", "execute"]

_MAX_CALLS: Final = 1_000
_METHODS: Final = {
    "lockModel": "lock_model",
    "applyRun": "apply_run",
    "abort": "abort",
    "abortUnlocked": "abort_unlocked",
    "withdraw": "withdraw",
    "fund": "fund",
    "requestInference": "request_inference",
    "answerInference": "answer_inference",
}


def copy_registry(registry: Registry) -> Registry:
    """A registry that can be changed without changing the first."""
    state = registry.state
    copied: dict[str, Any] = {}
    for field in dataclasses.fields(RegistryState):
        value = getattr(state, field.name)
        copied[field.name] = value.copy() if isinstance(value, (dict, list, set)) else value
    # All other values are frozen.
    copied["publications"] = {k: dataclasses.replace(v) for k, v in state.publications.items()}
    copied["requests"] = {k: dataclasses.replace(v) for k, v in state.requests.items()}
    return Registry(RegistryState(**copied), registry.network)


def execute(registry: Registry, call: bytes, *, now: UnixSeconds) -> Registry:
    """The registry after the call; the one given is left as it is.

    Raises:
        Refusal: What the registry says; `UnknownFunction` for the functions of the board, which the model lacks.
    """
    changed = copy_registry(registry)
    name, arguments = decode_call(call)
    if name != "multicall":
        _run(changed, name, arguments, now)
        return changed
    calls: tuple[bytes, ...] = arguments[0]
    if len(calls) > _MAX_CALLS:
        raise RunTooLong(_MAX_CALLS, len(calls))
    for inner in calls:
        inner_name, inner_arguments = decode_call(inner)
        _run(changed, inner_name, inner_arguments, now)
    return changed


def _run(registry: Registry, name: str, arguments: tuple[Any, ...], now: UnixSeconds) -> None:
    method = _METHODS.get(name)
    if method is None:
        raise UnknownFunction
    getattr(registry, method)(*arguments, now=now)
