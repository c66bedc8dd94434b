"""What a host remembers of direct requests: each consumer's nonces until their deadlines (spec 60 §7). Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from caimi.host.call_errors import AlreadyAnswered, HostBusy, NotYetAnswered
from caimi.types.errors import Expired, NonceUsed
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import DirectRequest

__all__ = ["ReplayLimits", "Replays"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLimits:
    """How much is remembered."""

    requests: int = 1 << 17
    """About 400 bytes each."""
    reply_bytes: int = 64 << 20
    """Of replies that can be repeated; the oldest go first."""


@dataclass(slots=True)
class _Memory:
    request: Bytes32
    deadline: UnixSeconds
    reply: bytes | None = None
    is_answered: bool = False


class Replays:
    """Of one start of a host: no other start takes these requests."""

    def __init__(self, limits: ReplayLimits) -> None:
        self._limits = limits
        self._known: dict[bytes, _Memory] = {}
        self._ends: list[tuple[UnixSeconds, bytes]] = []
        self._replies: dict[bytes, None] = {}
        self._reply_bytes = 0
        self._floor = 0

    def begin(self, record: DirectRequest, request: Bytes32, *, now: UnixSeconds) -> bytes | None:
        """Remember a request that is about to be worked on; the reply if it was answered before.

        Raises:
            Expired: Its deadline has passed, also if the clock was set back since.
            NonceUsed: The consumer used this nonce for another request.
            NotYetAnswered: It is being worked on.
            AlreadyAnswered: The reply is no longer kept.
            HostBusy: No room.
        """
        self._forget(now)
        if now > record.deadline or record.deadline <= self._floor:
            raise Expired(record.deadline, now)
        key = record.consumer + record.nonce
        known = self._known.get(key)
        if known is None:
            # Those that were given up count until their deadline, too.
            if len(self._ends) >= self._limits.requests:
                raise HostBusy("as many requests are remembered as may", max(1, self._ends[0][0] - now))
            self._known[key] = _Memory(request, record.deadline)
            heapq.heappush(self._ends, (record.deadline, key))
            return None
        if known.request != request:
            raise NonceUsed(record.nonce)
        if not known.is_answered:
            raise NotYetAnswered("an earlier call of the same request is being worked on")
        if known.reply is None:
            raise AlreadyAnswered("0x" + request.hex())
        return known.reply

    def finish(self, record: DirectRequest, reply: bytes) -> None:
        """It was answered."""
        key = record.consumer + record.nonce
        known = self._known.get(key)
        if known is None:  # its deadline passed meanwhile
            return
        known.is_answered, known.reply = True, reply
        self._replies[key] = None
        self._reply_bytes += len(reply)
        while self._reply_bytes > self._limits.reply_bytes:
            self._drop_reply(next(iter(self._replies)))

    def give_up(self, record: DirectRequest) -> None:
        """It was not answered: the same request may come again."""
        self._known.pop(record.consumer + record.nonce, None)

    def _forget(self, now: UnixSeconds) -> None:
        while self._ends and self._ends[0][0] < now:
            deadline, key = heapq.heappop(self._ends)
            self._floor = max(self._floor, deadline)
            known = self._known.get(key)
            # Another request of the same nonce may have come after one that was given up.
            if known is not None and known.deadline == deadline:
                self._drop_reply(key)
                del self._known[key]

    def _drop_reply(self, key: bytes) -> None:
        known = self._known.get(key)
        if known is not None and known.reply is not None:
            self._reply_bytes -= len(known.reply)
            known.reply = None
            del self._replies[key]
