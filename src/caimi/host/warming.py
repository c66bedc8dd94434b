"""After a start: the models that the last start had loaded are loaded again before anybody asks."""

from __future__ import annotations

import asyncio
from typing import Final

from caimi.host.publications import Publications
from caimi.host.shelf import ModelShelf
from caimi.host.telling import public_text
from caimi.ports.clock import Clock
from caimi.ports.host_store import HostStore, ShelfRow
from caimi.ports.observer import Observer
from caimi.types.errors import CaimiError

__all__ = ["warm"]

_MARGIN_S: Final = 30
"""A lease that ends so soon was not worth a new one."""


async def warm(
    shelf: ModelShelf, publications: Publications, *, store: HostStore, clock: Clock, observer: Observer
) -> None:
    """Load what was loaded when the last start ended, each under a lease of its own, if its lease then still runs.

    So whoever asks after a restart waits for no lease, no key and no loading. Nothing gains a right by it: the
    validators decide about the new lease as about any, and it counts against the host's cap (spec 35).
    """
    rows = store.shelf()
    # A model that takes the host down with it would do so at every start.
    store.put_shelf(())
    due = [row for row in rows if row.lease_end > clock.now() + _MARGIN_S]
    await asyncio.gather(*(_warm_one(row, shelf, publications, observer) for row in due))


async def _warm_one(row: ShelfRow, shelf: ModelShelf, publications: Publications, observer: Observer) -> None:
    shown = "0x" + row.publication.hex()
    try:
        publication = await publications.get(row.publication)
        async with shelf.use(publication, opening=row.opening, calls=0):
            observer.step("host.warmed", publication=shown)
    except CaimiError as error:
        # Tried again by the first who asks, who is told.
        observer.step("host.not_warmed", publication=shown, cause=f"{type(error).__name__}: {public_text(error)}")
