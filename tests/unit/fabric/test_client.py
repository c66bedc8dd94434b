"""The client against a Gateway service in this process that answers what each test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

import grpc
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from caimi.chains.fabric import proto
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.errors import (
    ChaincodeRefusal,
    CommitConflict,
    CommitError,
    CommitStatusError,
    EndorseError,
    EvaluateError,
    SubmitOutcomeUnknown,
    SubmitUnavailable,
    ValidationCode,
)
from caimi.chains.fabric.identity import FabricIdentity
from caimi.chains.fabric.transaction import Committed, Invalid, Unknown
from caimi.types.failure import Retry

T = TypeVar("T")

_KEY = ec.derive_private_key(7, ec.SECP256R1())
_NOW_NS = 1_800_000_000_123_456_789
_NONCE = bytes(range(24))


def identity() -> FabricIdentity:
    pem = _KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return FabricIdentity("Org1MSP", b"certificate", pem)


def endorsed_payload(result: bytes) -> bytes:
    action: Any = proto.proposal_pb2.ChaincodeAction()
    action.response.payload = result
    response = proto.proposal_response_pb2.ProposalResponsePayload(extension=action.SerializeToString())
    payload: Any = proto.transaction_pb2.ChaincodeActionPayload()
    payload.action.proposal_response_payload = response.SerializeToString()
    transaction: Any = proto.transaction_pb2.Transaction()
    transaction.actions.add(payload=payload.SerializeToString())
    return proto.common_pb2.Payload(data=transaction.SerializeToString()).SerializeToString()


@dataclass(slots=True, kw_only=True)
class Service:
    """What the Gateway answers; a (status, text) pair is a failure."""

    query: bytes = b"answer"
    payload: bytes = field(default_factory=lambda: endorsed_payload(b"result"))
    fail: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict[str, tuple[grpc.StatusCode, str]])
    code: int = 0
    never_commits: bool = False
    seen: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    async def _note(self, name: str, request: Any, context: Any) -> None:
        self.seen.append((name, request))
        if name in self.fail:
            await context.abort(*self.fail[name])

    async def Evaluate(self, request: Any, context: Any) -> Any:
        await self._note("Evaluate", request, context)
        response: Any = proto.gateway_pb2.EvaluateResponse()
        response.result.payload = self.query
        return response

    async def Endorse(self, request: Any, context: Any) -> Any:
        await self._note("Endorse", request, context)
        response: Any = proto.gateway_pb2.EndorseResponse()
        response.prepared_transaction.payload = self.payload
        return response

    async def Submit(self, request: Any, context: Any) -> Any:
        await self._note("Submit", request, context)
        return proto.gateway_pb2.SubmitResponse()

    async def CommitStatus(self, request: Any, context: Any) -> Any:
        await self._note("CommitStatus", request, context)
        if self.never_commits:
            await asyncio.Event().wait()
        return proto.gateway_pb2.CommitStatusResponse(result=self.code, block_number=9)

    async def ChaincodeEvents(self, request: Any, context: Any) -> Any:
        raise NotImplementedError


def against(service: Service, act: Callable[[FabricGateway], Awaitable[T]]) -> T:
    async def run() -> T:
        server = grpc.aio.server()
        import_module("fabric_protos.gateway.gateway_pb2_grpc").add_GatewayServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        gateway = FabricGateway(
            channel, identity=identity(), channel="caimi", clock_ns=lambda: _NOW_NS, entropy=lambda n: _NONCE[:n]
        )
        try:
            async with gateway:
                return await act(gateway)
        finally:
            await server.stop(None)

    return asyncio.run(run())


async def _send(gateway: FabricGateway) -> Committed:
    return await gateway.submit_transaction("caimi", "lock", ["a", b"\x00b"], {"secret": b"s"})


def _names(service: Service) -> list[str]:
    return [name for name, _ in service.seen]


def test_the_transaction_id_is_known_before_anything_is_sent() -> None:
    service = Service()

    async def act(gateway: FabricGateway) -> Any:
        return gateway.prepare("caimi", "lock", ["a"])

    prepared = against(service, act)
    assert prepared.tx_id == hashlib.sha256(_NONCE + identity().creator).hexdigest()
    assert service.seen == []


def test_a_change_goes_through_its_phases_and_returns_the_result() -> None:
    service = Service()
    committed = against(service, _send)
    assert committed == Committed(tx_id=committed.tx_id, block_number=9, result=b"result")
    assert _names(service) == ["Endorse", "Submit", "CommitStatus"]


def test_the_proposal_says_what_was_asked_and_is_signed() -> None:
    service = Service()
    tx_id = against(service, _send).tx_id
    signed = service.seen[0][1].proposed_transaction
    _KEY.public_key().verify(signed.signature, signed.proposal_bytes, ec.ECDSA(hashes.SHA256()))
    proposal = proto.proposal_pb2.Proposal.FromString(signed.proposal_bytes)
    header = proto.common_pb2.Header.FromString(proposal.header)
    channel_header = proto.common_pb2.ChannelHeader.FromString(header.channel_header)
    assert (channel_header.channel_id, channel_header.tx_id) == ("caimi", tx_id)
    assert channel_header.timestamp.ToNanoseconds() == _NOW_NS
    payload = proto.proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
    assert dict(payload.TransientMap) == {"secret": b"s"}
    chaincode_pb2 = import_module("fabric_protos.peer.chaincode_pb2")
    spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(payload.input).chaincode_spec
    assert list(spec.input.args) == [b"lock", b"a", b"\x00b"]


def test_the_transaction_is_signed_over_what_the_gateway_prepared() -> None:
    service = Service()
    against(service, _send)
    envelope = service.seen[1][1].prepared_transaction
    assert envelope.payload == service.payload
    _KEY.public_key().verify(envelope.signature, envelope.payload, ec.ECDSA(hashes.SHA256()))


def test_a_chosen_timestamp_stands_in_the_proposal() -> None:
    service = Service()

    async def act(gateway: FabricGateway) -> Any:
        return await gateway.send(gateway.prepare("caimi", "lock", timestamp_ns=5))

    against(service, act)
    proposal = proto.proposal_pb2.Proposal.FromString(service.seen[0][1].proposed_transaction.proposal_bytes)
    header = proto.common_pb2.Header.FromString(proposal.header)
    assert proto.common_pb2.ChannelHeader.FromString(header.channel_header).timestamp.ToNanoseconds() == 5


@pytest.mark.parametrize(
    ("code", "kind"),
    [(11, CommitConflict), (12, CommitConflict), (10, CommitError), (9, CommitError), (255, CommitError)],
)
def test_an_invalid_transaction_is_an_error_with_its_code(code: int, kind: type[CommitError]) -> None:
    with pytest.raises(CommitError) as caught:
        against(Service(code=code), _send)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.block_number) == (ValidationCode(code), 9)


def test_a_validation_code_of_a_later_fabric_is_not_valid() -> None:
    status = against(Service(code=77), lambda gateway: gateway.status_of("ab"))
    assert status == Invalid(tx_id="ab", block_number=9, code=ValidationCode.INVALID_OTHER_REASON)


def test_a_refused_endorsement_orders_nothing() -> None:
    service = Service(fail={"Endorse": (grpc.StatusCode.ABORTED, "chaincode response 500, NameTaken: m")})
    with pytest.raises(ChaincodeRefusal) as caught:
        against(service, _send)
    assert caught.value.code == "NameTaken"
    assert _names(service) == ["Endorse"]


@pytest.mark.parametrize("payload", [b"\xff\xff", b""], ids=["undecodable", "no action"])
def test_a_gateway_that_prepares_nonsense_is_refused_before_signing(payload: bytes) -> None:
    service = Service(payload=payload)
    with pytest.raises(EndorseError, match="unreadable"):
        against(service, _send)
    assert _names(service) == ["Endorse"]


_UNCLEAR = (grpc.StatusCode.UNAVAILABLE, "insufficient number of orderers")


def test_an_unclear_submission_is_unknown_by_itself() -> None:
    async def act(gateway: FabricGateway) -> None:
        endorsed = await gateway.endorse(gateway.prepare("caimi", "lock"))
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await gateway.submit(endorsed)
        assert caught.value.tx_id == endorsed.tx_id

    against(Service(fail={"Submit": _UNCLEAR}), act)


def test_after_an_unclear_submission_the_ledger_is_asked_and_nothing_repeated() -> None:
    service = Service(fail={"Submit": _UNCLEAR})
    assert against(service, _send).result == b"result"
    assert _names(service) == ["Endorse", "Submit", "CommitStatus"]


def test_an_unclear_submission_that_does_not_commit_stays_unknown() -> None:
    service = Service(fail={"Submit": _UNCLEAR}, never_commits=True)

    async def act(gateway: FabricGateway) -> None:
        await gateway.send(gateway.prepare("caimi", "lock"), commit_timeout_s=0.01)

    with pytest.raises(CommitStatusError) as caught:
        against(service, act)
    assert caught.value.tx_id == service.seen[0][1].transaction_id
    assert caught.value.retry is Retry.AFTER


def test_a_refused_submission_is_not_waited_for() -> None:
    service = Service(fail={"Submit": (grpc.StatusCode.UNAVAILABLE, "no orderer nodes available")})
    with pytest.raises(SubmitUnavailable):
        against(service, _send)
    assert _names(service) == ["Endorse", "Submit"]


def test_a_transaction_in_no_block_is_unknown_and_not_an_error() -> None:
    status = against(Service(never_commits=True), lambda gateway: gateway.status_of("ab", timeout_s=0.01))
    assert isinstance(status, Unknown)
    assert status.tx_id == "ab"


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED])
def test_a_peer_that_gives_up_waiting_first_has_not_seen_the_transaction_either(code: grpc.StatusCode) -> None:
    status = against(Service(fail={"CommitStatus": (code, "")}), lambda gateway: gateway.status_of("ab"))
    assert isinstance(status, Unknown)


def test_waiting_too_long_for_a_commit_is_an_error_of_its_phase() -> None:
    with pytest.raises(CommitStatusError):
        against(Service(never_commits=True), lambda gateway: gateway.commit_status("ab", timeout_s=0.01))


def test_a_peer_that_does_not_answer_is_not_taken_for_an_unknown_transaction() -> None:
    service = Service(fail={"CommitStatus": (grpc.StatusCode.PERMISSION_DENIED, "not a reader")})
    with pytest.raises(CommitStatusError, match="not a reader"):
        against(service, lambda gateway: gateway.status_of("ab"))


def test_the_status_of_a_valid_transaction_has_no_result() -> None:
    assert against(Service(), lambda gateway: gateway.status_of("ab")) == Committed(tx_id="ab", block_number=9)


def test_the_head_is_read_from_the_peers_own_chaincode() -> None:
    info = proto.ledger_pb2.BlockchainInfo(height=3, currentBlockHash=b"h" * 32, previousBlockHash=b"p" * 32)
    service = Service(query=info.SerializeToString())
    head = against(service, lambda gateway: gateway.chain_info())
    assert (head.height, head.head_hash, head.previous_hash) == (3, b"h" * 32, b"p" * 32)


def test_a_head_that_is_no_head_is_refused() -> None:
    with pytest.raises(EvaluateError, match="BlockchainInfo"):
        against(Service(query=b"\xff"), lambda gateway: gateway.chain_info())
