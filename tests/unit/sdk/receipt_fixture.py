"""A receipt that holds, and who made it."""

from __future__ import annotations

from dataclasses import replace

from caimi.crypto.direct_seal import SESSION_BYTES, session_id
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.inference_seal import Salted, input_commitment, output_commitment
from caimi.sdk.receipts import DirectReceiptFile, ReceiptFile
from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, UnixSeconds
from caimi.types.records import (
    NO_TERMS,
    Answer,
    Attestation,
    Cid,
    DirectRequest,
    Genesis,
    HostKey,
    InferenceRequest,
    Lane,
    LeaseRequest,
    Publication,
    Receipt,
)
from caimi.wire.digests import POLICY_OPEN, network_id, publication_id, typed_digest

__all__ = [
    "HOME",
    "HOST",
    "INPUT",
    "MIRROR",
    "NETWORK",
    "OPERATOR",
    "OUTPUT",
    "STRANGER",
    "direct_receipt",
    "direct_signed",
    "receipt_file",
    "signed",
]


def _key(number: int) -> SigningKey:
    return SigningKey.from_entropy(Bytes32(bytes([number]) * 32))


OPERATOR, HOST, STRANGER = _key(1), _key(2), _key(3)
HOME = Lane(chain=Bytes32(b"\x01" * 32), registry=Bytes32(b"\x02" * 32))
MIRROR = Lane(chain=Bytes32(b"\x03" * 32), registry=Bytes32(b"\x04" * 32))
INPUT = Salted(salt=Bytes32(b"\x05" * 32), payload=b"input")
OUTPUT = Salted(salt=Bytes32(b"\x06" * 32), payload=b"output")
_GENESIS = Genesis(
    root_genesis=Bytes32(b"\x07" * 32),
    validators=tuple(Address(bytes([i]) * 20) for i in range(1, 5)),
    f=1,
    t=2,
    operators=(OPERATOR.address,),
    attestation=Attestation.NONE,
    nonce=Bytes32(b"\x08" * 32),
)
NETWORK = network_id(_GENESIS)


def _publication() -> Publication:
    return Publication(
        format=1,
        kind=1,
        publisher=STRANGER.address,
        name="m",
        version=1,
        ciphertext=Cid(codec=0x70, digest=Bytes32(b"\x09" * 32)),
        capsule_hash=Bytes32(b"\x0a" * 32),
        manifest_commitment=Bytes32(b"\x0b" * 32),
        policy_hash=POLICY_OPEN,
        home=HOME,
        mirrors=(MIRROR,),
        terms=NO_TERMS,
        deposit=1,
        nonce=Bytes32(b"\x0c" * 32),
        deadline=UnixSeconds(1000),
        extension_hash=ZERO32,
    )


def _request(publication: Publication) -> InferenceRequest:
    return InferenceRequest(
        at=MIRROR,
        publication=publication_id(NETWORK, publication),
        consumer=STRANGER.address,
        input=Cid(codec=0x55, digest=Bytes32(b"\x0d" * 32)),
        input_commitment=input_commitment(INPUT),
        client_key=Bytes32(b"\x0e" * 32),
        nonce=Bytes32(b"\x0f" * 32),
        deadline=UnixSeconds(2000),
    )


def _receipt(publication: Publication, request: InferenceRequest) -> Receipt:
    return Receipt(
        request=typed_digest(NETWORK, request),
        publication=request.publication,
        grant=ZERO32,
        lease=Bytes32(b"\x11" * 32),
        quote=ZERO32,
        model_commitment=publication.manifest_commitment,
        input_commitment=request.input_commitment,
        output_commitment=output_commitment(OUTPUT),
        price=0,
        heartbeat=ZERO32,
        time=UnixSeconds(1500),
    )


def _answer(receipt: Receipt) -> Answer:
    return Answer(
        at=MIRROR,
        request=receipt.request,
        publication=receipt.publication,
        lease=receipt.lease,
        output=Cid(codec=0x55, digest=Bytes32(b"\x12" * 32)),
        input_commitment=receipt.input_commitment,
        output_commitment=receipt.output_commitment,
        receipt_hash=typed_digest(NETWORK, receipt),
        answered_at=receipt.time,
    )


def receipt_file() -> ReceiptFile:
    """Everything sound."""
    publication = _publication()
    request = _request(publication)
    host_key = HostKey(
        sealing_key=Bytes32(b"\x10" * 32), signing_key=HOST.address, epoch=Epoch(1), until=UnixSeconds(3000)
    )
    receipt = _receipt(publication, request)
    answer = _answer(receipt)
    return signed(
        ReceiptFile(
            network=NETWORK,
            genesis=_GENESIS,
            publication=publication,
            request=request,
            receipt=receipt,
            receipt_signature=bytes(65),
            answer=answer,
            answer_signature=bytes(65),
            host_key=host_key,
            operator_signature=bytes(65),
            input_salt=INPUT.salt,
            output_salt=OUTPUT.salt,
        )
    )


def signed(file: ReceiptFile) -> ReceiptFile:
    """The same, signed by host and operator as it stands."""
    return replace(
        file,
        receipt_signature=HOST.sign(typed_digest(file.network, file.receipt)).to_bytes(),
        answer_signature=HOST.sign(typed_digest(file.network, file.answer)).to_bytes(),
        operator_signature=OPERATOR.sign(typed_digest(file.network, file.host_key)).to_bytes(),
    )


def direct_receipt() -> tuple[DirectReceiptFile, LeaseRequest]:
    """A sound receipt of a direct call, and the lease under which it was answered."""
    recorded, session = receipt_file(), bytes(range(SESSION_BYTES))
    host_key, publication = recorded.host_key, recorded.receipt.publication
    lease = LeaseRequest(
        at=HOME,
        publication=publication,
        sealing_key=host_key.sealing_key,
        signing_key=host_key.signing_key,
        epoch=host_key.epoch,
        purpose=1,
        opening=Bytes32(b"\x13" * 32),
        end=UnixSeconds(2500),
        calls=10,
        nonce=Bytes32(b"\x14" * 32),
        deadline=UnixSeconds(1400),
    )
    request = DirectRequest(
        publication=publication,
        consumer=STRANGER.address,
        host=HOST.address,
        session=session_id(session),
        input_commitment=input_commitment(INPUT),
        nonce=Bytes32(b"\x15" * 32),
        deadline=UnixSeconds(1501),
    )
    receipt = replace(recorded.receipt, request=typed_digest(NETWORK, request), lease=typed_digest(NETWORK, lease))
    file = DirectReceiptFile(
        network=NETWORK,
        genesis=_GENESIS,
        publication=recorded.publication,
        request=request,
        request_signature=bytes(65),
        session=session,
        receipt=receipt,
        receipt_signature=bytes(65),
        host_key=host_key,
        operator_signature=bytes(65),
        input_salt=INPUT.salt,
        output_salt=OUTPUT.salt,
    )
    return direct_signed(file), lease


def direct_signed(file: DirectReceiptFile) -> DirectReceiptFile:
    """The same, signed by consumer, host and operator as it stands."""
    return replace(
        file,
        request_signature=STRANGER.sign(typed_digest(file.network, file.request)).to_bytes(),
        receipt_signature=HOST.sign(typed_digest(file.network, file.receipt)).to_bytes(),
        operator_signature=OPERATOR.sign(typed_digest(file.network, file.host_key)).to_bytes(),
    )
