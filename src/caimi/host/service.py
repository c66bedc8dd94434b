"""The host's work: follows every lane for requests, answers them, and sends what it signed until it is accepted.

An answer is stored before it is sent and repeated as it is; a request whose input was sealed to the keys of an earlier
start is marked UNREADABLE, since nobody has those keys any more.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from caimi.host.answering import Answerer
from caimi.host.errors import HostKeysEnded, NotForThisHost
from caimi.host.following import LaneFollower
from caimi.host.identity import HostIdentity
from caimi.host.loading import is_final
from caimi.host.telling import public_text
from caimi.ports.chain import ChainReader
from caimi.ports.clock import Clock
from caimi.ports.host_relay import HostRelay, SignedBytes
from caimi.ports.host_store import HostStep, HostStore, RequestRow, RequestState
from caimi.ports.metrics import HOST_BATCH, HOST_BUSY, HOST_FAILURES, HOST_REQUESTS, HOST_WAITING, KEYS_SECONDS
from caimi.ports.model_runtime import RuntimeFailed
from caimi.ports.observer import Observer
from caimi.ports.tracing import working_on
from caimi.types.errors import CaimiError, Expired
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Lane

__all__ = ["Host", "HostTuning"]

_PAGE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTuning:
    """A host's pace."""

    poll_s: float = 0.25
    concurrency: int = 4
    """Requests that are worked on at a time."""
    first_pause_s: float = 0.5
    """Before a request that failed is tried again; doubled each time up to `longest_pause_s`."""
    longest_pause_s: float = 15.0
    resend_s: float = 20.0
    """Before an answer that the registry has not accepted yet is sent again."""
    crashes: int = 3
    """How often the runtime may fail over one request before the request is refused."""
    patience_s: int = 3_600
    """How long an open request is worked on, whatever its deadline."""
    last_second_s: int = 60
    """How long before the end of its keys a host ends."""


@dataclass(slots=True, kw_only=True)
class _Trouble:
    error: CaimiError
    pause_s: float
    until: float
    crashes: int


