"""People, keys and signed things for tests of adapters: everything depends on labels, nothing on chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence as Listing
from typing import Any

from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types.primitives import (
    ZERO32,
    Address,
    Bytes32,
    Epoch,
    Generation,
    PublicationId,
    Sequence,
    SignerIndex,
    UnixSeconds,
)
from caimi.types.records import (
    NO_TERMS,
    Answer,
    Attestation,
    Certificate,
    Checkpoint,
    Cid,
    Event,
    Genesis,
    HostKey,
    InferenceRequest,
    Item,
    Kind,
    Lane,
    Publication,
    PublicationKind,
    Withdrawal,
)
from caimi.wire.chain_ids import chain_hash
from caimi.wire.codec import Record
from caimi.wire.digests import POLICY_OPEN, leaf_hash, publication_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.keccak import keccak256
from caimi.wire.merkle import merkle_multiproof, merkle_root

__all__ = [
    "CLOCK_WINDOW",
    "ELSEWHERE",
    "MIN_DEPOSIT",
    "OPERATOR",
    "VALIDATORS",
    "Signer",
    "aborted",
    "certificate",
    "genesis",
    "key",
    "locked",
    "run_call",
    "word",
]

MIN_DEPOSIT = 10
CLOCK_WINDOW = 30


def word(label: str) -> Bytes32:
    """32 bytes that depend on `label` only."""
    return keccak256(label.encode())


def key(label: str) -> SigningKey:
    """A key that depends on `label` only."""
    return SigningKey.from_entropy(word(label))


VALIDATORS = tuple(key(f"validator {n}") for n in range(4))
OPERATOR = key("operator")
ELSEWHERE = Lane(chain=chain_hash("caimi:elsewhere"), registry=word("a registry elsewhere"))
"""Another registry, of which the validators tell."""


def genesis(root_genesis: Bytes32) -> Genesis:
    """A network of four validators of whom one may be bad."""
    return Genesis(
        root_genesis=root_genesis,
        validators=tuple(v.address for v in VALIDATORS),
        f=1,
        t=2,
        operators=(OPERATOR.address,),
        attestation=Attestation.NONE,
        nonce=word("network"),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Somebody who signs actions for one network."""

    network: Bytes32
    key: SigningKey
    label: str

    @property
    def address(self) -> Address:
        """The account."""
        return self.key.address

    def sign(self, record: Record) -> bytes:
        """Signature of any record, 65 bytes."""
        return self.key.sign(typed_digest(self.network, record)).to_bytes()

    def publication(self, *, home: Lane, mirror: Lane, deadline: int, tag: str = "", **changes: Any) -> Publication:
        """A lawful publication, or one with `changes`."""
        lawful = Publication(
            format=1,
            kind=PublicationKind.MODEL,
            publisher=self.address,
            name="digits" + tag,
            version=1,
            ciphertext=Cid(codec=0x55, digest=word("ciphertext")),
            capsule_hash=word("capsule"),
            manifest_commitment=word("manifest"),
            policy_hash=POLICY_OPEN,
            home=home,
            mirrors=(mirror,),
            terms=NO_TERMS,
            deposit=MIN_DEPOSIT,
            nonce=word(f"{self.label} publication {tag}"),
            deadline=UnixSeconds(deadline),
            extension_hash=ZERO32,
        )
        return dataclasses.replace(lawful, **changes)

    def identifier(self, publication: Publication) -> PublicationId:
        """Id of a publication."""
        return publication_id(self.network, publication)

    def lock(self, publication: Publication) -> bytes:
        """The call that locks it."""
        return encode_call("lockModel", publication, self.sign(publication))

    def abort_unlocked(self, publication: Publication) -> bytes:
        """The call that aborts what was never locked."""
        return encode_call("abortUnlocked", publication, self.sign(publication))

    def withdrawal(self, *, at: Lane, amount: int, deadline: int, tag: str = "") -> Withdrawal:
        """Money back to the account itself."""
        return Withdrawal(
            at=at,
            account=self.address,
            recipient=self.address,
            amount=amount,
            nonce=word(f"{self.label} withdrawal {tag}"),
            deadline=UnixSeconds(deadline),
        )

    def withdraw(self, withdrawal: Withdrawal) -> bytes:
        """The call that takes money out."""
        return encode_call("withdraw", withdrawal, self.sign(withdrawal))

    def request(self, *, at: Lane, publication: Bytes32, deadline: int) -> InferenceRequest:
        """A question to a model."""
        return InferenceRequest(
            at=at,
            publication=publication,
            consumer=self.address,
            input=Cid(codec=0x55, digest=word("input")),
            input_commitment=word("input commitment"),
            client_key=word("client key"),
            nonce=word(f"{self.label} request"),
            deadline=UnixSeconds(deadline),
        )

    def answer(self, request: InferenceRequest) -> bytes:
        """The call by which this signer, as a host, answers a request."""
        host_key = HostKey(
            sealing_key=word("sealing key"),
            signing_key=self.address,
            epoch=Epoch(1),
            until=UnixSeconds(request.deadline + 1000),
        )
        answer = Answer(
            at=request.at,
            request=typed_digest(self.network, request),
            publication=request.publication,
            lease=word("lease"),
            output=Cid(codec=0x55, digest=word("output")),
            input_commitment=request.input_commitment,
            output_commitment=word("output commitment"),
            receipt_hash=word("receipt"),
            answered_at=UnixSeconds(request.deadline - 1),
        )
        operator = OPERATOR.sign(typed_digest(self.network, host_key)).to_bytes()
        return encode_call("answerInference", answer, self.sign(answer), host_key, operator)


def locked(role: Role, publication: Publication, identifier: PublicationId) -> Event:
    """The event of a lock."""
    destinations = publication.mirrors if role is Role.HOME else (publication.home,)
    body = encode_body(Kind.LOCKED, role, publication.home)
    return Event(schema=1, kind=Kind.LOCKED, destinations=destinations, subject=identifier, body=body)


def aborted(publication: Publication, identifier: PublicationId, reason: AbortReason) -> Event:
    """The event of home's abort."""
    body = encode_body(Kind.OUTCOME, State.ABORTED, reason)
    return Event(schema=1, kind=Kind.OUTCOME, destinations=publication.mirrors, subject=identifier, body=body)


def certificate(network: Bytes32, source: Lane, items: Listing[Item], **changes: Any) -> Certificate:
    """A quorum's certificate of a run that holds exactly `items`; `changes` go into the checkpoint before signing."""
    checkpoint = Checkpoint(
        source=source,
        generation=Generation(1),
        epoch=Epoch(1),
        first_sequence=items[0].sequence,
        last_sequence=items[-1].sequence,
        root=merkle_root([leaf_hash(source, item) for item in items]),
        height=1,
        block_hash=word("a block elsewhere"),
    )
    checkpoint = dataclasses.replace(checkpoint, **changes)
    digest = typed_digest(network, checkpoint)
    signatures = tuple(VALIDATORS[n].sign(digest).as_record(SignerIndex(n)) for n in range(3))
    return Certificate(checkpoint=checkpoint, signatures=signatures)


def run_call(network: Bytes32, source: Lane, events: Listing[Event], first: int = 1) -> bytes:
    """The call that applies a certified run of `events`, numbered from `first`."""
    items = tuple(Item(sequence=Sequence(first + n), event=event) for n, event in enumerate(events))
    leaves = [leaf_hash(source, item) for item in items]
    proof = merkle_multiproof(leaves, range(len(items)))
    return encode_call("applyRun", certificate(network, source, items), items, proof)
