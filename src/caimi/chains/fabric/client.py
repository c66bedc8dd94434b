"""Asynchronous client of one peer's Gateway service.

A change is made in four steps, each of which can be stored by the caller before the next:
`prepare` (the transaction id is known), `endorse`, `submit`, `commit_status`. `send` and
`submit_transaction` do the rest in one call. After a crash `status_of` finds the outcome by the id.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.message import DecodeError

from caimi.chains.fabric.errors import (
    CommitConflict,
    CommitError,
    CommitStatusError,
    EndorseError,
    EvaluateError,
    SubmitOutcomeUnknown,
    ValidationCode,
)
from caimi.chains.fabric.identity import FabricIdentity
from caimi.chains.fabric.proto import (
    NONCE_BYTES,
    ProposalContent,
    common_pb2,
    encode_proposal,
    gateway_pb2,
    gateway_stub,
    ledger_pb2,
    proposal_pb2,
    response_payload,
)
from caimi.chains.fabric.rpc_errors import (
    commit_status_error,
    endorse_error,
    evaluate_error,
    is_already_ordered,
    submit_error,
)
from caimi.chains.fabric.transaction import (
    ChainInfo,
    Committed,
    EndorsedTransaction,
    Invalid,
    PreparedTransaction,
    TransactionStatus,
    Unknown,
)

__all__ = ["MAX_MESSAGE_BYTES", "FabricGateway", "open_channel"]

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Largest gRPC message sent or read: twice the largest block of the devnet's channel."""

_OPTIONS: Final[list[tuple[str, int]]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # In spite of its name the least time for one attempt to connect: on a busy machine TLS takes more than 100 ms.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
# The peer resets the call when the deadline passes by its clock, which may be just before it passes by ours.
_WAITED_IN_VAIN: Final = (grpc.StatusCode.DEADLINE_EXCEEDED.name, grpc.StatusCode.CANCELLED.name)
_CONFLICTS: Final = (ValidationCode.MVCC_READ_CONFLICT, ValidationCode.PHANTOM_READ_CONFLICT)

EVALUATE_TIMEOUT_S: Final = 10.0
ENDORSE_TIMEOUT_S: Final = 15.0
SUBMIT_TIMEOUT_S: Final = 15.0
COMMIT_TIMEOUT_S: Final = 30.0
STATUS_TIMEOUT_S: Final = 1.0


def open_channel(endpoint: str, tls_ca_pem: bytes) -> grpc.aio.Channel:
    """Open a TLS channel to `host:port` that trusts only the given certificate authority."""
    credentials = grpc.ssl_channel_credentials(tls_ca_pem)
    return grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)


