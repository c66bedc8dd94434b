"""What the ledgers of a simulation say, for the auditor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from caimi.apps.simulation.world import TOKENS, World
from caimi.protocol.audit import AccountHistory, Completeness, Finding, LaneHistory, RecordHistory, audit
from caimi.protocol.audit_batches import BatchHistory
from caimi.protocol.publication import Role, State
from caimi.types.records import Lane

__all__ = ["audit_ledgers", "dropped_lanes"]

_EXPLAINED: Final = ("split", "uncaused-commit", "unfinished", "revoked-untold", "foreign-decision")


def audit_ledgers(world: World) -> tuple[Finding, ...]:
    """The auditor's findings, as if everything had to have ended.

    Left out is what a chain that broke its promise explains (spec 35 §3): what it had told in blocks that it took back
    stays told; and what waits for a lane that governance dropped waits for ever.
    """
    dropped = dropped_lanes(world)
    every = frozenset(ledger.lane for ledger in world.ledgers.values()) - dropped
    found = audit([_history(world, name) for name in world.ledgers], finished=Completeness(every))
    untold = {_shown(subject) for subject in _taken_back(world)}
    waiting = {_shown(subject) for subject in _waits_for(world, dropped)}
    return tuple(
        finding
        for finding in found
        if not (finding.rule in _EXPLAINED and finding.subject in untold)
        and not (finding.rule == "unfinished" and finding.subject in waiting)
    )


def dropped_lanes(world: World) -> frozenset[Lane]:
    """Lanes that the root registry's governance dropped."""
    governed = next(state.governed for state in world.registries().values() if state.config.lane == world.root)
    return frozenset(lane for lane, decided in governed.items() if decided.dropped)


def _taken_back(world: World) -> Iterable[bytes]:
    # Publications, and batches with all that is in them, of which events were taken back that had been final.
    for ledger in world.ledgers.values():
        for block in ledger.taken_back:
            for event in block.events:
                subject = event.item.event.subject
                yield subject
                yield from block.registry.state.batch_ids.get(subject, ())


def _waits_for(world: World, dropped: frozenset[Lane]) -> Iterable[bytes]:
    for state in world.registries().values():
        for identifier, record in state.publications.items():
            # A revocation that is told by a dropped lane alone reaches nobody, whatever the home.
            told_there = record.state is not State.LOCKED and dropped.intersection(record.mirrors)
            if record.home in dropped or told_there:
                yield identifier
        yield from (root for home, root in state.batches if home in dropped)
        for root, ids in state.batch_ids.items():
            if any(home in dropped for home, at in state.batches if at == root):
                yield from ids


def _shown(value: bytes) -> str:
    return "0x" + value.hex()


def _history(world: World, name: str) -> LaneHistory:
    state = world.ledgers[name].tip.registry.state
    account = world.publisher.address
    return LaneHistory(
        name=name,
        lane=state.config.lane,
        items=tuple(state.events),
        records={
            i: RecordHistory(
                role=p.role, state=p.state, publisher=p.publisher, home=p.home, mirrors=p.mirrors, deposit=p.deposit
            )
            for i, p in state.publications.items()
        },
        accounts={
            account: AccountHistory(
                funded=TOKENS, withdrawn=state.tokens.get(account, 0), balance=state.balances.get(account, 0)
            )
        },
        batches={
            key: BatchHistory(
                role=b.role,
                state=b.state,
                taken=b.taken,
                mirrors=b.mirrors,
                ids=state.batch_ids.get(key[1], ()) if b.role is Role.HOME else (),
                deposits=b.deposits,
                # There is one publisher.
                held={account: b.deposits},
            )
            for key, b in state.batches.items()
        },
    )
