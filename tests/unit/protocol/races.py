"""All orders in which calls and the carrying of events can happen, for tests of what they end in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from caimi.crypto import quorum
from caimi.protocol import locking
from caimi.protocol import registry as registry_module
from caimi.protocol.calls import after_call
from caimi.protocol.publication import State
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import DeadlineNotPassed, InBatch, NotDecided, Refusal, UnknownBatch, UnknownPublication
from caimi.types.primitives import PublicationId, UnixSeconds
from caimi.types.records import Event, Lane, Publication, Revocation
from caimi.wire.chain_ids import chain_hash
from caimi.wire.digests import network_id
from caimi.wire.functions import encode_call
from tests.conformance.scenario import CLOCK_WINDOW, MIN_DEPOSIT, Signer, genesis, key, run_call, word

__all__ = [
    "LANES",
    "LATER",
    "NETWORK",
    "NOW",
    "PUBLISHER",
    "Action",
    "Moment",
    "abort",
    "explore",
    "lock",
    "publication",
    "revoke",
    "signatures_are_recovered_once",
    "states",
    "whole",
]

NOW = UnixSeconds(1_800_000_000)
LATER = UnixSeconds(NOW + 1_000_000)
GENESIS = genesis(word("races"))
NETWORK = network_id(GENESIS)
PUBLISHER = Signer(network=NETWORK, key=key("publisher"), label="publisher")
LANES = tuple(sorted(Lane(chain=chain_hash(f"caimi:{n}"), registry=word(f"registry {n}")) for n in range(3)))

Carried = tuple[int, int, Event]
"""From which registry, to which, what."""


@dataclass(frozen=True, slots=True)
class Action:
    """One call that somebody can make at one registry, once."""

    name: str
    at: int
    call: bytes
    now: UnixSeconds = NOW


@dataclass(frozen=True, slots=True)
class Moment:
    """The registries, what was done and what was carried."""

    registries: tuple[Registry, ...]
    done: frozenset[str]
    carried: frozenset[Carried]

    def key(self) -> object:
        """Equal for moments from which the same can follow: sequence numbers and notes decide nothing."""
        states: list[object] = []
        for registry in self.registries:
            state = registry.state
            records = {i: (r.state, r.revoked, r.deposit, r.awaited) for i, r in state.publications.items()}
            pending = (*state.pending_answers.items(), *state.pending_outcomes.items(), *state.pending_revocations)
            batches = {k: (b.state, b.taken, b.deposits, b.awaited) for k, b in state.batches.items()}
            answers = frozenset(state.pending_batch_answers.items())
            told = frozenset(item.event for item in state.events)
            alone = (frozenset(records.items()), frozenset(pending), frozenset(state.latest.items()))
            states.append((*alone, frozenset(batches.items()), answers, told))
        return tuple(states), self.done, self.carried


@pytest.fixture(autouse=True)
def signatures_are_recovered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # The same few signatures come back in thousands of orders.
    recover = functools.cache(quorum.recover)
    monkeypatch.setattr(quorum, "recover", recover)
    monkeypatch.setattr(registry_module, "recover", recover)
    monkeypatch.setattr(locking, "recover", recover)


def registries(count: int) -> tuple[Registry, ...]:
    made: list[Registry] = []
    for lane in LANES[:count]:
        config = RegistryConfig(lane=lane, genesis=GENESIS, min_deposit=MIN_DEPOSIT, clock_window=CLOCK_WINDOW)
        registry = Registry.create(config)
        registry.state.balances[PUBLISHER.address] = 100
        made.append(registry)
    return tuple(made)


def publication(count: int, **changes: Any) -> Publication:
    """Its home is the first registry."""
    base = PUBLISHER.publication(home=LANES[0], mirror=LANES[1], deadline=NOW + 1_000)
    fields: dict[str, Any] = {"mirrors": LANES[1:count], **changes}
    return PUBLISHER.publication(home=base.home, mirror=base.mirrors[0], deadline=base.deadline, **fields)


def lock(p: Publication, at: int, tag: str = "") -> Action:
    return Action(f"lock{tag} {at}", at, PUBLISHER.lock(p))


def revoke(p: Publication, at: int) -> Action:
    revocation = Revocation(
        at=LANES[at],
        publication=PUBLISHER.identifier(p),
        publisher=PUBLISHER.address,
        reason=at,
        nonce=word(f"revocation {at}"),
        deadline=LATER,
    )
    return Action(f"revoke {at}", at, encode_call("revoke", revocation, PUBLISHER.sign(revocation)))


def abort(p: Publication) -> Action:
    return Action("abort", 0, encode_call("abort", PUBLISHER.identifier(p)), LATER)


@functools.cache
def carry(source: Lane, event: Event, number: int) -> bytes:
    return run_call(NETWORK, source, [event], number)


def following(moment: Moment, actions: tuple[Action, ...]) -> Iterator[Moment]:
    """All moments one step away."""
    for action in actions:
        if action.name not in moment.done:
            try:
                after = after_call(moment.registries[action.at], action.call, now=action.now)
            except (UnknownPublication, UnknownBatch, NotDecided, DeadlineNotPassed, InBatch):
                continue  # not yet
            except Refusal:
                after = moment.registries[action.at]  # nor ever: the action is spent
            yield changed(moment, action.at, after, done=moment.done | {action.name})
    for source, registry in enumerate(moment.registries):
        for item in registry.state.events:
            for at, lane in enumerate(LANES[: len(moment.registries)]):
                carried = (source, at, item.event)
                if lane in item.event.destinations and lane != registry.lane and carried not in moment.carried:
                    call = carry(registry.lane, item.event, item.sequence)
                    after = after_call(moment.registries[at], call, now=NOW)
                    yield changed(moment, at, after, carried=moment.carried | {carried})


def changed(
    moment: Moment,
    at: int,
    registry: Registry,
    *,
    done: frozenset[str] | None = None,
    carried: frozenset[Carried] | None = None,
) -> Moment:
    some = list(moment.registries)
    some[at] = registry
    return Moment(tuple(some), moment.done if done is None else done, moment.carried if carried is None else carried)


def explore(
    count: int, actions: tuple[Action, ...], check: Callable[[Moment], None], *, least: int = 51
) -> list[Moment]:
    """All moments in which nothing more can happen; `check` sees each moment on the way, `least` of them."""
    start = Moment(registries(count), frozenset(), frozenset())
    seen, waiting, ends = {start.key()}, [start], list[Moment]()
    while waiting:
        moment = waiting.pop()
        check(moment)
        last = True
        for after in following(moment, actions):
            last = False
            if (key_ := after.key()) not in seen:
                seen.add(key_)
                waiting.append(after)
        if last:
            ends.append(moment)
    assert len(seen) >= least, "the model has become trivial"
    return ends


def states(moment: Moment, identifier: PublicationId) -> set[State]:
    return {r.state.publications[identifier].state for r in moment.registries}


def whole(moment: Moment) -> None:
    """What holds at every moment: money adds up, and nothing is both committed and aborted."""
    for registry in moment.registries:
        state = registry.state
        assert sum(state.balances.values()) + state.escrowed() == 100
        for record in state.publications.values():
            held = record.deposit > 0
            assert held == (registry is moment.registries[0] and record.state in (State.LOCKED, State.COMMITTED))
    for identifier in moment.registries[0].state.publications:
        found = {
            r.state.publications[identifier].state for r in moment.registries if identifier in r.state.publications
        }
        decided = {State.COMMITTED, State.SUPERSEDED, State.REVOKED}
        assert not (found & decided and State.ABORTED in found)
