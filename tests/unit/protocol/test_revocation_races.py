"""Every order in which locks, revocations, outcomes and their carrying can happen ends in the same states."""

from __future__ import annotations

import pytest

from caimi.protocol.publication import State
from tests.conformance.scenario import word
from tests.unit.protocol.races import (
    PUBLISHER,
    abort,
    explore,
    lock,
    publication,
    revoke,
    signatures_are_recovered_once,
    states,
    whole,
)

__all__ = ["signatures_are_recovered_once"]


def test_revoked_at_home_and_at_a_mirror_at_once() -> None:
    p = publication(2)
    actions = (lock(p, 0), lock(p, 1), revoke(p, 0), revoke(p, 1))
    for end in explore(2, actions, whole):
        assert states(end, PUBLISHER.identifier(p)) == {State.REVOKED}


@pytest.mark.parametrize("at", range(3))
def test_revoked_at_one_of_three_registries(at: int) -> None:
    p = publication(3)
    actions = (*(lock(p, n) for n in range(3)), revoke(p, at))
    for end in explore(3, actions, whole):
        assert states(end, PUBLISHER.identifier(p)) == {State.REVOKED}
        told = [i.event.kind for r in end.registries for i in r.state.events].count(7)
        assert told == 1, "only the registry where the signature was given tells"


@pytest.mark.parametrize("at", range(2))
def test_revoked_while_it_may_abort(at: int) -> None:
    p = publication(2)
    actions = (lock(p, 0), lock(p, 1), revoke(p, at), abort(p))
    ends = {frozenset(states(end, PUBLISHER.identifier(p))) for end in explore(2, actions, whole)}
    assert ends == {frozenset({State.REVOKED}), frozenset({State.ABORTED})}, "both can happen, and nothing else"


@pytest.mark.parametrize("at", range(2))
@pytest.mark.parametrize("versions", [(1, 2), (2, 1)])
def test_revoked_beside_another_version(at: int, versions: tuple[int, int]) -> None:
    # The revoked one leaves its name as it would have left it unrevoked, whatever comes first.
    p = publication(2, version=versions[0])
    q = publication(2, version=versions[1], nonce=word("another"))
    actions = (lock(p, 0), lock(p, 1), lock(q, 0, " other"), lock(q, 1, " other"), revoke(p, at))
    other = State.COMMITTED if versions[1] > versions[0] else State.SUPERSEDED
    for end in explore(2, actions, whole):
        assert states(end, PUBLISHER.identifier(p)) == {State.REVOKED}
        assert states(end, PUBLISHER.identifier(q)) == {other}
