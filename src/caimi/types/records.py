"""The records that are signed, hashed and carried (spec 10 §3-§6). Field order is the wire order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, Generation, Sequence, SignerIndex, UnixSeconds

__all__ = [
    "Answer",
    "Attestation",
    "BatchProof",
    "BoardPost",
    "Certificate",
    "Checkpoint",
    "Cid",
    "DirectRequest",
    "EpochSet",
    "Event",
    "Funding",
    "Genesis",
    "Governance",
    "GovernanceAction",
    "HostKey",
    "InferenceRequest",
    "Item",
    "Kind",
    "Lane",
    "LeaseRequest",
    "Mint",
    "NO_TERMS",
    "PartialPost",
    "Pause",
    "Publication",
    "PublicationKind",
    "Receipt",
    "Resume",
    "Revocation",
    "SetChange",
    "SetProposal",
    "Signature",
    "Terms",
    "Withdrawal",
]


class Kind(IntEnum):
    """Kinds of events (spec 10 §5). The unbuilt ones are reserved: carried and ignored."""

    LOCKED = 1
    REFUSED = 2
    OUTCOME = 3
    SUPERSEDED = 4
    REQUESTED = 5
    ANSWERED = 6
    REVOKED = 7
    GRANT = 8
    CREDENTIAL = 9
    LINK = 10
    SET_CHANGE = 11
    SET_RETIRED = 12
    EVIDENCE = 13
    SETTLEMENT = 14
    GOVERNANCE = 15
    BATCH_LOCKED = 16
    BATCH_ANSWERED = 17
    BATCH_OUTCOME = 18
    SET_ENTERED = 19


class PublicationKind(IntEnum):
    """What is published."""

    MODEL = 1
    DATASET = 2


class Attestation(IntEnum):
    """How hosts of a network prove what they run (part of the network id)."""

    NONE = 0
    SIMULATED = 1
    REAL = 2


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Lane:
    """One (chain, registry) as a source of events."""

    chain: Bytes32
    """keccak256 of the chain's CAIP-2 id."""
    registry: Bytes32
    """EVM: address left-padded; Fabric: keccak256("channel/chaincode")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cid:
    """A CIDv1 with sha2-256: codec 0x55 (raw) or 0x70 (dag-pb) and the 32-byte digest."""

    codec: int
    digest: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Price terms. Only `NO_TERMS` is accepted until payments exist."""

    currency: Bytes32
    """Zero for none."""
    unit: int
    """0 none, u8."""
    price: int
    """In the currency's smallest unit, u128."""


