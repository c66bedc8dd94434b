"""Direct calls at the network's host: one session, then signed requests and sealed tensors over HTTP (spec 60 §7)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import numpy as np

from caimi.bundle.tensors import TensorsRefused, TensorsTooLarge, decode_tensors, encode_tensors
from caimi.crypto.direct_seal import DirectSession, begin_session, open_direct_output, seal_direct_input
from caimi.crypto.ecdsa import SigningKey, verify_signer
from caimi.crypto.errors import SealNotOpened
from caimi.crypto.inference_seal import Salted, input_commitment, output_commitment
from caimi.sdk.connections import Connections
from caimi.sdk.direct_wire import DirectWire, HostProblem
from caimi.sdk.errors import (
    HostOverloaded,
    InputRefused,
    ServiceUnavailable,
    UnknownName,
    UnprovenAnswer,
    UnreadableInput,
)
from caimi.sdk.inference import (
    INPUT_REFUSALS,
    MAX_TENSOR_BYTES,
    array_of,
    fetch_host_key,
    fetch_publication,
    tensors_of,
    what_it_takes,
)
from caimi.sdk.receipts import DirectReceiptFile
from caimi.sdk.verification import RegistryAnswer, Verification, covers, verify_receipt
from caimi.types.errors import BadEncoding, BadLength, CaimiError
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import DirectRequest, HostKey, LeaseRequest, Publication, Receipt
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import DirectCall, DirectReply

__all__ = ["DirectInference", "DirectLine"]

Arrays = Mapping[str, "np.ndarray[Any, Any]"]

_ATTEMPTS: Final = 3
"""How often a request is made anew: to a host that was started again, or whose reply was lost."""
_FIRST_PAUSE_S: Final = 0.05
_BOARD_LAG_S: Final = 5.0
"""How long the peer that this client reads may be behind the one that the host posts to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectInference:
    """An answer that fits its receipt, and the receipt."""

    outputs: Arrays
    output_payload: bytes = field(repr=False)
    """The outputs as safetensors bytes, to which the receipt commits."""
    input_payload: bytes = field(repr=False)
    file: DirectReceiptFile
    lease: LeaseRequest
    """The lease under which it was computed, as the board holds it."""

    @property
    def verification(self) -> Verification:
        """Every link of the receipt."""
        return verify_receipt(
            self.file,
            trusted_network=self.file.network,
            input_payload=self.input_payload,
            output_payload=self.output_payload,
            registry=RegistryAnswer(lease=self.lease),
        )


class _Anew(Enum):
    # Why a request has to be made anew.
    OTHER_START = auto()
    REPLY_LOST = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    # One start of the host, and the session with it.
    key: HostKey
    operator_signature: bytes
    session: DirectSession
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    start: _Start
    call: DirectCall
    id: Bytes32
    input: Salted