class FabricGateway:
    """One identity at one peer of one channel."""

    def __init__(
        self,
        transport: grpc.aio.Channel,
        *,
        identity: FabricIdentity,
        channel: str,
        clock_ns: Callable[[], int] = time.time_ns,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._transport = transport
        self._stub: Any = gateway_stub(transport)
        self._clock_ns = clock_ns
        self._entropy = entropy
        self.identity = identity
        self.channel = channel

    @classmethod
    def connect(
        cls,
        endpoint: str,
        tls_ca_pem: bytes,
        identity: FabricIdentity,
        channel: str,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Connect lazily to the peer at `host:port`: the first call opens the connection."""
        return cls(open_channel(endpoint, tls_ca_pem), identity=identity, channel=channel, clock_ns=clock_ns)

    @property
    def transport(self) -> grpc.aio.Channel:
        """The gRPC channel, for the peer's other services."""
        return self._transport

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Queries

    async def evaluate(
        self,
        chaincode: str,
        function: str,
        arguments: Sequence[bytes | str] = (),
        transient: Mapping[str, bytes] | None = None,
        *,
        timeout_s: float = EVALUATE_TIMEOUT_S,
    ) -> bytes:
        """Ask without changing anything and return the chaincode's result.

        Raises:
            ChaincodeRefusal: The chaincode answered `Code: text`.
            ProposalTimeRefused: This machine's clock is outside the peer's window.
            EvaluateUnavailable: No peer could answer now.
            EvaluateError: The peer does not accept the call.
        """
        prepared = self.prepare(chaincode, function, arguments, transient)
        request = gateway_pb2.EvaluateRequest(
            transaction_id=prepared.tx_id, channel_id=self.channel, proposed_transaction=self._signed(prepared)
        )
        try:
            response = await self._stub.Evaluate(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise evaluate_error(error) from error
        return bytes(response.result.payload)

    async def chain_info(self, *, timeout_s: float = EVALUATE_TIMEOUT_S) -> ChainInfo:
        """Ask the peer for height and head of the channel's ledger.

        Raises:
            EvaluateUnavailable: The peer could not answer now.
            EvaluateError: The peer does not accept the call or answers nonsense.
        """
        payload = await self.evaluate("qscc", "GetChainInfo", (self.channel,), timeout_s=timeout_s)
        try:
            info = ledger_pb2.BlockchainInfo.FromString(payload)
        except DecodeError as error:
            raise EvaluateError("DATA_LOSS", "GetChainInfo is not a BlockchainInfo") from error
        return ChainInfo(
            height=info.height, head_hash=bytes(info.currentBlockHash), previous_hash=bytes(info.previousBlockHash)
        )

    # Changes

    def prepare(
        self,
        chaincode: str,
        function: str,
        arguments: Sequence[bytes | str] = (),
        transient: Mapping[str, bytes] | None = None,
        *,
        timestamp_ns: int | None = None,
    ) -> PreparedTransaction:
        """Make a proposal and its transaction id without sending anything.

        Args:
            timestamp_ns: Time in the proposal, nanoseconds since the Unix epoch; None takes the clock.
        """
        at_ns = self._clock_ns() if timestamp_ns is None else timestamp_ns
        content = ProposalContent(
            channel=self.channel,
            chaincode=chaincode,
            arguments=[_as_bytes(argument) for argument in (function, *arguments)],
            transient=transient or {},
            timestamp_ns=at_ns,
            nonce=self._entropy(NONCE_BYTES),
            creator=self.identity.creator,
        )
        tx_id, proposal = encode_proposal(content)
        return PreparedTransaction(
            tx_id=tx_id, channel=self.channel, chaincode=chaincode, proposal=proposal, timestamp_ns=at_ns
        )

    async def endorse(
        self,
        prepared: PreparedTransaction,
        *,
        organisations: Sequence[str] = (),
        timeout_s: float = ENDORSE_TIMEOUT_S,
    ) -> EndorsedTransaction:
        """Collect endorsements that satisfy the chaincode's policy. Nothing is ordered yet.

        Args:
            organisations: Membership providers to ask; empty leaves the choice to the Gateway. With transient
                data, naming organisations shows it to them even if they are not members of the collection.

        Raises:
            ChaincodeRefusal: The chaincode answered `Code: text`.
            ProposalTimeRefused: The proposal's timestamp is outside the endorsers' window.
            EndorseUnavailable: Not enough organisations could endorse now.
            EndorseError: The peers do not accept the call.
        """
        request = gateway_pb2.EndorseRequest(
            transaction_id=prepared.tx_id,
            channel_id=prepared.channel,
            proposed_transaction=self._signed(prepared),
            endorsing_organizations=list(organisations),
        )
        try:
            envelope = (await self._stub.Endorse(request, timeout=timeout_s)).prepared_transaction
        except grpc.aio.AioRpcError as error:
            raise endorse_error(error, prepared.tx_id, organisations=organisations) from error
        try:
            result = response_payload(envelope.payload)
        except (DecodeError, IndexError) as error:
            raise EndorseError("DATA_LOSS", "the Gateway's transaction is unreadable", tx_id=prepared.tx_id) from error
        envelope.signature = self.identity.sign(envelope.payload)
        return EndorsedTransaction(
            tx_id=prepared.tx_id, channel=prepared.channel, envelope=envelope.SerializeToString(), result=result
        )

    async def submit(self, endorsed: EndorsedTransaction, *, timeout_s: float = SUBMIT_TIMEOUT_S) -> None:
        """Hand the transaction to the orderers. Sending it again is harmless.

        Raises:
            SubmitUnavailable: No orderer was reachable; nothing was ordered.
            SubmitError: The peer refused it; nothing was ordered.
            SubmitOutcomeUnknown: It may have been ordered: ask `status_of`.
        """
        request = gateway_pb2.SubmitRequest(
            transaction_id=endorsed.tx_id,
            channel_id=endorsed.channel,
            prepared_transaction=common_pb2.Envelope.FromString(endorsed.envelope),
        )
        try:
            await self._stub.Submit(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            # The Gateway counts an orderer that the others overtook as a failure; whether the transaction is valid
            # is for commit_status to say in any case.
            if not is_already_ordered(error):
                raise submit_error(error, endorsed.tx_id) from error

    async def commit_status(self, tx_id: str, *, timeout_s: float = COMMIT_TIMEOUT_S) -> Committed | Invalid:
        """Wait until the transaction is in a block and tell whether it is valid.

        Raises:
            CommitStatusError: The peer did not tell within `timeout_s`.
        """
        request = gateway_pb2.CommitStatusRequest(
            transaction_id=tx_id, channel_id=self.channel, identity=self.identity.creator
        ).SerializeToString()
        signed = gateway_pb2.SignedCommitStatusRequest(request=request, signature=self.identity.sign(request))
        try:
            response = await self._stub.CommitStatus(signed, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise commit_status_error(error, tx_id) from error
        code = _validation_code(response.result)
        if code is ValidationCode.VALID:
            return Committed(tx_id=tx_id, block_number=response.block_number)
        return Invalid(tx_id=tx_id, block_number=response.block_number, code=code)

    async def status_of(self, tx_id: str, *, timeout_s: float = STATUS_TIMEOUT_S) -> TransactionStatus:
        """Tell what became of a transaction; Unknown if this peer has no block with it within `timeout_s`.

        Raises:
            CommitStatusError: The peer did not answer at all, or not to this identity.
        """
        try:
            return await self.commit_status(tx_id, timeout_s=timeout_s)
        except CommitStatusError as error:
            if error.status not in _WAITED_IN_VAIN:
                raise
            return Unknown(tx_id=tx_id, reason=f"not in a block of this peer within {timeout_s} s")

    async def send(
        self,
        prepared: PreparedTransaction,
        *,
        organisations: Sequence[str] = (),
        commit_timeout_s: float = COMMIT_TIMEOUT_S,
    ) -> Committed:
        """Endorse, submit and wait for a valid commit.

        Raises:
            FabricError: Those of `endorse` and `submit`.
            CommitStatusError: The outcome is unknown: ask `status_of`.
            CommitConflict: Another transaction changed what this one read.
            CommitError: It was ordered and found invalid.
        """
        endorsed = await self.endorse(prepared, organisations=organisations)
        # Fewer orderers than a quorum may have confirmed, and yet it may commit: the ledger knows.
        with contextlib.suppress(SubmitOutcomeUnknown):
            await self.submit(endorsed)
        status = await self.commit_status(prepared.tx_id, timeout_s=commit_timeout_s)
        if isinstance(status, Invalid):
            kind = CommitConflict if status.code in _CONFLICTS else CommitError
            raise kind(status.tx_id, status.block_number, status.code)
        return Committed(tx_id=status.tx_id, block_number=status.block_number, result=endorsed.result)

    async def submit_transaction(
        self,
        chaincode: str,
        function: str,
        arguments: Sequence[bytes | str] = (),
        transient: Mapping[str, bytes] | None = None,
    ) -> Committed:
        """Prepare and send; see `send` for the errors."""
        return await self.send(self.prepare(chaincode, function, arguments, transient))

    def _signed(self, prepared: PreparedTransaction) -> Any:
        return proposal_pb2.SignedProposal(
            proposal_bytes=prepared.proposal, signature=self.identity.sign(prepared.proposal)
        )


def _as_bytes(argument: bytes | str) -> bytes:
    return argument.encode() if isinstance(argument, str) else argument


def _validation_code(value: int) -> ValidationCode:
    try:
        return ValidationCode(value)
    except ValueError:
        # A code of a later Fabric is at any rate not VALID.
        return ValidationCode.INVALID_OTHER_REASON
