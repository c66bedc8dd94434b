"""Reading what an auditor needs from a ledger, and nothing else: final events, records, money."""

from __future__ import annotations

from collections.abc import Mapping

from caimi.ports.chain import ChainReader
from caimi.protocol.audit import AccountHistory, LaneHistory, RecordHistory
from caimi.types.primitives import Address, PublicationId, Sequence
from caimi.types.records import Item, Kind

__all__ = ["Funds", "read_history"]

_PAGE = 256

Funds = Mapping[Address, int]
"""What each account put in, less what it took out, by the auditor's own books; in the token's smallest unit."""


async def read_history(reader: ChainReader, *, name: str, funds: Funds) -> LaneHistory:
    """Everything that one registry says, read from its ledger alone.

    Raises:
        ChainUnavailable, SourcesDisagree: Ask again later.
    """
    items: list[Item] = []
    while page := await reader.events(Sequence(len(items) + 1), _PAGE):
        items += [event.item for event in page]
    named = {PublicationId(i.event.subject) for i in items if i.event.kind in (Kind.LOCKED, Kind.REFUSED, Kind.OUTCOME)}
    records: dict[PublicationId, RecordHistory] = {}
    for identifier in sorted(named):
        view = await reader.publication(identifier)
        if view is not None:
            records[identifier] = RecordHistory(
                role=view.role,
                state=view.state,
                publisher=view.publisher,
                home=view.home,
                mirrors=view.mirrors,
                deposit=view.deposit,
            )
    accounts = {
        account: AccountHistory(funded=amount, withdrawn=0, balance=await reader.balance(account))
        for account, amount in funds.items()
    }
    return LaneHistory(name=name, lane=reader.lane, items=tuple(items), records=records, accounts=accounts)
