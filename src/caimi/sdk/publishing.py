"""Publishing: seal, upload, capsule, signature, relay, in this order; taken up again where it stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from caimi.bundle.cid import DAG_PB, cid_of
from caimi.bundle.framing import bundle_bytes, manifest_commitment
from caimi.bundle.manifest import encode_manifest
from caimi.bundle.opener import SealEntropy, seal_bundle
from caimi.bundle.stream import StreamSize, content_key
from caimi.crypto.capsule import Capsule, capsule_hash, seal_key
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.secp256k1 import GROUP
from caimi.ports.content import UploadProgress
from caimi.ports.tracing import working_on
from caimi.protocol.validity import check_publication
from caimi.sdk.connections import Connections
from caimi.sdk.errors import NoGroupKey
from caimi.sdk.json_fields import hex_text
from caimi.sdk.network import Network
from caimi.types.errors import NearDeadline
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds, checked_uint
from caimi.types.records import NO_TERMS, Cid, Lane, Publication, PublicationKind
from caimi.wire.codec import encode
from caimi.wire.digests import POLICY_OPEN, capsule_label, publication_id

if TYPE_CHECKING:
    from caimi.sdk.bundles import LocalBundle

__all__ = [
    "SEED_BYTES",
    "PublishStep",
    "Offer",
    "PublicationSeed",
    "SignedPublication",
    "check_deadline",
    "check_terms",
    "ciphertext_bytes",
    "compose",
    "make_offer",
    "post",
    "seal",
    "upload",
]

SEED_BYTES: Final = 32 + 32 + 32 + 7 + 32 + 32
_ANY_CID: Final = cid_of(DAG_PB, b"any")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationSeed:
    """All randomness of one publication: the same seed and files give the same ciphertext, capsule and bytes."""

    data_key: Bytes32
    manifest_salt: Bytes32
    stream_salt: Bytes32
    stream_prefix: bytes
    capsule_entropy: Bytes32
    nonce: Bytes32

    @classmethod
    def from_bytes(cls, fresh: bytes) -> PublicationSeed:
        """Take `SEED_BYTES` fresh random bytes apart."""
        parts: list[bytes] = []
        for length in (32, 32, 32, 7, 32, 32):
            parts.append(fresh[:length])
            fresh = fresh[length:]
        return cls(
            data_key=Bytes32(parts[0]),
            manifest_salt=Bytes32(parts[1]),
            stream_salt=Bytes32(parts[2]),
            stream_prefix=parts[3],
            capsule_entropy=Bytes32(parts[4]),
            nonce=Bytes32(parts[5]),
        )

    def to_bytes(self) -> bytes:
        """Inverse of `from_bytes`. SECRET."""
        secrets = (self.data_key, self.manifest_salt, self.stream_salt, self.stream_prefix)
        return b"".join((*secrets, self.capsule_entropy, self.nonce))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the publisher decides."""

    name: str
    version: int
    home: Lane
    mirrors: tuple[Lane, ...]
    """Any order; they are sorted for signing."""
    deposit: int
    deadline: UnixSeconds
    """Last second, by the home chain's clock, at which it may be committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishStep:
    """Where a publication is, for progress."""

    name: str
    """inspect, upload, sign, relay; "again" if an interrupted one is taken up."""
    done: int = 0
    total: int = 0
    """Of bytes, where it is about bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPublication:
    """What goes to the relay, and the capsule that goes to whoever asks for it."""

    id: PublicationId
    publication: Publication
    signature: bytes
    capsule: Capsule


async def make_offer(
    connections: Connections,
    name: str,
    version: int,
    home: str,
    mirrors: tuple[Lane, ...],
    deposit: int | None,
    deadline_s: int,
) -> Offer:
    """What the publisher decides, with home's least deposit where he names none, and `deadline_s` from home's clock.

    Raises:
        UnknownName: There is no such lane.
        OutOfRange: A version, deposit or deadline beyond what a ledger can hold.
        NearDeadline: See `check_deadline`.
        ChainError: Of home's ledger.
    """
    lane = connections.network.lane(home)
    now = await connections.clock(home)
    deadline = UnixSeconds(checked_uint(now + deadline_s, 64))
    check_deadline(deadline, now=now, clock_window_s=lane.clock_window_s)
    return Offer(
        name=name,
        version=checked_uint(version, 64),
        home=lane.lane,
        mirrors=mirrors,
        deposit=lane.min_deposit if deposit is None else checked_uint(deposit, 128),
        deadline=deadline,
    )


