"""A question goes on where it was interrupted, and is sealed anew to a host that was started again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.publication import State
from caimi.sdk import asking, inference
from caimi.sdk.asking import Question, ask
from caimi.sdk.connections import Connections
from caimi.sdk.drafts import DraftFolder, RequestDraft
from caimi.sdk.errors import (
    InputRefused,
    NotAnswered,
    NotServed,
    NotServedYet,
    RefusedByRegistry,
    ServiceUnavailable,
    TakesTooLong,
    UnknownName,
    UnprovenAnswer,
    UnreadableInput,
)
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from tests.unit.sdk.network_fixture import a_network
from tests.unit.sdk.receipt_fixture import receipt_file

_NETWORK = a_network(Path("/nowhere"))
_ACCOUNT = SigningKey.from_entropy(Bytes32(b"\x01" * 32))


class _World:
    """Requests that are made and taken up, and what becomes of them."""

    network = _NETWORK

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *ends: BaseException | None, state: State | None = State.COMMITTED
    ):
        self.ends = list(ends)
        self.state = state
        self.now = 1_000
        self.made: list[RequestDraft] = []
        self.resumed: list[RequestDraft] = []
        for name in ("request", "resume", "wait_answered", "finish"):
            monkeypatch.setattr(inference, name, getattr(self, f"_{name}"))

    @property
    def relay(self) -> Any:
        async def unknown(path: str) -> Any:
            raise UnknownName(path)

        return SimpleNamespace(get=unknown)

    def reader(self, name: str) -> Any:
        async def publication(identifier: bytes) -> Any:
            return None if self.state is None else SimpleNamespace(state=self.state)

        return SimpleNamespace(publication=publication)

    async def clock(self, name: str) -> UnixSeconds:
        return UnixSeconds(self.now)

    async def _request(self, *_: Any, deadline: UnixSeconds, keep: Any, **__: Any) -> Any:
        file = receipt_file()
        draft = RequestDraft(
            request=replace(file.request, deadline=deadline, nonce=Bytes32(bytes([len(self.made)]) * 32)),
            host_key=file.host_key,
            operator_signature=file.operator_signature,
            input_salt=Bytes32(b"\x02" * 32),
            client_secret=Bytes32(b"\x03" * 32),
        )
        self.made.append(draft)
        if keep is not None:
            keep(draft)
        return SimpleNamespace(id=draft.request.nonce, request=draft.request)

    async def _resume(self, _: Any, draft: RequestDraft, payload: bytes, *, account: SigningKey) -> Any:
        self.resumed.append(draft)
        return SimpleNamespace(id=draft.request.nonce, request=draft.request)

    async def _wait_answered(self, _: Any, pending: Any, *, timeout_s: float, progress: Any) -> None:
        end = self.ends.pop(0)
        if end is not None:
            raise end

    async def _finish(self, _: Any, pending: Any, *, lane: str) -> inference.Inference:
        file: Any = receipt_file()
        return inference.Inference(
            outputs={}, output_payload=b"", input_payload=b"", file=file, verification=cast(Any, None)
        )


def _ask(world: _World, drafts: DraftFolder | None, *, value: float = 1.0, told: list[str] | None = None) -> Any:
    question = Question(
        publication=PublicationId(Bytes32(b"\x0a" * 32)),
        inputs={"x": np.full((1,), value, dtype=np.float32)},
        lane="fabric",
        account=_ACCOUNT,
        deadline_s=600,
    )
    progress = (told if told is not None else []).append
    return asyncio.run(ask(cast(Connections, world), question, drafts=drafts, progress=progress))


@pytest.fixture
def drafts(tmp_path: Path) -> DraftFolder:
    return DraftFolder(tmp_path, b"password")


def _kept(tmp_path: Path) -> int:
    return len(list(tmp_path.glob("*.draft")))


def test_an_answer_keeps_its_draft_until_it_is_stored(
    monkeypatch: pytest.MonkeyPatch, drafts: DraftFolder, tmp_path: Path
) -> None:
    answered = _ask(_World(monkeypatch, None), drafts)
    assert _kept(tmp_path) == 1
    drafts.drop(answered.draft)
    assert _kept(tmp_path) == 0


@pytest.mark.parametrize(
    "end", [TakesTooLong("600 s"), ServiceUnavailable("the relay"), asyncio.CancelledError()], ids=repr
)
def test_an_interrupted_question_goes_on_with_the_same_request(
    monkeypatch: pytest.MonkeyPatch, drafts: DraftFolder, end: BaseException
) -> None:
    world, told = _World(monkeypatch, end, None), list[str]()
    with pytest.raises(type(end)):
        _ask(world, drafts)
    _ask(world, drafts, told=told)
    assert (len(world.made), world.resumed) == (1, world.made)
    assert told == [f"takes up request 0x{'00' * 32} of before"]


def test_another_input_is_another_request(monkeypatch: pytest.MonkeyPatch, drafts: DraftFolder) -> None:
    world = _World(monkeypatch, TakesTooLong("600 s"), None)
    with pytest.raises(TakesTooLong):
        _ask(world, drafts)
    _ask(world, drafts, value=2.0)
    assert (len(world.made), len(world.resumed)) == (2, 0)


def test_a_request_whose_deadline_has_passed_is_made_anew(monkeypatch: pytest.MonkeyPatch, drafts: DraftFolder) -> None:
    world = _World(monkeypatch, TakesTooLong("600 s"), None)
    with pytest.raises(TakesTooLong):
        _ask(world, drafts)
    world.now = world.made[0].request.deadline
    _ask(world, drafts)
    assert (len(world.made), len(world.resumed)) == (2, 0)


@pytest.mark.parametrize(
    "end",
    [NotAnswered("expired"), InputRefused("WrongShape"), RefusedByRegistry("NonceUsed"), UnprovenAnswer("broken")],
)
def test_what_will_never_be_answered_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, drafts: DraftFolder, tmp_path: Path, end: Exception
) -> None:
    with pytest.raises(type(end)):
        _ask(_World(monkeypatch, end), drafts)
    assert _kept(tmp_path) == 0


def test_an_input_that_the_host_cannot_read_any_more_is_sealed_anew(
    monkeypatch: pytest.MonkeyPatch, drafts: DraftFolder
) -> None:
    world, told = _World(monkeypatch, UnreadableInput("x"), UnreadableInput("x"), None), list[str]()
    _ask(world, drafts, told=told)
    assert (len(world.made), len(world.resumed)) == (3, 0)
    assert told == ["asks again: the host was started again and cannot read the input any more"] * 2


def test_rejects_a_host_that_never_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, *[UnreadableInput("x")] * 9)
    with pytest.raises(UnreadableInput):
        _ask(world, None)
    assert len(world.made) == asking._ATTEMPTS


@pytest.mark.parametrize("state", [None, *(s for s in State if s is not State.COMMITTED)])
def test_rejects_a_publication_that_is_not_committed_there(
    monkeypatch: pytest.MonkeyPatch, state: State | None
) -> None:
    world = _World(monkeypatch, None, state=state)
    with pytest.raises(NotServed, match=f"it is {'NONE' if state is None else state.name} on fabric") as caught:
        _ask(world, None)
    # What is decided stays so; what is not may be worth waiting for.
    assert isinstance(caught.value, NotServedYet) is (state in (None, State.NONE, State.LOCKED))
    assert not world.made
