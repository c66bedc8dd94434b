"""Every pair that the table lacks is refused; the table itself obeys the rules of spec 30."""

from __future__ import annotations

from itertools import product

import pytest

from caimi.protocol.decision import advance
from caimi.protocol.publication import TRANSITIONS, Input, Role, State, step
from caimi.protocol.registry_state import PublicationRecord
from caimi.types.errors import AlreadyDecided
from caimi.types.primitives import Address, UnixSeconds
from caimi.types.records import Lane

PAIRS = list(product(Role, State, Input))
LANE = Lane(chain=bytes(32), registry=bytes(32))  # pyright: ignore[reportArgumentType]


def record(role: Role, state: State) -> PublicationRecord:
    return PublicationRecord(
        role=role,
        state=state,
        publisher=Address(bytes(20)),
        name="a",
        version=1,
        home=LANE,
        mirrors=(),
        deposit=0,
        deadline=UnixSeconds(0),
        awaited=0,
    )


@pytest.mark.parametrize(("role", "state", "happened"), [p for p in PAIRS if p not in TRANSITIONS])
def test_rejects_absent_transition(role: Role, state: State, happened: Input) -> None:
    subject = record(role, state)
    with pytest.raises(AlreadyDecided) as caught:
        advance(subject, happened)
    assert caught.value.values == (state,)
    assert subject.state is state


@pytest.mark.parametrize(("role", "state", "happened"), list(TRANSITIONS))
def test_present_transition(role: Role, state: State, happened: Input) -> None:
    subject = record(role, state)
    advance(subject, happened)
    assert subject.state is TRANSITIONS[role, state, happened] is step(role, state, happened)


def test_nothing_leaves_aborted_or_revoked() -> None:
    assert not [p for p in TRANSITIONS if p[1] in (State.ABORTED, State.REVOKED)]


def test_superseded_is_left_by_a_revocation_only() -> None:
    assert {p[2] for p in TRANSITIONS if p[1] is State.SUPERSEDED} == {Input.REVOKED}


def test_mirrors_have_no_clock() -> None:
    assert not [p for p in TRANSITIONS if p[0] is Role.MIRROR and p[2] in (Input.DEADLINE, Input.NEVER_LOCKED)]


def test_committed_never_becomes_aborted() -> None:
    reachable = {State.COMMITTED}
    for _ in State:
        reachable |= {after for (_, before, _), after in TRANSITIONS.items() if before in reachable}
    assert State.ABORTED not in reachable
