"""The only door to the generated Fabric messages.

The published protobuf modules carry no type information, so they are held here as `Any` and every function
that builds or reads a message has a typed signature. No other module of the package imports `fabric_protos`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

__all__ = [
    "NONCE_BYTES",
    "ProposalContent",
    "StatusDetail",
    "call_arguments",
    "chaincode_event_pb2",
    "collection_pb2",
    "common_pb2",
    "decode_error_details",
    "deliver_stub",
    "encode_proposal",
    "encode_seek",
    "endorser_stub",
    "gateway_pb2",
    "gateway_stub",
    "identities_pb2",
    "ledger_pb2",
    "lifecycle_pb2",
    "msp_principal_pb2",
    "policies_pb2",
    "policy_pb2",
    "proposal_pb2",
    "proposal_response_pb2",
    "query_pb2",
    "response_payload",
    "transaction_id",
    "transaction_pb2",
]

NONCE_BYTES: Final = 24
_MAX_STATUS_BYTES: Final = 1 << 20


def _module(name: str) -> Any:
    return import_module(f"fabric_protos.{name}")


common_pb2: Final[Any] = _module("common.common_pb2")
ledger_pb2: Final[Any] = _module("common.ledger_pb2")
policies_pb2: Final[Any] = _module("common.policies_pb2")
identities_pb2: Final[Any] = _module("msp.identities_pb2")
msp_principal_pb2: Final[Any] = _module("msp.msp_principal_pb2")
orderer_pb2: Final[Any] = _module("orderer.ab_pb2")
chaincode_pb2: Final[Any] = _module("peer.chaincode_pb2")
chaincode_event_pb2: Final[Any] = _module("peer.chaincode_event_pb2")
collection_pb2: Final[Any] = _module("peer.collection_pb2")
lifecycle_pb2: Final[Any] = _module("peer.lifecycle.lifecycle_pb2")
proposal_response_pb2: Final[Any] = _module("peer.proposal_response_pb2")
policy_pb2: Final[Any] = _module("peer.policy_pb2")
proposal_pb2: Final[Any] = _module("peer.proposal_pb2")
query_pb2: Final[Any] = _module("peer.query_pb2")
transaction_pb2: Final[Any] = _module("peer.transaction_pb2")
gateway_pb2: Final[Any] = _module("gateway.gateway_pb2")


def gateway_stub(channel: Any) -> Any:
    """Stub of the peer's Gateway service on a gRPC channel."""
    return _module("gateway.gateway_pb2_grpc").GatewayStub(channel)


def endorser_stub(channel: Any) -> Any:
    """Stub of the peer's Endorser service on a gRPC channel."""
    return _module("peer.peer_pb2_grpc").EndorserStub(channel)


def deliver_stub(channel: Any) -> Any:
    """Stub of the peer's Deliver service on a gRPC channel."""
    return _module("peer.events_pb2_grpc").DeliverStub(channel)


def transaction_id(nonce: bytes, creator: bytes) -> str:
    """Return the transaction id, 64 lower-case hex digits: SHA-256 of nonce and creator."""
    return hashlib.sha256(nonce + creator).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalContent:
    """What a proposal says, before it is encoded."""

    channel: str
    """Name of the channel; empty for calls that belong to the peer and to no channel."""
    chaincode: str
    arguments: Sequence[bytes]
    """Function name first."""
    transient: Mapping[str, bytes]
    """Goes to the endorsers only and is never ordered."""
    timestamp_ns: int
    """Nanoseconds since the Unix epoch; endorsers refuse what is outside their window."""
    nonce: bytes
    """24 fresh random bytes."""
    creator: bytes
    """Serialized identity of the signer."""
    is_config: bool = False
    """True only for the peer's own JoinChain."""


def encode_proposal(content: ProposalContent) -> tuple[str, bytes]:
    """Return (transaction id, bytes of the Proposal to be signed)."""
    tx_id = transaction_id(content.nonce, content.creator)
    name = chaincode_pb2.ChaincodeID(name=content.chaincode)
    kind = common_pb2.HeaderType.CONFIG if content.is_config else common_pb2.HeaderType.ENDORSER_TRANSACTION
    channel_header = common_pb2.ChannelHeader(
        type=kind,
        channel_id=content.channel,
        tx_id=tx_id,
        extension=proposal_pb2.ChaincodeHeaderExtension(chaincode_id=name).SerializeToString(),
    )
    channel_header.timestamp.FromNanoseconds(content.timestamp_ns)
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(),
        signature_header=common_pb2.SignatureHeader(creator=content.creator, nonce=content.nonce).SerializeToString(),
    )
    spec = chaincode_pb2.ChaincodeInvocationSpec(
        chaincode_spec=chaincode_pb2.ChaincodeSpec(
            type=chaincode_pb2.ChaincodeSpec.GOLANG,
            chaincode_id=name,
            input=chaincode_pb2.ChaincodeInput(args=list(content.arguments)),
        )
    )
    payload = proposal_pb2.ChaincodeProposalPayload(
        input=spec.SerializeToString(), TransientMap=dict(content.transient)
    )
    proposal = proposal_pb2.Proposal(header=header.SerializeToString(), payload=payload.SerializeToString())
    return tx_id, proposal.SerializeToString()


