"""Every digest of the protocol, one function each (spec 10)."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import lru_cache
from typing import Final

from caimi.types.primitives import ZERO32, Bytes32, PublicationId
from caimi.types.records import Cid, Event, Genesis, Item, Lane, Publication
from caimi.wire.codec import Record, encode_values, struct_hash
from caimi.wire.keccak import Tag, keccak256, tagged_hash

__all__ = [
    "POLICY_OPEN",
    "batch_leaf",
    "capsule_label",
    "cid_bytes",
    "domain_separator",
    "event_hash",
    "group_key_hash",
    "lane_hash",
    "leaf_hash",
    "network_id",
    "publication_id",
    "sealed_hash",
    "typed_digest",
]

_DOMAIN_TYPE: Final = keccak256(b"EIP712Domain(string name,string version,bytes32 salt)")
_NAME: Final = keccak256(b"CAIMI")
_VERSION: Final = keccak256(b"1")

POLICY_OPEN: Final = tagged_hash(Tag.POLICY_OPEN)
"""The policy that lets everybody in; it has to be named."""


def network_id(genesis: Genesis) -> Bytes32:
    """keccak256(abi.encode(tag, Genesis)) (spec 10 §7)."""
    return keccak256(encode_values(("bytes32", "Genesis"), (Tag.GENESIS.bytes32, genesis)))


@lru_cache(maxsize=16)
def domain_separator(network: Bytes32) -> Bytes32:
    """EIP-712 domain {name "CAIMI", version "1", salt network}."""
    return keccak256(_DOMAIN_TYPE + _NAME + _VERSION + network)


def typed_digest(network: Bytes32, record: Record) -> Bytes32:
    """What is signed: keccak256(0x1901 || domain separator || hashStruct(record))."""
    return keccak256(b"\x19\x01" + domain_separator(network) + struct_hash(record))


def publication_id(network: Bytes32, publication: Publication) -> PublicationId:
    """A publication's id is the digest that its publisher signs."""
    return PublicationId(typed_digest(network, publication))


def lane_hash(lane: Lane) -> Bytes32:
    """keccak256(chain || registry): the key of a lane in storage."""
    return keccak256(lane.chain + lane.registry)


def event_hash(event: Event) -> Bytes32:
    """keccak256(abi.encode(tag, schema, kind, keccak256(chain || registry ...), subject, keccak256(body)))."""
    destinations = keccak256(b"".join(d.chain + d.registry for d in event.destinations))
    return keccak256(
        Tag.EVENT.bytes32
        + event.schema.to_bytes(32, "big")
        + event.kind.to_bytes(32, "big")
        + destinations
        + event.subject
        + keccak256(event.body)
    )


@lru_cache(maxsize=4096)
def leaf_hash(source: Lane, item: Item) -> Bytes32:
    """keccak256(0x00 || keccak256(abi.encode(tag, chain, registry, sequence, event hash)))."""
    inner = keccak256(
        Tag.LEAF.bytes32 + source.chain + source.registry + item.sequence.to_bytes(32, "big") + event_hash(item.event)
    )
    return keccak256(b"\x00" + inner)


def batch_leaf(index: int, identifier: PublicationId) -> Bytes32:
    """keccak256(0x00 || keccak256(abi.encode(tag, index, id))): a publication at its place in a batch (spec 37 §1)."""
    return keccak256(b"\x00" + keccak256(Tag.BATCH_ITEM.bytes32 + index.to_bytes(32, "big") + identifier))


def group_key_hash(group_key: bytes) -> Bytes32:
    """Identifier of the validators' public key (33 bytes, compressed)."""
    return tagged_hash(Tag.GROUP_KEY, group_key)


def capsule_label(network: Bytes32, group_key: bytes, publication: Publication) -> Bytes32:
    """The label that binds a capsule: network, group key, all fields but the capsule hash (DESIGN §6)."""
    blank = dataclasses.replace(publication, capsule_hash=ZERO32)
    return tagged_hash(Tag.LABEL, network, group_key, struct_hash(blank))


def cid_bytes(cid: Cid) -> bytes:
    """The 36 bytes of the binary CIDv1: 0x01, codec, 0x12, 0x20, digest."""
    return bytes((1, cid.codec, 0x12, 0x20)) + cid.digest


def sealed_hash(sealed: bytes) -> Bytes32:
    """sha256 of a sealed partial, as Fabric's private collections hash their values."""
    return Bytes32(hashlib.sha256(sealed).digest())
