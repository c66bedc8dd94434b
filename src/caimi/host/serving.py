"""Direct calls: from the bytes of a call to the bytes of its reply, without a ledger (spec 60 §7)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from caimi.bundle.tensors import Tensor
from caimi.crypto.direct_seal import (
    DIRECT_OVERHEAD,
    DirectSession,
    open_direct_input,
    open_session,
    seal_direct_output,
    session_id,
)
from caimi.crypto.ecdsa import verify_signer
from caimi.crypto.errors import SealNotOpened
from caimi.crypto.inference_seal import Salted, input_commitment, output_commitment
from caimi.host.call_errors import DeadlineTooFar, HostBusy, HostEnding
from caimi.host.errors import InputMismatch, NotForThisHost
from caimi.host.fair_queue import QueueLimits
from caimi.host.identity import HostIdentity
from caimi.host.model_server import Batching, ModelServer
from caimi.host.publications import KnownPublication, Publications
from caimi.host.receipts import make_receipt
from caimi.host.replays import ReplayLimits, Replays
from caimi.host.shelf import ModelShelf
from caimi.host.tensor_checks import TensorLimits, checked_inputs, checked_outputs
from caimi.ports.clock import Clock, Entropy
from caimi.ports.metrics import DIRECT_CALLS, DIRECT_IN_FLIGHT, DIRECT_SECONDS
from caimi.ports.observer import Observer
from caimi.types.errors import BadEncoding, CaimiError, Expired
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import DirectRequest
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import CALL_HEAD_BYTES, DirectCall, DirectReply

__all__ = ["MAX_AHEAD_S", "DirectServing", "ServingLimits", "ServingNumbers"]

T = TypeVar("T")

MAX_AHEAD_S: Final = 60
"""How far ahead a direct request's deadline may be."""
_SESSIONS: Final = 4096
_LARGE: Final = 1 << 20
_ENDING_S: Final = 5.0
_BUSY_S: Final = 1.0
_ANSWERED: Final = "answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLimits:
    """How much a host takes on by direct calls."""

    calls: int = 4096
    """At a time, of all models."""
    body_bytes: int = 512 << 20
    """Of all bodies at a time."""
    models: int = 256
    """Publications that are asked for at a time."""
    queue: QueueLimits = field(default_factory=QueueLimits)
    replays: ReplayLimits = field(default_factory=ReplayLimits)
    tensors: TensorLimits = field(default_factory=TensorLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingNumbers:
    """For the host's status."""

    answered: int
    in_flight: int
    batches: int


class DirectServing:
    """The direct calls of one start of a host."""

    def __init__(
        self,
        identity: HostIdentity,
        limits: ServingLimits,
        batching: Batching,
        *,
        publications: Publications,
        shelf: ModelShelf,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._batching = batching
        self._publications = publications
        self._shelf = shelf
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        observer.count(DIRECT_CALLS, 0, result=_ANSWERED)
        self._replays = Replays(limits.replays)
        self._sessions: OrderedDict[bytes, DirectSession] = OrderedDict()
        # Least recently asked for first.
        self._servers: OrderedDict[Bytes32, ModelServer] = OrderedDict()
        self._calls = 0
        self._bytes = 0
        self._answered = 0
        self._batches = 0
        self._is_ending = False
        self._idle = asyncio.Event()

    @property
    def most_body_bytes(self) -> int:
        """Longest body of a call."""
        return CALL_HEAD_BYTES + DIRECT_OVERHEAD + self._limits.tensors.input_bytes

    @contextmanager
    def place(self, body_bytes: int) -> Generator[None]:
        """Room for one call and its body, before any of it is read.

        Raises:
            HostEnding, HostBusy: There is none.
        """
        if self._is_ending:
            self._observer.count(DIRECT_CALLS, result=HostEnding.__name__)
            raise HostEnding("the host is ending", _ENDING_S)
        if self._calls >= self._limits.calls or self._bytes + body_bytes > self._limits.body_bytes:
            self._observer.count(DIRECT_CALLS, result=HostBusy.__name__)
            raise HostBusy(f"{self._calls} calls with {self._bytes} bytes are here", _BUSY_S)
        self._calls += 1
        self._bytes += body_bytes
        try:
            yield
        finally:
            self._calls -= 1
            self._bytes -= body_bytes
            if not self._calls:
                self._idle.set()

    async def infer(self, publication: Bytes32, body: bytes) -> bytes:
        """Answer one call, in the order of checks of spec 60 §7. Cancelling it frees what it holds.

        Raises:
            BadEncoding, NotForThisHost, Expired, DeadlineTooFar, BadSignature, HighS, WrongSigner: Of the request.
            NonceUsed, NotYetAnswered, AlreadyAnswered: It was seen before.
            HostBusy, DeadlineUnmeetable, ModelNotReady: Not now.
            InputMismatch, TensorsRefused, RuntimeRefused, RuntimeFailed: Of the input.
            PublicationUnknown, NotAModel, CaimiError: Of the publication and its key.
        """
        began = self._clock.monotonic()
        try:
            reply = await self._infer(publication, body)
        except CaimiError as error:
            self._observer.count(DIRECT_CALLS, result=type(error).__name__)
            raise
        self._observer.count(DIRECT_CALLS, result=_ANSWERED)
        self._observer.observe(DIRECT_SECONDS, self._clock.monotonic() - began)
        return reply

    async def _infer(self, publication: Bytes32, body: bytes) -> bytes:
        call = DirectCall.from_bytes(body)
        record = call.request
        now = self._check_request(record, publication)
        until = self._clock.monotonic() + (record.deadline - now)
        server = self._servers.get(publication)
        if server is not None:
            server.check_room(until)
        request = typed_digest(self._identity.network, record)
        verify_signer(request, call.signature, record.consumer)
        known = self._replays.begin(record, request, now=now)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(record.deadline - now):
                reply = await self._answer(call, request, until)
        except BaseException as error:
            self._replays.give_up(record)
            if isinstance(error, TimeoutError):
                raise Expired(record.deadline, self._clock.now()) from error
            raise
        self._replays.finish(record, reply)
        self._answered += 1
        return reply

    async def drain(self, seconds: float) -> None:
        """Take no more calls, and wait until those that were taken are answered, so many seconds at most."""
        self._is_ending = True
        if self._calls:
            self._idle.clear()
            waiting = asyncio.ensure_future(self._idle.wait())
            sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            sleeping.cancel()

    def close(self) -> None:
        """Stop all models' queues."""
        self._is_ending = True
        for server in self._servers.values():
            server.stop()
        self._servers.clear()

    def collect(self) -> None:
        """Set the gauge of the calls."""
        self._observer.gauge(DIRECT_IN_FLIGHT, self._calls)

    def numbers(self) -> ServingNumbers:
        """What was done so far."""
        batches = self._batches + sum(server.batches for server in self._servers.values())
        return ServingNumbers(answered=self._answered, in_flight=self._calls, batches=batches)

    def _check_request(self, record: DirectRequest, publication: Bytes32) -> UnixSeconds:
        if record.publication != publication:
            raise BadEncoding
        if record.host != self._identity.key.signing_key:
            raise NotForThisHost("the request names another start of a host")
        now = self._clock.now()
        if now >= record.deadline:
            raise Expired(record.deadline, now)
        if record.deadline > now + MAX_AHEAD_S:
            raise DeadlineTooFar(f"{record.deadline - now} s ahead, at most {MAX_AHEAD_S} are served")
        return now

    async def _answer(self, call: DirectCall, request: Bytes32, until: float) -> bytes:
        record, session = call.request, self._session(call)
        salted = await self._opened(call, session, request)
        publication = await self._publications.get(record.publication)
        server = self._server(publication)
        signature = await server.signature(request)
        inputs: dict[str, Tensor] = await self._apart(
            len(salted.payload), lambda: checked_inputs(signature, salted.payload, limits=self._limits.tensors)
        )
        served = await server.run(request, record.consumer, inputs, until=until)
        payload = checked_outputs(signature, dict(served.outputs), limits=self._limits.tensors)
        output = Salted(salt=Bytes32(self._entropy.take(32)), payload=payload)
        sealed = seal_direct_output(output, session=session, request=request)
        receipt = make_receipt(
            publication.record,
            request=request,
            publication_id=record.publication,
            lease=served.lease,
            input_commitment=record.input_commitment,
            output_commitment=output_commitment(output),
            now=self._clock.now(),
        )
        return DirectReply(receipt=receipt, signature=self._identity.sign(receipt), sealed_output=sealed).to_bytes()

    def _session(self, call: DirectCall) -> DirectSession:
        known = self._sessions.get(call.session)
        if known is None:
            if session_id(call.session) != call.request.session:
                raise NotForThisHost("the sealed session is not the one that the request names")
            try:
                known = open_session(call.session, key=self._identity.sealing, network=self._identity.network)
            except SealNotOpened as error:
                raise NotForThisHost("the session is not sealed to the keys of this start") from error
            self._sessions[call.session] = known
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        elif known.id != call.request.session:
            raise NotForThisHost("the sealed session is not the one that the request names")
        else:
            self._sessions.move_to_end(call.session)
        return known

    async def _opened(self, call: DirectCall, session: DirectSession, request: Bytes32) -> Salted:
        def act() -> Salted:
            try:
                salted = open_direct_input(call.sealed_input, session=session, request=request)
            except SealNotOpened as error:
                raise NotForThisHost("the input is not sealed in this session for this request") from error
            if input_commitment(salted) != call.request.input_commitment:
                raise InputMismatch("0x" + input_commitment(salted).hex())
            return salted

        return await self._apart(len(call.sealed_input), act)

    def _server(self, publication: KnownPublication) -> ModelServer:
        server = self._servers.pop(publication.id, None)
        if server is None:
            self._make_room()
            server = ModelServer(
                publication,
                self._limits.queue,
                self._batching,
                shelf=self._shelf,
                clock=self._clock,
                observer=self._observer,
            )
        self._servers[publication.id] = server
        return server

    def _make_room(self) -> None:
        if len(self._servers) < self._limits.models:
            return
        idle = next((server for server in self._servers.values() if server.is_idle), None)
        if idle is None:
            raise HostBusy(f"{len(self._servers)} models are asked for", _BUSY_S)
        self._batches += idle.batches
        idle.stop()
        del self._servers[idle.publication.id]

    async def _apart(self, size: int, act: Callable[[], T]) -> T:
        # What takes long must not hold up the others; for what does not, a thread costs more than it saves.
        return await asyncio.to_thread(act) if size > _LARGE else act()