def call_arguments(proposal_payload: bytes) -> tuple[bytes, ...]:
    """Return what a chaincode was called with, from the proposal's payload as a transaction holds it.

    Raises:
        google.protobuf.message.DecodeError: The bytes are not a proposal's payload.
    """
    payload = proposal_pb2.ChaincodeProposalPayload.FromString(proposal_payload)
    spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(payload.input).chaincode_spec
    return tuple(bytes(argument) for argument in spec.input.args)


def response_payload(envelope_payload: bytes) -> bytes:
    """Return the chaincode's result from the payload of a prepared transaction.

    Raises:
        google.protobuf.message.DecodeError: The bytes are not a transaction.
        IndexError: The transaction has no action.
    """
    data = common_pb2.Payload.FromString(envelope_payload).data
    action = transaction_pb2.Transaction.FromString(data).actions[0]
    endorsed = transaction_pb2.ChaincodeActionPayload.FromString(action.payload).action
    response = proposal_response_pb2.ProposalResponsePayload.FromString(endorsed.proposal_response_payload)
    return bytes(proposal_pb2.ChaincodeAction.FromString(response.extension).response.payload)


def encode_seek(*, channel: str, start: int, timestamp_ns: int, nonce: bytes, creator: bytes) -> bytes:
    """Return the payload, to be signed, of a request for all blocks from `start` on, waiting for new ones."""
    specified = orderer_pb2.SeekPosition(specified=orderer_pb2.SeekSpecified(number=start))
    forever = orderer_pb2.SeekPosition(specified=orderer_pb2.SeekSpecified(number=(1 << 64) - 1))
    seek = orderer_pb2.SeekInfo(start=specified, stop=forever, behavior=orderer_pb2.SeekInfo.BLOCK_UNTIL_READY)
    channel_header = common_pb2.ChannelHeader(type=common_pb2.HeaderType.DELIVER_SEEK_INFO, channel_id=channel)
    channel_header.timestamp.FromNanoseconds(timestamp_ns)
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(),
        signature_header=common_pb2.SignatureHeader(creator=creator, nonce=nonce).SerializeToString(),
    )
    return common_pb2.Payload(header=header, data=seek.SerializeToString()).SerializeToString()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDetail:
    """What one peer or orderer said when a call through the Gateway failed."""

    address: str
    msp_id: str
    message: str


def _status_message() -> Any:
    # google.rpc.Status is not among our dependencies: three fields, declared in a pool of its own so that
    # another library may register the real file in the default pool.
    pool = descriptor_pool.DescriptorPool()
    any_file = descriptor_pb2.FileDescriptorProto()
    any_pb2.DESCRIPTOR.CopyToProto(any_file)
    pool.Add(any_file)
    status_file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto", package="google.rpc", syntax="proto3", dependency=[any_file.name]
    )
    message = status_file.message_type.add(name="Status")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="code", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    message.field.add(name="message", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(
        name="details",
        number=3,
        type=field.TYPE_MESSAGE,
        type_name=".google.protobuf.Any",
        label=field.LABEL_REPEATED,
    )
    pool.Add(status_file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))


_Status: Final[Any] = _status_message()


def decode_error_details(trailer: bytes) -> tuple[StatusDetail, ...]:
    """Decode the `grpc-status-details-bin` trailer of a Gateway call; other kinds of detail are passed over.

    Raises:
        google.protobuf.message.DecodeError: The bytes are not a status.
        ValueError: They are longer than 1 MiB.
    """
    if len(trailer) > _MAX_STATUS_BYTES:
        raise ValueError(f"status details of {len(trailer)} bytes, at most {_MAX_STATUS_BYTES}")
    found: list[StatusDetail] = []
    for detail in _Status.FromString(trailer).details:
        if detail.type_url.rsplit("/", 1)[-1] == "gateway.ErrorDetail":
            read = gateway_pb2.ErrorDetail.FromString(detail.value)
            found.append(StatusDetail(address=read.address, msp_id=read.msp_id, message=read.message))
    return tuple(found)
