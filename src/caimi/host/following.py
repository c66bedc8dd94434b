"""Requests and accepted answers of one lane, by its final events."""

from __future__ import annotations

from typing import Final

from caimi.ports.chain import ChainReader, FinalEvent
from caimi.ports.clock import Clock
from caimi.ports.host_store import HostStep, HostStore, RequestRow, RequestState
from caimi.types.primitives import Bytes32, Sequence
from caimi.types.records import Kind, Lane
from caimi.wire.functions import decode_body

__all__ = ["LaneFollower"]

_PAGE: Final = 256


class LaneFollower:
    """Follows one lane from where the store says that it stopped."""

    def __init__(self, reader: ChainReader, *, store: HostStore, clock: Clock) -> None:
        self._reader = reader
        self._store = store
        self._clock = clock
        self._read_at = clock.monotonic()

    @property
    def unread_seconds(self) -> float:
        """For how long the lane was not read without an error; from the start on if it never was."""
        return self._clock.monotonic() - self._read_at

    @property
    def lane(self) -> Lane:
        """The lane."""
        return self._reader.lane

    async def turn(self) -> None:
        """Store what became final since the last turn.

        Raises:
            ChainError: Ask again later.
        """
        while events := await self._reader.events(Sequence(self._store.cursor(self.lane) + 1), _PAGE):
            requests: list[RequestRow] = []
            answered: dict[Bytes32, Bytes32] = {}
            for final in events:
                event = final.item.event
                # The lane's own registry made these events, so their bodies decode.
                if event.schema == 1 and event.kind == Kind.REQUESTED:
                    requests.append(self._requested(final))
                elif event.schema == 1 and event.kind == Kind.ANSWERED:
                    request, receipt_hash, _ = decode_body(Kind.ANSWERED, event.body)
                    answered[request] = receipt_hash
            self._store.follow(
                HostStep.FOLLOWED, self.lane, events[-1].item.sequence, requests=requests, answered=answered
            )
        self._read_at = self._clock.monotonic()

    def _requested(self, final: FinalEvent) -> RequestRow:
        event = final.item.event
        request, consumer, cid, commitment, client_key, deadline = decode_body(Kind.REQUESTED, event.body)
        return RequestRow(
            id=request,
            lane=self.lane,
            publication=event.subject,
            consumer=consumer,
            input=cid,
            input_commitment=commitment,
            client_key=client_key,
            deadline=deadline,
            seen=self._clock.now(),
            state=RequestState.SEEN,
        )
