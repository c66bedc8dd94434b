"""Reading what an auditor needs from a ledger, and nothing else: final events, records, money."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from caimi.ports.chain import ChainReader
from caimi.protocol.audit import AccountHistory, LaneHistory, RecordHistory
from caimi.protocol.audit_batches import BatchHistory
from caimi.types.primitives import Address, Bytes32, PublicationId, Sequence
from caimi.types.records import Item, Kind, Lane
from caimi.wire.functions import decode_body

__all__ = ["Funds", "read_history"]

_PAGE = 256

Funds = Mapping[Address, int]
"""What each account put in, less what it took out, by the auditor's own books; in the token's smallest unit."""


async def read_history(
    reader: ChainReader, *, name: str, funds: Funds, also: Collection[PublicationId] = ()
) -> LaneHistory:
    """Everything that one registry says, read from its ledger alone.

    Arguments:
        also: ids of batches of other homes, which a mirror's ledger does not name.

    Raises:
        ChainUnavailable, SourcesDisagree: Ask again later.
    """
    items: list[Item] = []
    while page := await reader.events(Sequence(len(items) + 1), _PAGE):
        items += [event.item for event in page]
    named = {PublicationId(i.event.subject) for i in items if i.event.kind in (Kind.LOCKED, Kind.REFUSED, Kind.OUTCOME)}
    batches = await _batches(reader, items)
    named |= {identifier for batch in batches.values() for identifier in batch.ids} | set(also)
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
    return LaneHistory(
        name=name, lane=reader.lane, items=tuple(items), records=records, accounts=accounts, batches=batches
    )


async def _batches(reader: ChainReader, items: Collection[Item]) -> dict[tuple[Lane, Bytes32], BatchHistory]:
    told: dict[tuple[Lane, Bytes32], tuple[Lane, ...]] = {}
    for item in items:
        event = item.event
        if event.kind == Kind.BATCH_LOCKED:
            told[reader.lane, event.subject] = event.destinations
        elif event.kind == Kind.BATCH_ANSWERED:
            told[decode_body(Kind.BATCH_ANSWERED, event.body)[1], event.subject] = ()
    found: dict[tuple[Lane, Bytes32], BatchHistory] = {}
    for (home, root), mirrors in told.items():
        view = await reader.batch(home, root)
        if view is not None:
            ids = await reader.batch_ids(root) if home == reader.lane else None
            found[home, root] = BatchHistory(
                role=view.role,
                state=view.state,
                taken=view.taken,
                mirrors=mirrors,
                ids=ids or (),
                deposits=view.deposits,
            )
    return found
