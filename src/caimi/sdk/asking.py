"""One question to a model from its beginning to its answer; taken up where an interrupted one stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from caimi.bundle.tensors import encode_tensors
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.tracing import working_on
from caimi.protocol.publication import State
from caimi.sdk import inference
from caimi.sdk.batches import proof_of, state_of, take_out
from caimi.sdk.connections import Connections
from caimi.sdk.drafts import DraftFolder, request_draft_name
from caimi.sdk.errors import (
    NotAnswered,
    NotServed,
    NotServedYet,
    RefusedByRegistry,
    UnknownName,
    UnprovenAnswer,
    UnreadableInput,
)
from caimi.sdk.json_fields import hex_text
from caimi.types.primitives import PublicationId, UnixSeconds

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Question", "ask"]

_ATTEMPTS: Final = 3
"""How often an input is sealed anew to a host that was started again."""
_AFTER_DEADLINE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of whom, by whom, where."""

    publication: PublicationId
    inputs: Mapping[str, np.ndarray[Any, Any]]
    lane: str
    account: SigningKey
    deadline_s: int
    """From now, by the lane's clock."""


async def ask(
    connections: Connections,
    question: Question,
    *,
    drafts: DraftFolder | None,
    progress: Callable[[str], None],
) -> inference.Inference:
    """Ask and wait. See `Client.infer`."""
    await _make_usable(connections, question, progress)
    payload = encode_tensors(inference.tensors_of(question.inputs))
    at = connections.network.lane(question.lane).lane
    name = request_draft_name(
        consumer=question.account.address,
        at=at.chain + at.registry,
        publication=question.publication,
        payload=payload,
    )
    attempts = 1
    while True:
        try:
            return await _ask_once(connections, question, payload, name, drafts, progress)
        except UnreadableInput:
            if attempts == _ATTEMPTS:
                raise
        attempts += 1
        progress("asks again: the host was started again and cannot read the input any more")


async def _ask_once(
    connections: Connections,
    question: Question,
    payload: bytes,
    name: str,
    drafts: DraftFolder | None,
    progress: Callable[[str], None],
) -> inference.Inference:
    now = await connections.clock(question.lane)
    draft = drafts.take_request(name) if drafts else None
    if draft is not None and draft.request.deadline > now:
        pending = await inference.resume(connections, draft, payload, account=question.account)
        progress(f"takes up request 0x{pending.id.hex()} of before")
    else:
        pending = await inference.request(
            connections,
            question.publication,
            question.inputs,
            lane=question.lane,
            account=question.account,
            deadline=UnixSeconds(now + question.deadline_s),
            keep=None if drafts is None else lambda fresh: drafts.keep_request(name, fresh),
        )
    timeout = max(0.0, pending.request.deadline - now) + _AFTER_DEADLINE_S
    try:
        with working_on(pending.id):
            await inference.wait_answered(
                connections, pending, timeout_s=timeout, progress=lambda text: progress(f"waits for {text}")
            )
            answered = await inference.finish(connections, pending, lane=question.lane)
    except (NotAnswered, RefusedByRegistry, UnprovenAnswer):
        # Nothing better will ever come of this request.
        if drafts is not None:
            drafts.drop(name)
        raise
    return dataclasses.replace(answered, draft=name if drafts else None)


async def _make_usable(connections: Connections, question: Question, progress: Callable[[str], None]) -> None:
    # The registry would refuse it too, after the input was sealed and stored for nothing.
    view = await connections.reader(question.lane).publication(question.publication)
    if view is not None and view.state is State.COMMITTED:
        return
    try:
        row = await connections.relay.get(f"/v1/publications/{hex_text(question.publication)}")
    except UnknownName:
        proof, lanes = None, (question.lane,)
    else:
        # Validators release a key by the record at home (spec 37 §4).
        proof, lanes = proof_of(connections, row), tuple(dict.fromkeys((row.text("home"), question.lane)))
    state = await state_of(connections, question.publication, proof, question.lane)
    if state is State.COMMITTED:
        await take_out(connections, question.publication, lanes, progress)
        return
    kind = NotServedYet if state in (State.NONE, State.LOCKED) else NotServed
    raise kind(f"it is {state.name} on {question.lane}")
