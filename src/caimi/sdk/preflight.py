"""What home would refuse at once, found out before minutes of upload. The ledger has the last word."""

from __future__ import annotations

import asyncio
from typing import Final

from caimi.ports.chain import PublicationView
from caimi.protocol.publication import AbortReason
from caimi.sdk.connections import Connections
from caimi.sdk.publishing import Offer, SignedPublication
from caimi.types.errors import LowBalance, NameTaken, SmallDeposit
from caimi.types.primitives import Address, PublicationId

__all__ = ["check_at_home", "counts_still"]

_LOOKED_AT: Final = 100
"""Newest publications of the relay among which a taken name is looked for."""


async def check_at_home(connections: Connections, offer: Offer, publisher: Address) -> None:
    """Compare an offer with what its home holds now.

    Raises:
        SmallDeposit: Less than home takes.
        LowBalance: The publisher cannot pay the deposit.
        NameTaken: He has locked this name and version before, as far as the relay's newest publications show.
        UnknownName, ServiceUnavailable, ChainError: It cannot be found out.
    """
    home = connections.network.lane_name(offer.home)
    least = connections.network.lane(home).min_deposit
    if offer.deposit < least:
        raise SmallDeposit(least, offer.deposit)
    reader = connections.reader(home)
    has = await reader.balance(publisher)
    if has < offer.deposit:
        raise LowBalance(offer.deposit, has)
    rows = await connections.relay.get_list("/v1/publications", limit=str(_LOOKED_AT))
    mine = [PublicationId(row.bytes32("id")) for row in rows if row.text("home") == home]
    views = await asyncio.gather(*(reader.publication(identifier) for identifier in mine))
    if any(_takes_name(view, offer, publisher) for view in views if view is not None):
        raise NameTaken


async def counts_still(connections: Connections, signed: SignedPublication) -> bool:
    """Whether an interrupted publication goes on: before its deadline, or if home locked it, whatever became of it.

    Raises:
        ChainError: Of the ledger.
    """
    home = connections.network.lane_name(signed.publication.home)
    if signed.publication.deadline > await connections.clock(home):
        return True
    view = await connections.reader(home).publication(signed.id)
    return view is not None and view.reason is not AbortReason.NEVER_LOCKED


def _takes_name(view: PublicationView, offer: Offer, publisher: Address) -> bool:
    # One that home never locked uses no name (spec 30 §3).
    same = (view.publisher, view.name, view.version) == (publisher, offer.name, offer.version)
    return same and view.reason is not AbortReason.NEVER_LOCKED
