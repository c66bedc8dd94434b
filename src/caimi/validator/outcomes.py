"""What homes have decided, and publishers have taken back, by final events."""

from __future__ import annotations

from contextlib import suppress

from caimi.ports.chain import ChainReader, ChainUnavailable, SourcesDisagree
from caimi.protocol.publication import State
from caimi.types.primitives import PublicationId, Sequence
from caimi.types.records import Event, Kind
from caimi.wire.functions import decode_body

__all__ = ["FinalOutcomes"]

_BATCH = 256


class FinalOutcomes:
    """What one registry says of publications, in final blocks only."""

    def __init__(self, reader: ChainReader) -> None:
        self._reader = reader
        self._next = Sequence(1)
        self._states: dict[PublicationId, State] = {}
        self._revoked: set[PublicationId] = set()

    async def state(self, identifier: PublicationId) -> State:
        """The publication's final state if this registry is its home: NONE or LOCKED read as NONE.

        Raises:
            ChainUnavailable, SourcesDisagree: Ask again later.
        """
        await self._read()
        return self._states.get(identifier, State.NONE)

    async def is_revoked(self, identifier: PublicationId) -> bool:
        """Whether this registry took its publisher's revocation; what was seen once counts also while it is down."""
        with suppress(ChainUnavailable, SourcesDisagree):
            await self._read()
        return identifier in self._revoked

    async def _read(self) -> None:
        while events := await self._reader.events(self._next, _BATCH):
            for final in events:
                await self._take(final.item.event)
                self._next = Sequence(final.item.sequence + 1)

    async def _take(self, event: Event) -> None:
        # The reader's registry made these events itself, so their bodies decode.
        if event.schema == 1 and event.kind == Kind.OUTCOME:
            self._states[PublicationId(event.subject)] = State(decode_body(Kind.OUTCOME, event.body)[0])
        elif event.schema == 1 and event.kind == Kind.SUPERSEDED:
            self._states[PublicationId(event.subject)] = State.SUPERSEDED
        elif event.schema == 1 and event.kind == Kind.REVOKED:
            self._revoked.add(PublicationId(event.subject))
        elif event.schema == 1 and event.kind == Kind.BATCH_OUTCOME:
            await self._take_batch(event)

    async def _take_batch(self, event: Event) -> None:
        # Ids that were taken out before have outcomes of their own (spec 37 §2).
        outcome, _, _, taken = decode_body(Kind.BATCH_OUTCOME, event.body)
        ids = await self._reader.batch_ids(event.subject)
        if ids is None:
            raise ChainUnavailable(f"the ids of batch 0x{event.subject.hex()} are not in a final block yet")
        for index, identifier in enumerate(ids):
            if not taken >> index & 1:
                self._states[identifier] = State(outcome)
