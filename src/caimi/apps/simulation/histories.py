"""What the ledgers of a simulation say, for the auditor."""

from __future__ import annotations

from caimi.apps.simulation.world import TOKENS, World
from caimi.protocol.audit import AccountHistory, Completeness, Finding, LaneHistory, RecordHistory, audit

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
    )
