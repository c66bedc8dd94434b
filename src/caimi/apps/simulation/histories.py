"""What the ledgers of a simulation say, for the auditor."""

from __future__ import annotations

from caimi.apps.simulation.world import TOKENS, World
from caimi.protocol.audit import AccountHistory, Completeness, Finding, LaneHistory, RecordHistory, audit
from caimi.protocol.audit_batches import BatchHistory
from caimi.protocol.publication import Role

__all__ = ["audit_ledgers"]


def audit_ledgers(world: World) -> tuple[Finding, ...]:
    """The auditor's findings, as if everything had to have ended."""
    every = frozenset(ledger.lane for ledger in world.ledgers.values())
    return audit([_history(world, name) for name in world.ledgers], finished=Completeness(every))


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
        accounts={account: AccountHistory(funded=TOKENS, withdrawn=0, balance=state.balances.get(account, 0))},
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
