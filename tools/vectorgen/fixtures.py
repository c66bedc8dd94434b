"""Deterministic keys, lanes and publications that the suites share."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from coincurve import PrivateKey

from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, Generation, Sequence, SignerIndex, UnixSeconds
from caimi.types.records import (
    NO_TERMS,
    Attestation,
    Certificate,
    Checkpoint,
    Cid,
    Genesis,
    Item,
    Lane,
    Publication,
    Signature,
)
from caimi.wire.chain_ids import chain_hash, ethereum_registry, fabric_registry
from caimi.wire.digests import POLICY_OPEN, leaf_hash, network_id, typed_digest
from caimi.wire.keccak import keccak256
from caimi.wire.merkle import merkle_root

__all__ = ["Key", "certify", "hexed", "seeded"]


def seeded(label: str) -> Bytes32:
    """32 bytes that depend on `label` only."""
    return Bytes32(hashlib.sha256(b"caimi vectors " + label.encode()).digest())


@dataclass(frozen=True)
class Key:
    """An account of the vectors."""

    label: str

    @property
    def secret(self) -> bytes:
        """The private key."""
        return seeded("key " + self.label)

    @property
    def address(self) -> Address:
        """The account."""
        point = PrivateKey(self.secret).public_key.format(compressed=False)
        return Address(keccak256(point[1:])[12:])

    def sign(self, digest: bytes) -> bytes:
        """65 bytes r || s || v."""
        key: Any = PrivateKey(self.secret)
        raw: bytes = key.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes([27 + raw[64]])

    def sign_as(self, signer: int, digest: bytes) -> Signature:
        """A certificate's signature entry."""
        raw = self.sign(digest)
        return Signature(signer=SignerIndex(signer), v=raw[64], r=Bytes32(raw[:32]), s=Bytes32(raw[32:64]))


VALIDATORS: Final = tuple(Key(f"validator {i}") for i in range(4))
OPERATOR: Final = Key("operator")
PUBLISHER: Final = Key("publisher")
CONSUMER: Final = Key("consumer")
HOST: Final = Key("host")
STRANGER: Final = Key("stranger")
DEPLOYER: Final = Key("deployer")

GENESIS: Final = Genesis(
    root_genesis=seeded("root genesis"),
    validators=tuple(k.address for k in VALIDATORS),
    f=1,
    t=2,
    operators=(OPERATOR.address,),
    attestation=Attestation.NONE,
    nonce=seeded("genesis nonce"),
)
NETWORK: Final = network_id(GENESIS)

# The registry that a deployer's first transaction creates: keccak256(rlp([deployer, 0])).
_CREATED: Final = Address(keccak256(b"\xd6\x94" + DEPLOYER.address + b"\x80")[12:])
ETHEREUM: Final = Lane(chain=chain_hash("eip155:31337"), registry=ethereum_registry(_CREATED))
FABRIC: Final = Lane(
    chain=chain_hash("fabric:00112233445566778899aabbccddeeff"), registry=fabric_registry("caimi", "registry")
)
ELSEWHERE: Final = Lane(chain=chain_hash("eip155:1"), registry=ethereum_registry(Address(b"\x22" * 20)))


def publication(home: Lane, mirrors: tuple[Lane, ...], **changes: Any) -> Publication:
    """A lawful publication, changed as asked."""
    base = Publication(
        format=1,
        kind=1,
        publisher=PUBLISHER.address,
        name="digits",
        version=1,
        ciphertext=Cid(codec=0x70, digest=seeded("ciphertext")),
        capsule_hash=seeded("capsule"),
        manifest_commitment=seeded("manifest"),
        policy_hash=POLICY_OPEN,
        home=home,
        mirrors=tuple(sorted(mirrors)),
        terms=NO_TERMS,
        deposit=100,
        nonce=seeded("nonce"),
        deadline=UnixSeconds(1_800_000_600),
        extension_hash=ZERO32,
    )
    return dataclasses.replace(base, **changes)


def checkpoint(source: Lane, items: tuple[Item, ...], **changes: Any) -> Checkpoint:
    """A checkpoint over whole `items`, changed as asked."""
    base = Checkpoint(
        source=source,
        generation=Generation(1),
        epoch=Epoch(1),
        first_sequence=items[0].sequence,
        last_sequence=items[-1].sequence,
        root=merkle_root([leaf_hash(source, i) for i in items]),
        height=int(items[-1].sequence) + 10,
        block_hash=seeded(f"block {items[-1].sequence}"),
    )
    return dataclasses.replace(base, **changes)


def certify(
    point: Checkpoint,
    signers: tuple[int, ...] = (0, 1, 2),
    network: Bytes32 = NETWORK,
    keys: tuple[Key, ...] = VALIDATORS,
) -> Certificate:
    """The checkpoint signed by these validators, in this order."""
    digest = typed_digest(network, point)
    return Certificate(checkpoint=point, signatures=tuple(keys[i].sign_as(i, digest) for i in signers))


def hexed(data: bytes) -> str:
    """0x and lower-case hex."""
    return "0x" + data.hex()


def item(sequence: int, event: Any) -> Item:
    """An event with its number."""
    return Item(sequence=Sequence(sequence), event=event)
