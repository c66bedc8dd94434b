"""Who and what the random calls are about: accounts, lanes, the genesis descriptor; all depends on labels only."""

from __future__ import annotations

from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Bytes32
from caimi.types.records import Attestation, Genesis, Lane
from caimi.wire.chain_ids import chain_hash, fabric_registry
from caimi.wire.digests import network_id
from caimi.wire.keccak import keccak256

__all__ = [
    "CHAIN",
    "GENESIS",
    "HOST",
    "ISSUER",
    "NETWORK",
    "OPENING",
    "OPERATOR",
    "OTHERS",
    "OWN",
    "PEOPLE",
    "STRANGER",
    "VALIDATORS",
    "word",
]


def word(label: str) -> Bytes32:
    """32 bytes that depend on `label` only."""
    return keccak256(label.encode())


def _key(label: str) -> SigningKey:
    return SigningKey(word("traffic " + label))


CHAIN = chain_hash("fabric:00112233445566778899aabbccddeeff")
OWN = Lane(chain=CHAIN, registry=fabric_registry("caimi", "registry"))
OTHERS = tuple(Lane(chain=chain_hash(f"eip155:{n}"), registry=word(f"registry {n}")) for n in (1, 31337))
VALIDATORS = tuple(_key(f"validator {n}") for n in range(4))
PEOPLE = tuple(_key(f"person {n}") for n in range(3))
OPERATOR, HOST, ISSUER, STRANGER = _key("operator"), _key("host"), _key("issuer"), _key("stranger")
GENESIS = Genesis(
    root_genesis=word("root"),
    validators=tuple(v.address for v in VALIDATORS),
    f=1,
    t=2,
    operators=(OPERATOR.address,),
    attestation=Attestation.NONE,
    nonce=word("nonce"),
)
NETWORK = network_id(GENESIS)
OPENING = 3000
"""Balance of everybody at the start."""
