"""Leases: a host's bounded right to one publication's key, as a record on the board (spec 60 §2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from caimi.host.errors import LeaseNotPosted
from caimi.host.identity import HostIdentity
from caimi.ports.chain import BoardPort, ChainUnavailable
from caimi.ports.clock import Clock, Entropy
from caimi.ports.observer import Observer
from caimi.types.errors import ClockSkew, Expired
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Lane, LeaseRequest
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call

__all__ = ["Lease", "LeaseDesk", "LeaseTerms"]

_SERVE: Final = 1
_ATTEMPTS: Final = 5
_PAUSE_S: Final = 0.5
_ANSWER_S: Final = 15.0
# A post that got lost is repeated while its lease may still be opened.
_POSTING_S: Final = 60
_MARGIN_S: Final = 30
_LAST_PART: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """What a host asks for."""

    seconds: int = 3_600
    """Life of a lease, 60 to 86,400."""
    calls: int = 10_000
    """Answers under one lease, 1 to 2^20."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """One lease that is on the board."""

    id: Bytes32
    record: LeaseRequest
    opened: UnixSeconds
    calls_left: int

    def is_due(self, now: UnixSeconds) -> bool:
        """Whether the next one should be opened: a fifth of its calls or of its time is left."""
        life = self.record.end - self.opened
        return self.calls_left < self.record.calls // _LAST_PART or self.record.end - now < life // _LAST_PART

    def is_good(self, now: UnixSeconds, calls: int = 1) -> bool:
        """Whether so many more answers may be given under it."""
        return self.calls_left >= max(calls, 1) and now + _MARGIN_S <= self.record.end


class LeaseDesk:
    """Opens leases for one start of a host."""

    def __init__(
        self,
        identity: HostIdentity,
        terms: LeaseTerms,
        *,
        board: BoardPort,
        lane: Lane,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
    ) -> None:
        self._identity = identity
        self._terms = terms
        self._board = board
        self._lane = lane
        self._clock = clock
        self._entropy = entropy
        self._observer = observer

    async def open(self, publication: Bytes32, *, opening: Bytes32) -> Lease:
        """Put a lease on the board.

        Arguments:
            opening: the request that needs it.
        Raises:
            UnknownOperator, WrongEpoch, HostKeyExpired, BadLease, ...: The board refuses it (spec 30 §3).
            ChainUnavailable: The board does not answer.
            LeaseNotPosted: It did not in time; another lease may go through.
        """
        identity, now = self._identity, self._clock.now()
        record = LeaseRequest(
            at=self._lane,
            publication=publication,
            sealing_key=identity.key.sealing_key,
            signing_key=identity.key.signing_key,
            epoch=identity.key.epoch,
            purpose=_SERVE,
            opening=opening,
            end=UnixSeconds(min(now + self._terms.seconds, identity.key.until)),
            calls=self._terms.calls,
            nonce=Bytes32(self._entropy.take(32)),
            deadline=UnixSeconds(now + _POSTING_S),
        )
        call = encode_call("openLease", record, identity.sign(record), identity.key, identity.operator_signature)
        await self._post(call)
        lease = Lease(id=typed_digest(identity.network, record), record=record, opened=now, calls_left=record.calls)
        self._observer.step("host.lease", lease="0x" + lease.id.hex(), publication="0x" + publication.hex())
        return lease

    async def _post(self, call: bytes) -> None:
        # The same bytes again are a no-op, so a lost answer costs nothing.
        for left in reversed(range(_ATTEMPTS)):
            try:
                await self._post_once(call)
                return
            except (ChainUnavailable, ClockSkew):
                if not left:
                    raise
            except Expired as error:
                # Final for this lease, and for nothing that waits for one.
                raise LeaseNotPosted(str(error)) from error
            await self._clock.sleep(_PAUSE_S)

    async def _post_once(self, call: bytes) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._board.post(call)
        except TimeoutError as error:
            raise ChainUnavailable(f"the board did not take a lease within {_ANSWER_S:.0f} s") from error