class Host:
    """One start of a host. It holds its keys in memory and nowhere else."""

    def __init__(
        self,
        identity: HostIdentity,
        *,
        lanes: Sequence[ChainReader],
        root: Lane,
        answerer: Answerer,
        relay: HostRelay,
        store: HostStore,
        clock: Clock,
        observer: Observer,
        tuning: HostTuning | None = None,
    ) -> None:
        """Arguments:
        root: the registry whose events decide about lanes, one of `lanes` as a rule.
        """
        self.identity = identity
        self.store = store
        self._answerer = answerer
        self._relay = relay
        self._clock = clock
        self._observer = observer
        self._tuning = tuning or HostTuning()
        self._followers = [LaneFollower(lane, root=root, store=store, clock=clock) for lane in lanes]
        self._troubles: dict[Bytes32, _Trouble] = {}
        self._sent_at: dict[Bytes32, float] = {}
        self._busy: set[Bytes32] = set()

    async def run(self) -> None:
        """Follow, answer and send, for ever.

        Raises:
            HostKeysEnded: The keys of this start have run out.
        """
        async with asyncio.TaskGroup() as tasks:
            for follower in self._followers:
                tasks.create_task(self._follow(follower))
            tasks.create_task(self._send_always())
            tasks.create_task(self._answer_always(tasks))

    async def turn(self) -> None:
        """Follow every lane once, try every open request once, send what is due."""
        for follower in self._followers:
            await self._follow_once(follower)
        for row in self._due():
            await self._work_on(row)
        await self._send_once()

    def trouble(self, request: Bytes32) -> CaimiError | None:
        """Why an open request is not answered yet, None if it was not tried or nothing is wrong."""
        found = self._troubles.get(request)
        return None if found is None else found.error

    def counts(self) -> Mapping[RequestState, int]:
        """How many requests are in each state."""
        return self.store.counts()

    def unread_seconds(self) -> Mapping[Lane, float]:
        """For how long each lane was not read without an error."""
        return {follower.lane: follower.unread_seconds for follower in self._followers}

    def collect(self) -> None:
        """Set the gauges of the requests and of the keys."""
        counts, gauge = self.counts(), self._observer.gauge
        for state in RequestState:
            gauge(HOST_REQUESTS, counts.get(state, 0), state=state.value)
        gauge(HOST_BUSY, len(self._busy))
        gauge(HOST_WAITING, max(0, counts.get(RequestState.SEEN, 0) - len(self._busy)))
        gauge(KEYS_SECONDS, max(0, self.identity.key.until - self._clock.now()))

    def check_keys(self) -> None:
        """Refuse to go on with keys that are about to end.

        Raises:
            HostKeysEnded: So they are.
        """
        if self._clock.now() + self._tuning.last_second_s > self.identity.key.until:
            raise HostKeysEnded(f"they end at {self.identity.key.until}")

    # --- following

    async def _follow(self, follower: LaneFollower) -> None:
        while True:
            await self._follow_once(follower)
            await self._clock.sleep(self._tuning.poll_s)

    async def _follow_once(self, follower: LaneFollower) -> None:
        try:
            await follower.turn()
        except CaimiError as error:
            self._observer.step("host.lane_unread", lane="0x" + follower.lane.registry.hex(), cause=_shown(error))

    # --- answering

    async def _answer_always(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self.check_keys()
            for row in self._due()[: self._tuning.concurrency - len(self._busy)]:
                self._busy.add(row.id)
                tasks.create_task(self._work_apart(row))
            await self._clock.sleep(self._tuning.poll_s)

    async def _work_apart(self, row: RequestRow) -> None:
        try:
            await self._work_on(row)
        finally:
            self._busy.discard(row.id)

    def _due(self) -> list[RequestRow]:
        now = self._clock.monotonic()
        # Those that wait must not hide others.
        rows = self.store.requests(RequestState.SEEN, _PAGE + len(self._troubles) + len(self._busy))
        return [
            row
            for row in rows
            if row.id not in self._busy and (row.id not in self._troubles or self._troubles[row.id].until <= now)
        ]

    async def _work_on(self, row: RequestRow) -> None:
        with working_on(row.id):
            await self._answer(row)

    async def _answer(self, row: RequestRow) -> None:
        if self._expired(row):
            return
        try:
            signed = await self._answerer.answer(row)
        except NotForThisHost as error:
            self._end(row, HostStep.UNREADABLE, RequestState.UNREADABLE, error)
        except CaimiError as error:
            self._failed(row, error)
        else:
            self._troubles.pop(row.id, None)
            self.store.put(HostStep.SIGNED, dataclasses.replace(row, state=RequestState.SIGNED, signed=signed))
            self._observer.observe(HOST_BATCH, 1)
            self._observer.step("host.answered", request="0x" + row.id.hex(), publication="0x" + row.publication.hex())

    def _failed(self, row: RequestRow, error: CaimiError) -> None:
        known = self._troubles.get(row.id)
        crashes = (known.crashes if known else 0) + isinstance(error, RuntimeFailed)
        if is_final(error) or crashes >= self._tuning.crashes:
            self._end(row, HostStep.REFUSED, RequestState.REFUSED, error)
            return
        self._observer.count(HOST_FAILURES, error=type(error).__name__, next="retried")
        pause = min(known.pause_s * 2, self._tuning.longest_pause_s) if known else self._tuning.first_pause_s
        until = self._clock.monotonic() + pause
        self._troubles[row.id] = _Trouble(error=error, pause_s=pause, until=until, crashes=crashes)
        self._observer.step("host.postponed", request="0x" + row.id.hex(), cause=_shown(error), seconds=pause)

    def _expired(self, row: RequestRow) -> bool:
        now = self._clock.now()
        if now <= min(row.deadline, row.seen + self._tuning.patience_s):
            return False
        trouble = self._troubles.get(row.id)
        error = Expired(row.deadline, now) if trouble is None else trouble.error
        self._end(row, HostStep.EXPIRED, RequestState.EXPIRED, error)
        return True

    def _end(self, row: RequestRow, step: HostStep, state: RequestState, error: CaimiError) -> None:
        self._troubles.pop(row.id, None)
        self._sent_at.pop(row.id, None)
        reason = type(error).__name__
        self._observer.count(HOST_FAILURES, error=reason, next=state.value)
        self.store.put(step, dataclasses.replace(row, state=state, reason=reason, text=public_text(error)))
        told = {"request": "0x" + row.id.hex(), "state": state.value, "cause": reason}
        self._observer.step("host.not_answered", about=(row.id,), **told)

    # --- sending

    async def _send_always(self) -> None:
        while True:
            await self._send_once()
            await self._clock.sleep(self._tuning.poll_s)

    async def _send_once(self) -> None:
        now = self._clock.monotonic()
        rows = (*self.store.requests(RequestState.SIGNED, _PAGE), *self.store.requests(RequestState.SENT, _PAGE))
        for row in rows:
            due = self._sent_at.get(row.id)
            if (due is None or due + self._tuning.resend_s <= now) and not self._expired(row):
                self._sent_at[row.id] = now
                await self._send(row)

    async def _send(self, row: RequestRow) -> None:
        with working_on(row.id):
            await self._hand_over(row)

    async def _hand_over(self, row: RequestRow) -> None:
        signed = row.signed
        if signed is None:
            raise RuntimeError("a signed request has no answer")
        try:
            await self._relay.answer(
                SignedBytes(
                    answer=signed.answer,
                    signature=signed.answer_signature,
                    host_key=signed.host_key,
                    operator_signature=signed.operator_signature,
                )
            )
        except CaimiError as error:
            self._observer.step("host.not_sent", request="0x" + row.id.hex(), cause=_shown(error))
            return
        if row.state is RequestState.SIGNED:
            sent = dataclasses.replace(row, state=RequestState.SENT, sent=UnixSeconds(self._clock.now()))
            self.store.put(HostStep.SENT, sent)


def _shown(error: CaimiError) -> str:
    return f"{type(error).__name__}: {public_text(error)}"
