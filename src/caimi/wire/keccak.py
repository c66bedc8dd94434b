"""Keccak-256 and domain tags: the only place where protocol bytes meet a hash function (spec 10 §1)."""

from __future__ import annotations

from enum import Enum

from Crypto.Hash import keccak as _keccak  # pycryptodome, without per-call backend lookup

from caimi.types.primitives import Bytes32

__all__ = ["Tag", "keccak256", "tagged_hash"]


class Tag(Enum):
    """Every domain-separation value (the table of spec 10 §1 is generated from here)."""

    GENESIS = "CAIMI/1/genesis"
    EVENT = "CAIMI/1/event"
    LEAF = "CAIMI/1/leaf"
    LABEL = "CAIMI/1/label"
    POLICY_OPEN = "CAIMI/1/policy-open"
    MANIFEST = "CAIMI/1/manifest"
    INPUT = "CAIMI/1/input"
    OUTPUT = "CAIMI/1/output"
    CAPSULE = "CAIMI/1/capsule"
    CAPSULE_PROOF = "CAIMI/1/capsule-proof"
    CAPSULE_KEY = "CAIMI/1/capsule-key"
    KEY_COMMITMENT = "CAIMI/1/key-commitment"
    GENERATOR = "CAIMI/1/generator"
    PARTIAL_PROOF = "CAIMI/1/partial-proof"
    PARTIAL = "CAIMI/1/partial"
    PARTIAL_SEAL = "CAIMI/1/partial-seal"
    DKG_COMMIT = "CAIMI/1/dkg-commit"
    DKG_POSSESSION = "CAIMI/1/dkg-possession"
    DKG_SHARE_SEAL = "CAIMI/1/dkg-share-seal"
    DKG_TRANSCRIPT = "CAIMI/1/dkg-transcript"
    GROUP_KEY = "CAIMI/1/group-key"
    INPUT_SEAL = "CAIMI/1/input-seal"
    OUTPUT_SEAL = "CAIMI/1/output-seal"
    DIRECT_SESSION = "CAIMI/1/direct-session"
    DIRECT_INPUT = "CAIMI/1/direct-input"
    DIRECT_OUTPUT = "CAIMI/1/direct-output"
    STREAM = "CAIMI/1/stream"
    DERIVE = "CAIMI/1/derive"
    DKG_SESSION = "CAIMI/1/dkg-session"
    DKG_COMPLAINT = "CAIMI/1/dkg-complaint"
    BATCH_ITEM = "CAIMI/1/batch-item"

    @property
    def bytes32(self) -> Bytes32:
        """The tag as 32 bytes: ASCII, zero padded on the right."""
        return Bytes32(self.value.encode("ascii").ljust(32, b"\0"))


def keccak256(data: bytes) -> Bytes32:
    """Keccak-256 (the original padding, as on Ethereum)."""
    return Bytes32(_keccak.new(digest_bits=256, data=data).digest())


def tagged_hash(tag: Tag, *parts: bytes) -> Bytes32:
    """keccak256(tag[32] || for each part: length u32be || part) (spec 10 §1)."""
    return keccak256(tag.bytes32 + b"".join(len(p).to_bytes(4, "big") + p for p in parts))