class DirectLine:
    """The direct calls of one account. Made once, used for any number of calls at a time."""

    def __init__(self, connections: Connections, account: SigningKey, wire: DirectWire) -> None:
        """Arguments:
        wire: to the network's host.
        """
        self._connections = connections
        self._account = account
        self._wire = wire
        self._start: _Start | None = None
        self._starting = asyncio.Lock()
        self._publications: dict[PublicationId, Publication] = {}
        self._leases: dict[Bytes32, asyncio.Task[LeaseRequest]] = {}

    async def ask(self, publication: PublicationId, inputs: Arrays, *, deadline_s: int) -> DirectInference:
        """One answer. Cancelling it closes the connection, which takes the call out of the host's queue.

        Arguments:
            deadline_s: 1 to 60 seconds.
        Raises:
            TensorsTooLarge, WrongElementType: Of the input.
            NoHost, UnknownOperator, WrongEpoch, HostKeyExpired: Nobody answers, or nobody vouches for who does.
            UnknownName: The host knows no such publication.
            InputRefused: The model does not take this input.
            HostOverloaded, ServiceUnavailable: Not within the deadline.
            UnreadableInput: The host is started again and again.
            UnprovenAnswer: The receipt does not hold; the outputs are not given out.
            ServiceRefused, Refusal: The host says no for another reason.
        """
        payload = encode_tensors(tensors_of(inputs))
        if len(payload) > MAX_TENSOR_BYTES:
            raise TensorsTooLarge(f"{len(payload)} bytes, the limit is {MAX_TENSOR_BYTES}")
        record = await self._publication(publication)
        until = time.monotonic() + deadline_s
        for _ in range(_ATTEMPTS):
            sent = self._compose(await self._started(), publication, payload, until)
            reply = await self._exchange(sent, until)
            if isinstance(reply, bytes):
                return await self._finish(sent, record, reply)
            if reply is _Anew.OTHER_START and self._start is sent.start:
                self._start = None
        raise UnreadableInput(f"the host was started again {_ATTEMPTS} times meanwhile")

    async def ask_each(
        self,
        publication: PublicationId,
        inputs: Iterable[Arrays],
        take: Callable[[int, DirectInference | CaimiError], None],
        *,
        deadline_s: int,
        in_flight: int,
    ) -> int:
        """One answer for each of many inputs, some at a time. What becomes of one does not touch the others.

        Arguments:
            inputs: taken one by one, when there is room.
            take: given the place of an input and its answer, or why there is none, as they come. What it raises ends
                all.
        Returns:
            How many inputs there were.
        """
        numbered = enumerate(inputs)
        count = 0

        async def work() -> None:
            nonlocal count
            for place, arrays in numbered:
                count += 1
                try:
                    found: DirectInference | CaimiError = await self.ask(publication, arrays, deadline_s=deadline_s)
                except CaimiError as error:
                    found = error
                take(place, found)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(in_flight):
                    tasks.create_task(work())
        except BaseExceptionGroup as group:
            # Of `inputs` or `take`: all ends with it, and it is the caller's own.
            raise group.exceptions[0] from group
        return count

    # --- before the call

    async def _publication(self, identifier: PublicationId) -> Publication:
        if identifier not in self._publications:
            self._publications[identifier] = await fetch_publication(self._connections, identifier)
        return self._publications[identifier]

    async def _started(self) -> _Start:
        async with self._starting:
            if self._start is None or self._start.key.until <= time.time():
                key, signature = await fetch_host_key(self._connections)
                network = self._connections.network.id
                session, sealed = begin_session(Bytes32(os.urandom(32)), host=key.sealing_key, network=network)
                self._start = _Start(key=key, operator_signature=signature, session=session, sealed=sealed)
            return self._start

    def _compose(self, start: _Start, publication: PublicationId, payload: bytes, until: float) -> _Sent:
        salted = Salted(salt=Bytes32(os.urandom(32)), payload=payload)
        request = DirectRequest(
            publication=publication,
            consumer=self._account.address,
            host=start.key.signing_key,
            session=start.session.id,
            input_commitment=input_commitment(salted),
            nonce=Bytes32(os.urandom(32)),
            deadline=UnixSeconds(int(time.time() + max(until - time.monotonic(), 1))),
        )
        identifier = typed_digest(self._connections.network.id, request)
        call = DirectCall(
            request=request,
            signature=self._account.sign(identifier).to_bytes(),
            session=start.sealed,
            sealed_input=seal_direct_input(salted, session=start.session, request=identifier),
        )
        return _Sent(start=start, call=call, id=identifier, input=salted)

    # --- the call

    async def _exchange(self, sent: _Sent, until: float) -> bytes | _Anew:
        # The same bytes until there is an answer: the request counts once, however often it arrives.
        body, publication = sent.call.to_bytes(), PublicationId(sent.call.request.publication)
        pause = _FIRST_PAUSE_S
        while True:
            left = until - time.monotonic()
            try:
                return await self._wire.post(publication, body, seconds=max(left, 0.0) + 1)
            except ServiceUnavailable:
                wait, failure = pause, None
                pause = min(2 * pause, 1.0)
                if time.monotonic() + wait > until:
                    raise
            except HostProblem as problem:
                if problem.name == "NotForThisHost":
                    return _Anew.OTHER_START
                if problem.name == "AlreadyAnswered":
                    return _Anew.REPLY_LOST
                if problem.retry_after is None:
                    raise await self._told(publication, problem) from problem
                wait, failure = problem.retry_after, HostOverloaded(f"the host says {problem.name}: {problem.text}")
            if failure is not None and time.monotonic() + wait > until:
                raise failure
            await asyncio.sleep(wait)

    async def _told(self, publication: PublicationId, problem: HostProblem) -> CaimiError:
        if problem.name in INPUT_REFUSALS:
            takes = await what_it_takes(self._connections, publication)
            return InputRefused(f"the host says {problem.name}{takes}")
        if problem.name == "Expired":
            # It took the call: what makes it late, such as loading the model, goes on without us.
            return HostOverloaded("the host had no answer before the deadline; it may be loading the model")
        if problem.name == "PublicationUnknown":
            return UnknownName(f"the host knows no publication 0x{publication.hex()}")
        return problem.error

    # --- after the call

    async def _finish(self, sent: _Sent, record: Publication, body: bytes) -> DirectInference:
        try:
            reply = DirectReply.from_bytes(body)
            self._check(sent, record, reply)
            opened = open_direct_output(
                reply.sealed_output,
                session=sent.start.session,
                request=sent.id,
                commitment=reply.receipt.output_commitment,
            )
            if output_commitment(opened) != reply.receipt.output_commitment:
                raise UnprovenAnswer("broken: output tensors")
            outputs = array_of(decode_tensors(opened.payload, max_bytes=MAX_TENSOR_BYTES))
        except (BadEncoding, BadLength, SealNotOpened, TensorsRefused) as error:
            raise UnprovenAnswer(f"broken: the reply ({type(error).__name__})") from error
        lease = await self._lease(reply.receipt.lease)
        network = self._connections.network
        if not covers(lease, network.id, reply.receipt, sent.start.key):
            raise UnprovenAnswer("broken: lease")
        return DirectInference(
            outputs=outputs,
            output_payload=opened.payload,
            input_payload=sent.input.payload,
            lease=lease,
            file=DirectReceiptFile(
                network=network.id,
                genesis=network.genesis,
                publication=record,
                request=sent.call.request,
                request_signature=sent.call.signature,
                session=sent.call.session,
                receipt=reply.receipt,
                receipt_signature=reply.signature,
                host_key=sent.start.key,
                operator_signature=sent.start.operator_signature,
                input_salt=sent.input.salt,
                output_salt=opened.salt,
            ),
        )

    def _check(self, sent: _Sent, record: Publication, reply: DirectReply) -> None:
        # What of `verify_receipt` can differ from one reply to the next; the rest was checked with the host's keys.
        receipt, request = reply.receipt, sent.call.request
        try:
            digest = typed_digest(self._connections.network.id, receipt)
            verify_signer(digest, reply.signature, sent.start.key.signing_key)
        except CaimiError as error:
            raise UnprovenAnswer(f"broken: host key → receipt ({type(error).__name__})") from error
        expected = _expected(sent, record, receipt)
        if receipt != expected:
            names = [name for name in Receipt.__slots__ if getattr(receipt, name) != getattr(expected, name)]
            raise UnprovenAnswer(f"broken: request ↔ receipt ({', '.join(names)})")
        if receipt.time > min(request.deadline, sent.start.key.until):
            raise UnprovenAnswer("broken: request in force")

    async def _lease(self, identifier: Bytes32) -> LeaseRequest:
        # Looked up once for all calls under it; a look-up that failed is not kept.
        task = self._leases.get(identifier)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._leases[identifier] = asyncio.create_task(self._look_up(identifier))
        return await asyncio.shield(task)

    async def _look_up(self, identifier: Bytes32) -> LeaseRequest:
        until = time.monotonic() + _BOARD_LAG_S
        while True:
            lease = await self._connections.lease(identifier)
            if lease is not None:
                return lease
            if time.monotonic() > until:
                raise UnprovenAnswer("broken: lease (the board has none of that id)")
            await asyncio.sleep(0.2)


def _expected(sent: _Sent, record: Publication, receipt: Receipt) -> Receipt:
    # Of a receipt for this request: all but what only the host can know.
    return Receipt(
        request=sent.id,
        publication=sent.call.request.publication,
        grant=ZERO32,
        lease=receipt.lease,
        quote=ZERO32,
        model_commitment=record.manifest_commitment,
        input_commitment=sent.call.request.input_commitment,
        output_commitment=receipt.output_commitment,
        price=0,
        heartbeat=ZERO32,
        time=receipt.time,
    )