def check_terms(network: Network, bundle: LocalBundle, offer: Offer, account: SigningKey) -> None:
    """Everything that `compose` refuses, before minutes of upload instead of after. Raises as `compose`."""
    # With any randomness and any content id.
    seed = PublicationSeed.from_bytes(bytes(SEED_BYTES - 1) + b"\x01")
    compose(network, bundle, seed, ciphertext=_ANY_CID, offer=offer, account=account)


async def seal(
    connections: Connections,
    bundle: LocalBundle,
    seed: PublicationSeed,
    offer: Offer,
    account: SigningKey,
    tell: Callable[[PublishStep], None],
) -> SignedPublication:
    """Upload, then compose. Raises as the two."""
    total = ciphertext_bytes(bundle)

    def uploaded(done: UploadProgress) -> None:
        tell(PublishStep(name="upload", done=done.content_bytes, total=total))

    ciphertext = await upload(connections, bundle, seed, progress=uploaded)
    tell(PublishStep(name="sign"))
    return compose(connections.network, bundle, seed, ciphertext=ciphertext, offer=offer, account=account)


def ciphertext_bytes(bundle: LocalBundle) -> int:
    """How long the ciphertext of a bundle is."""
    return StreamSize.of_plaintext(bundle_bytes(bundle.manifest)).ciphertext_bytes


async def upload(
    connections: Connections,
    bundle: LocalBundle,
    seed: PublicationSeed,
    *,
    progress: Callable[[UploadProgress], None] | None = None,
) -> Cid:
    """Encrypt the bundle while it is uploaded; blocks that the store has are not sent again.

    Raises:
        FileMismatch: A file changed meanwhile.
        StoreFull, StoreUnavailable, StoreRefused: Repeat with the same seed to go on.
    """
    entropy = SealEntropy(
        manifest_salt=seed.manifest_salt, stream_salt=seed.stream_salt, stream_prefix=seed.stream_prefix
    )
    segments = seal_bundle(content_key(seed.data_key), bundle.manifest, entropy=entropy, contents=bundle.contents())
    return (await connections.content.upload(segments, progress=progress)).cid


def compose(
    network: Network,
    bundle: LocalBundle,
    seed: PublicationSeed,
    *,
    ciphertext: Cid,
    offer: Offer,
    account: SigningKey,
) -> SignedPublication:
    """Label, capsule, id, signature. Everything that a registry would refuse for ever is refused here.

    Raises:
        NoGroupKey: The validators have no key yet.
        BadName, BadVersion, BadMirrors, ...: A permanent reason (spec 30 §4).
    """
    if network.group_key is None:
        raise NoGroupKey("network.json has no group key")
    draft = Publication(
        format=1,
        kind=PublicationKind.MODEL,
        publisher=account.address,
        name=offer.name,
        version=offer.version,
        ciphertext=ciphertext,
        capsule_hash=ZERO32,
        manifest_commitment=manifest_commitment(seed.manifest_salt, encode_manifest(bundle.manifest)),
        policy_hash=POLICY_OPEN,
        home=offer.home,
        mirrors=tuple(sorted(offer.mirrors)),
        terms=NO_TERMS,
        deposit=offer.deposit,
        nonce=seed.nonce,
        deadline=offer.deadline,
        extension_hash=ZERO32,
    )
    check_publication(draft)
    label = capsule_label(network.id, network.group_key, draft)
    capsule = seal_key(
        GROUP.decode_point(network.group_key), label=label, data_key=seed.data_key, entropy=seed.capsule_entropy
    )
    publication = dataclasses.replace(draft, capsule_hash=capsule_hash(capsule))
    identifier = publication_id(network.id, publication)
    signature = account.sign(identifier).to_bytes()
    return SignedPublication(id=identifier, publication=publication, signature=signature, capsule=capsule)


def check_deadline(deadline: UnixSeconds, *, now: UnixSeconds, clock_window_s: int) -> None:
    """Refuse a deadline that home would refuse.

    Raises:
        NearDeadline: Less than two clock windows from now.
    """
    earliest = now + 2 * clock_window_s
    if deadline < earliest:
        raise NearDeadline(deadline, earliest)


async def post(connections: Connections, signed: SignedPublication) -> tuple[str, ...]:
    """Hand it to the relay, which locks it everywhere; repeating is harmless.

    Returns:
        Mirrors that the relay does not serve, by name or identifiers.
    Raises:
        Refusal, ServiceUnavailable: Of the relay.
    """
    body = {
        "publication": hex_text(encode(signed.publication)),
        "signature": hex_text(signed.signature),
        "capsule": hex_text(signed.capsule.to_bytes()),
    }
    with working_on(signed.id):
        answer = await connections.relay.post("/v1/publications", body)
    return answer.texts("unknown_mirrors")
