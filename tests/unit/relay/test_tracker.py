"""What a transaction's status leads to, and what it never leads to."""

from __future__ import annotations

import dataclasses

import pytest

from caimi.ports.chain import CallStatus, Included, Lost, NotIncluded, Reverted, StatusUnknown
from caimi.ports.relay_store import CallState, RelayStep, TransactionRow, TransactionState
from caimi.protocol.publication import State
from caimi.relay.tracker import judge
from caimi.simulators.chain import SimulatedChain
from caimi.types.primitives import ZERO32, UnixSeconds
from caimi.types.records import Lane
from tests.unit.relay.faulty_ports import Forgetful, SendsNothing, Unknowing
from tests.unit.relay.world import World, run

NOW = UnixSeconds(1000)
SENT = TransactionRow(
    lane=Lane(chain=ZERO32, registry=ZERO32),
    transaction="0x01",
    slot=3,
    raw=b"raw",
    state=TransactionState.SENT,
    height=None,
    cause="",
    prepared=UnixSeconds(900),
    sent=UnixSeconds(901),
    included=None,
    final=None,
)
S, T = RelayStep, TransactionState


@pytest.mark.parametrize(
    ("before", "status", "step", "after"),
    [
        (T.PREPARED, Included(height=7, final=False), S.INCLUDED, T.INCLUDED),
        (T.SENT, Included(height=7, final=False), S.INCLUDED, T.INCLUDED),
        (T.SENT, Included(height=7, final=True), S.DONE, T.DONE),
        (T.INCLUDED, Included(height=7, final=True), S.DONE, T.DONE),
        (T.INCLUDED, NotIncluded(), S.SENT, T.SENT),
        (T.REVERTED, NotIncluded(), S.SENT, T.SENT),
        (T.REVERTED, Included(height=8, final=False), S.INCLUDED, T.INCLUDED),
        (T.SENT, Reverted(cause="x", final=False), S.RETRIED, T.REVERTED),
        (T.SENT, Reverted(cause="x", final=True), S.RETRIED, T.FAILED),
        (T.REVERTED, Reverted(cause="x", final=True), S.RETRIED, T.FAILED),
        (T.INCLUDED, Lost(), S.RETRIED, T.LOST),
        (T.PREPARED, Lost(), S.RETRIED, T.LOST),
    ],
)
def test_status_moves_a_transaction(
    before: TransactionState, status: CallStatus, step: RelayStep, after: TransactionState
) -> None:
    verdict = judge(dataclasses.replace(SENT, state=before), status, NOW)
    assert verdict is not None
    assert (verdict[0], verdict[1].state) == (step, after)


@pytest.mark.parametrize("state", [T.PREPARED, T.SENT, T.INCLUDED, T.REVERTED])
def test_not_knowing_changes_nothing(state: TransactionState) -> None:
    assert judge(dataclasses.replace(SENT, state=state), StatusUnknown(because="?"), NOW) is None


@pytest.mark.parametrize("state", [T.PREPARED, T.SENT])
def test_waiting_changes_nothing(state: TransactionState) -> None:
    assert judge(dataclasses.replace(SENT, state=state), NotIncluded(), NOW) is None


def test_same_inclusion_is_written_once() -> None:
    row = dataclasses.replace(SENT, state=T.INCLUDED, height=7)
    assert judge(row, Included(height=7, final=False), NOW) is None
    moved = judge(row, Included(height=8, final=False), NOW)
    assert moved is not None
    assert moved[1].height == 8


def test_node_that_never_knows_is_no_reason_to_send_something_else() -> None:
    async def scenario() -> None:
        with World(wrap=lambda name, port: Unknowing(port)) as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            for _ in range(30):
                await world.step()
            for name in world.ledgers:
                transactions = world.stores[0].transactions(world.lane(name), list(T))
                calls = {c.key for c in world.stores[0].calls(world.lane(name), CallState.BOUND, 100)}
                assert {t.state for t in transactions} == {T.SENT}
                assert len(calls) == sum(len(world.stores[0].calls_in(t.lane, t.transaction)) for t in transactions)
            sent = [len(block.transactions) for block in world.ledgers["fabric"].blocks]
            assert sum(sent) == 3, "fund, lock and one run, each once"
            assert world.all_at(State.COMMITTED, identifier)

    run(scenario())


def test_broken_line_is_answered_with_the_same_bytes() -> None:
    async def scenario() -> None:
        ports: list[SendsNothing] = []

        def wrap(name: str, port: SimulatedChain) -> SendsNothing:
            ports.append(SendsNothing(port))
            return ports[-1]

        with World(wrap=wrap) as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.step()
            before = {
                t.transaction for n in world.ledgers for t in world.stores[0].transactions(world.lane(n), list(T))
            }
            assert {p.is_broken for p in ports} == {0}
            await world.step()
            await world.step()
            assert world.state("fabric", identifier) is State.LOCKED, "handed over again at once"
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            after = {t.transaction for n in world.ledgers for t in world.stores[0].transactions(world.lane(n), list(T))}
            assert before <= after
            locks = [world.stores[0].call(f"lock/{identifier.hex()}/{name}") for name in world.ledgers]
            assert {lock.transaction for lock in locks if lock} == before

    run(scenario())


def test_forgotten_transaction_is_sent_again_at_once() -> None:
    async def scenario() -> None:
        with World(wrap=lambda name, port: Forgetful(port)) as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.relays[0].turn()
            await world.relays[0].turn()
            (before,) = world.stores[0].transactions(world.lane("fabric"), [T.SENT])
            world.ledgers["fabric"].drop_pool()
            await world.step()
            await world.step()
            # Not after the ten seconds that a transaction may wait in a pool.
            assert world.state("fabric", identifier) is State.LOCKED
            (lock,) = world.stores[0].calls_in(before.lane, before.transaction)
            assert lock.transaction == before.transaction, "the same bytes"

    run(scenario())


def test_dropped_transaction_is_sent_again_after_a_while() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.relays[0].turn()
            await world.relays[0].turn()
            for ledger in world.ledgers.values():
                ledger.drop_pool()
            for _ in range(9):
                await world.step()
            assert world.state("fabric", identifier) is State.NONE
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            transactions = world.stores[0].transactions(world.lane("fabric"), list(T))
            assert {t.state for t in transactions} <= {T.DONE}

    run(scenario())