NO_TERMS: Final = Terms(currency=ZERO32, unit=0, price=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One version of one model or dataset, as its publisher signs it (spec 10 §4)."""

    format: int
    """Format version, u16; 1."""
    kind: int
    """`PublicationKind`, u8."""
    publisher: Address
    name: str
    """1 to 64 of a-z 0-9 . _ -, scoped by (home, publisher)."""
    version: int
    """u64, from 1."""
    ciphertext: Cid
    capsule_hash: Bytes32
    manifest_commitment: Bytes32
    """Hiding commitment to the plaintext manifest (spec 15)."""
    policy_hash: Bytes32
    home: Lane
    mirrors: tuple[Lane, ...]
    """1 to 7, strictly ascending by (chain, registry), without the home."""
    terms: Terms
    deposit: int
    """u128, in units of the home registry's token."""
    nonce: Bytes32
    deadline: UnixSeconds
    """Last second, by the home chain's clock, at which home may commit."""
    extension_hash: Bytes32
    """Zero for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Move `amount` (u128) of the account's registry balance out to `recipient`."""

    at: Lane
    account: Address
    recipient: Address
    amount: int
    nonce: Bytes32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Its publisher takes a publication back, for ever and on all its registries (spec 30 §3)."""

    at: Lane
    """Any registry of the publication: that one tells the others."""
    publication: Bytes32
    publisher: Address
    reason: int
    """The publisher's own word to readers, u16: no registry looks at it."""
    nonce: Bytes32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Stops what a registry begins; signed by at least f+1 validators of the epoch (spec 35 §1)."""

    at: Lane
    epoch: Epoch
    counter: int
    """u64: the registry's present one plus 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Ends a pause; signed by a quorum of the epoch (spec 35 §1)."""

    at: Lane
    epoch: Epoch
    counter: int
    """u64: the registry's present one plus 1."""


class GovernanceAction(IntEnum):
    """What a quorum decides about a lane. Others are reserved: carried and ignored."""

    RESUME_LANE = 1
    DROP_LANE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """A quorum's decision about a lane, recorded at the root registry (spec 35 §3)."""

    at: Lane
    epoch: Epoch
    action: int
    """`GovernanceAction`, u8."""
    lane: Lane
    version: int
    """u64, from 1: the number of decisions about this lane, this one included."""
    generation: Generation
    """To resume: the next one; to drop: the present one."""
    height: int
    """u64, of the last block kept; 0 to drop."""
    block_hash: Bytes32
    """Of the last block kept; zero to drop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSet:
    """The validators of one epoch; its hashStruct is the set hash that events carry (spec 42 §1)."""

    epoch: Epoch
    validators: tuple[Address, ...]
    """In signer order."""
    f: int
    """Byzantine validators tolerated, u8."""
    t: int
    """Decryption threshold, u8."""
    transcript: Bytes32
    """What the resharing that gave them their shares ended with (spec 41 §3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetChange:
    """One set hands over to the next; signed by a quorum of each, counts at the root (spec 42 §2)."""

    at: Lane
    epoch: Epoch
    """The one that ends."""
    next: EpochSet
    lanes: tuple[Lane, ...]
    """All other registries of the network, at most 64, strictly ascending by (chain, registry)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetProposal:
    """Names the recipients of a resharing, so that they can post on the board; signed by a quorum (spec 42 §4)."""

    at: Lane
    epoch: Epoch
    """The present one."""
    next: EpochSet
    """Its transcript is zero: there is none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Move `amount` (u128) of the account's tokens into its registry balance (Fabric; EIP-2612 elsewhere)."""

    at: Lane
    account: Address
    amount: int
    nonce: Bytes32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """The token issuer credits `amount` (u128) tokens to `account` on the Fabric token ledger."""

    at: Lane
    account: Address
    amount: int
    nonce: Bytes32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """A consumer asks for one answer by the registry path (spec 60)."""

    at: Lane
    publication: Bytes32
    consumer: Address
    input: Cid
    """The sealed, salted input in the content store."""
    input_commitment: Bytes32
    client_key: Bytes32
    """X25519 public key to which the output is sealed."""
    nonce: Bytes32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRequest:
    """A consumer asks one start of one host for one answer, without a ledger (spec 60 §7)."""

    publication: Bytes32
    consumer: Address
    host: Address
    """The signing key of the host's start: the request counts there and nowhere else."""
    session: Bytes32
    """tagged_hash(DIRECT_SESSION, sealed session)."""
    input_commitment: Bytes32
    nonce: Bytes32
    deadline: UnixSeconds
    """Last second, by the host's clock, at which an answer is of use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """The keys of one start of a host, signed by an operator of the genesis descriptor."""

    sealing_key: Bytes32
    """X25519 public key."""
    signing_key: Address
    epoch: Epoch
    until: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A host's signed result of one request, accepted by the registry that took the request."""

    at: Lane
    request: Bytes32
    publication: Bytes32
    lease: Bytes32
    output: Cid
    input_commitment: Bytes32
    output_commitment: Bytes32
    receipt_hash: Bytes32
    answered_at: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was computed (DESIGN §8). Grant, quote and heartbeat are zero, shown as NONE, until they exist."""

    request: Bytes32
    """Digest of the `InferenceRequest` or of the `DirectRequest`."""
    publication: Bytes32
    grant: Bytes32
    lease: Bytes32
    quote: Bytes32
    model_commitment: Bytes32
    input_commitment: Bytes32
    output_commitment: Bytes32
    price: int
    heartbeat: Bytes32
    time: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """A host asks the board for a lease on one publication's key; signed by its signing key."""

    at: Lane
    publication: Bytes32
    sealing_key: Bytes32
    signing_key: Address
    epoch: Epoch
    purpose: int
    """1 serve."""
    opening: Bytes32
    """The request or grant that opens it; zero for a warm start."""
    end: UnixSeconds
    calls: int
    """u32, at least 1."""
    nonce: Bytes32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialPost:
    """A validator puts its sealed partial into the private collection under a lease."""

    at: Lane
    lease: Bytes32
    index: int
    """Share index, 1 <= index <= n, u8."""
    sealed_hash: Bytes32
    """sha256 of the sealed partial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPost:
    """One message of a key generation on the board; signed by the validator `index`."""

    at: Lane
    epoch: Epoch
    phase: int
    """u8, spec 40 §2."""
    index: int
    """Share index, 1 <= index <= n, u8."""
    body_hash: Bytes32
    """keccak256 of the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened at a registry (spec 10 §5)."""

    schema: int
    """u16; 1."""
    kind: int
    """`Kind` or a later number, u16."""
    destinations: tuple[Lane, ...]
    """Empty means all."""
    subject: Bytes32
    body: bytes
    """ABI-encoded struct of static fields, at most 1,024 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An event with its sequence number, as carried in a run."""

    sequence: Sequence
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Root over a run of one registry's final events; what validators sign (spec 20 §1)."""

    source: Lane
    generation: Generation
    epoch: Epoch
    first_sequence: Sequence
    last_sequence: Sequence
    root: Bytes32
    height: int
    """u64: number of the block that holds the last event."""
    block_hash: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One validator's ECDSA signature, low-s."""

    signer: SignerIndex
    v: int
    """27 or 28."""
    r: Bytes32
    s: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A checkpoint with a quorum's signatures, ascending by signer."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProof:
    """Shows that a publication is in a batch (spec 37 §1)."""

    home: Lane
    root: Bytes32
    index: int
    """0 to 255, u16."""
    siblings: tuple[Bytes32, ...]
    """At most 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The genesis descriptor; its hash is the network id (spec 10 §7)."""

    root_genesis: Bytes32
    """Genesis block hash of the root chain."""
    validators: tuple[Address, ...]
    """First validator set, in signer order."""
    f: int
    """Byzantine validators tolerated, u8."""
    t: int
    """Decryption threshold, u8."""
    operators: tuple[Address, ...]
    """Host operators."""
    attestation: Attestation
    nonce: Bytes32
