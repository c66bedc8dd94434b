"""What homes have decided, by their final events."""

from __future__ import annotations

from caimi.ports.chain import ChainReader
from caimi.protocol.publication import State
from caimi.types.primitives import PublicationId, Sequence
from caimi.types.records import Event, Kind
from caimi.wire.functions import decode_body

__all__ = ["FinalOutcomes"]

_BATCH = 256


class FinalOutcomes:
    """State of every publication that one registry decided as home, in final blocks only."""

    def __init__(self, reader: ChainReader) -> None:
        self._reader = reader
        self._next = Sequence(1)
        self._states: dict[PublicationId, State] = {}

    async def state(self, identifier: PublicationId) -> State:
        """The publication's final state at its home: NONE or LOCKED read as NONE.

        Raises:
            ChainUnavailable, SourcesDisagree: Ask again later.
        """
        while events := await self._reader.events(self._next, _BATCH):
            for event in events:
                self._take(event.item.event)
            self._next = Sequence(events[-1].item.sequence + 1)
        return self._states.get(identifier, State.NONE)

    def _take(self, event: Event) -> None:
        # The reader's registry made these events itself, so their bodies decode.
        if event.schema == 1 and event.kind == Kind.OUTCOME:
            self._states[PublicationId(event.subject)] = State(decode_body(Kind.OUTCOME, event.body)[0])
        elif event.schema == 1 and event.kind == Kind.SUPERSEDED:
            self._states[PublicationId(event.subject)] = State.SUPERSEDED
