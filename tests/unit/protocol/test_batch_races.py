"""Every order in which a batch is locked, answered, decided, carried and taken apart gives each id one outcome."""

from __future__ import annotations

from collections import Counter

import pytest

from caimi.protocol.batches import batch_root
from caimi.protocol.publication import State
from caimi.protocol.taking_out import state_in
from caimi.relay.batch_calls import batch_proof
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Kind, Publication
from caimi.wire.functions import decode_body, encode_call
from tests.conformance.scenario import word
from tests.unit.protocol.races import (
    LANES,
    LATER,
    NOW,
    PUBLISHER,
    Action,
    Moment,
    explore,
    lock,
    publication,
    revoke,
    signatures_are_recovered_once,
)

__all__ = ["signatures_are_recovered_once"]

EARLY = NOW + 1_000
"""Deadline of the first publication; that of the second is later."""
BETWEEN = UnixSeconds(EARLY + 1)


def two() -> tuple[Publication, Publication]:
    first = publication(2, name="first", nonce=word("first"))
    return first, PUBLISHER.publication(
        home=LANES[0], mirror=LANES[1], deadline=UnixSeconds(EARLY + 500), name="second", nonce=word("second")
    )


class Batch:
    """Two publications with deadlines apart, and what can be done with them."""

    def __init__(self) -> None:
        self.publications = two()
        self.ids = tuple(PUBLISHER.identifier(p) for p in self.publications)
        self.root = batch_root(self.ids)

    def lock(self) -> Action:
        signatures = tuple(PUBLISHER.sign(p) for p in self.publications)
        return Action("lock batch", 0, encode_call("lockBatch", self.publications, signatures))

    def answer(self) -> Action:
        return Action("answer batch", 1, encode_call("answerBatch", LANES[0], self.root))

    def abort(self) -> Action:
        return Action("abort batch", 0, encode_call("abortBatch", self.root), LATER)

    def take(self, index: int, at: int, now: UnixSeconds, tag: str = "") -> Action:
        p = self.publications[index]
        call = encode_call("takeOut", p, PUBLISHER.sign(p), batch_proof(LANES[0], self.root, self.ids, index))
        return Action(f"take {index} at {at}{tag}", at, call, now)

    def abort_alone(self, index: int) -> Action:
        return Action(f"abort {index}", 0, encode_call("abort", self.ids[index]), LATER)

    def states(self, moment: Moment, index: int) -> list[State]:
        """What home and mirror say of an id."""
        return [self.state(moment, at, self.ids[index], index) for at in (0, 1)]

    def state(self, moment: Moment, at: int, identifier: PublicationId, index: int) -> State:
        state = moment.registries[at].state
        if (LANES[0], self.root) in state.batches:
            return state_in(state, identifier, batch_proof(LANES[0], self.root, self.ids, index))[1]
        record = state.publications.get(identifier)
        return State.NONE if record is None else record.state

    def check(self, moment: Moment) -> None:
        """What holds at every moment."""
        home = moment.registries[0].state
        assert sum(home.balances.values()) + home.escrowed() == 100
        for index in (0, 1):
            states = set(self.states(moment, index))
            assert not (states & {State.COMMITTED, State.SUPERSEDED, State.REVOKED} and State.ABORTED in states)
        alone = Counter(Bytes32(i.event.subject) for i in home.events if i.event.kind == Kind.OUTCOME)
        for item in home.events:
            if item.event.kind == Kind.BATCH_OUTCOME:
                outcome, _, _, taken = decode_body(Kind.BATCH_OUTCOME, item.event.body)
                if outcome == State.COMMITTED:
                    alone.update(i for index, i in enumerate(self.ids) if not taken >> index & 1)
        assert all(times == 1 for times in alone.values()), "home has decided an id twice"


def test_a_batch_ends_alike_everywhere_whatever_comes_first() -> None:
    batch = Batch()
    actions = (batch.lock(), batch.answer(), batch.abort(), batch.take(0, 1, NOW), batch.take(1, 0, LATER))
    ends = {tuple(tuple(batch.states(end, index)) for index in (0, 1)) for end in explore(2, actions, batch.check)}
    committed, aborted = (State.COMMITTED,) * 2, (State.ABORTED,) * 2
    assert (committed, committed) in ends
    assert (aborted, aborted) in ends


def test_between_the_deadlines_one_goes_alone_and_no_clock_that_runs_back_decides_twice() -> None:
    # Home's clock is in between for the take-outs, and back before the earliest deadline for the mirror's answer.
    batch = Batch()
    actions = (
        batch.lock(),
        batch.answer(),
        batch.take(0, 0, BETWEEN),
        batch.take(1, 0, BETWEEN),
        lock(batch.publications[1], 1),
        batch.abort_alone(1),
    )
    ends = explore(2, actions, batch.check)
    seconds = {tuple(batch.states(end, 1)) for end in ends}
    assert (State.COMMITTED, State.COMMITTED) in seconds
    assert any(end.registries[0].state.publications[batch.ids[0]].state is State.ABORTED for end in ends)
    assert any(end.registries[0].state.publications[batch.ids[0]].state is State.COMMITTED for end in ends)


@pytest.mark.parametrize("at", [0, 1])
def test_a_revocation_of_one_id_reaches_both_registries(at: int) -> None:
    batch = Batch()
    actions = (
        batch.lock(),
        batch.answer(),
        batch.take(0, 0, NOW),
        batch.take(0, 1, NOW),
        revoke(batch.publications[0], at),
    )
    for end in explore(2, actions, batch.check, least=20):
        assert batch.states(end, 0) == [State.REVOKED, State.REVOKED]
        assert batch.states(end, 1) == [State.COMMITTED, State.COMMITTED]
