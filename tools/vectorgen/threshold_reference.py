"""Spec 40 a second time, from its text, over plain integers: what the threshold vectors are made with.

Shares no code with `caimi.crypto` (only the tagged hash of `caimi.wire`). Neither fast nor safe for secrets.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import PrivateKey

from caimi.wire.keccak import Tag, tagged_hash

P = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
Affine = tuple[int, int] | None
"""A point, None for the point at infinity."""
G: Affine = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)


def add(a: Affine, b: Affine) -> Affine:
    """Chord and tangent."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k: int, point: Affine) -> Affine:
    """Double and add."""
    total: Affine = None
    for bit in bin(k % ORDER)[2:]:
        total = add(total, total)
        total = add(total, point) if bit == "1" else total
    return total


def encode(point: Affine) -> bytes:
    """Compressed."""
    if point is None:
        raise ValueError("infinity")
    return bytes((2 + point[1] % 2,)) + b32(point[0])


def decode(data: bytes) -> Affine:
    """Of a compressed point; ValueError if x is no coordinate."""
    x = int.from_bytes(data[1:], "big")
    square = (x**3 + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if len(data) != 33 or data[0] not in (2, 3) or x >= P or y * y % P != square:
        raise ValueError("not a point")
    return x, y if y % 2 == data[0] - 2 else P - y


def uncompressed(point: Affine) -> bytes:
    """SEC 1, 65 bytes."""
    if point is None:
        raise ValueError("infinity")
    return b"\x04" + b32(point[0]) + b32(point[1])


def b32(number: int) -> bytes:
    """32 bytes, big-endian."""
    return number.to_bytes(32, "big")


def hash_to_scalar(tag: Tag, *parts: bytes) -> int:
    """Spec 40 §1."""
    return int.from_bytes(tagged_hash(tag, *parts), "big") % ORDER


def derive(purpose: bytes, *parts: bytes) -> int:
    """Spec 40 §1."""
    for counter in range(256):
        candidate = int.from_bytes(tagged_hash(Tag.DERIVE, purpose, bytes((counter,)), *parts), "big")
        if 0 < candidate < ORDER:
            return candidate
    raise ValueError("unreachable")


def second_generator() -> Affine:
    """Spec 40 §1."""
    for counter in range(256):
        try:
            return decode(b"\x02" + tagged_hash(Tag.GENERATOR, bytes((counter,))))
        except ValueError:
            continue
    raise ValueError("unreachable")


H = second_generator()


def prove(tag: Tag, context: Sequence[bytes], bases: Sequence[Affine], secret: int, entropy: bytes) -> bytes:
    """Spec 40 §2; the images follow from the secret."""
    images = [times(secret, base) for base in bases]
    statement = b"".join(encode(point) for point in (*bases, *images))
    count = bytes((len(context),))
    k = derive(b"proof-nonce", b32(secret), entropy, tag.bytes32, count, *context, statement)
    rows = zip(bases, images, (times(k, base) for base in bases), strict=True)
    points = [encode(point) for row in rows for point in row]
    e = hash_to_scalar(tag, count + bytes((len(bases),)), *context, *points)
    return b32(e) + b32((k + e * secret) % ORDER)


def evaluate(coefficients: Sequence[int], at: int) -> int:
    """Value of a polynomial, lowest coefficient first."""
    return sum(c * at**k for k, c in enumerate(coefficients)) % ORDER


def xor(a: bytes, b: bytes) -> bytes:
    """Bytewise."""
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def capsule(group_key: Affine, label: bytes, data_key: bytes, entropy: bytes) -> bytes:
    """Spec 40 §4."""
    y = encode(group_key)
    r = derive(b"capsule", entropy, y, label, data_key)
    u = encode(times(r, G))
    masked = xor(data_key, tagged_hash(Tag.CAPSULE_KEY, label, u, encode(times(r, group_key))))
    commitment = tagged_hash(Tag.KEY_COMMITMENT, label, u, data_key)
    proof = prove(Tag.CAPSULE_PROOF, (label, y, masked, commitment), (G, H), r, entropy)
    return b"\x01" + u + encode(times(r, H)) + masked + commitment + proof


def sign(secret: bytes, digest: bytes) -> bytes:
    """ECDSA of spec 20 §3 by the pure Python backend of eth-keys."""
    signature = PrivateKey(secret, backend=NativeECCBackend()).sign_msg_hash(digest)
    return b32(signature.r) + b32(signature.s) + bytes((27 + signature.v,))


def account(secret: bytes) -> bytes:
    """Address of a secret key."""
    return PrivateKey(secret, backend=NativeECCBackend()).public_key.to_canonical_address()


def partial(
    *, sealed: bytes, label: bytes, lease: bytes, epoch: int, index: int, share: int, signer: bytes, entropy: bytes
) -> bytes:
    """Spec 40 §5."""
    place = (tagged_hash(Tag.CAPSULE, sealed), label, lease, epoch.to_bytes(8, "big"), bytes((index,)))
    u = decode(sealed[1:34])
    d = encode(times(share, u))
    proof = prove(Tag.PARTIAL_PROOF, place, (G, u), share, entropy)
    signature = sign(signer, tagged_hash(Tag.PARTIAL, *place, d, proof))
    return bytes((1, index)) + epoch.to_bytes(8, "big") + lease + d + proof + signature


def _extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def _expand(prk: bytes, info: bytes, length: int) -> bytes:
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()[:length]


def hpke_seal(plaintext: bytes, *, recipient: Affine, info: bytes, ephemeral: int) -> bytes:
    """RFC 9180 base mode with KEM 0x0016, KDF 0x0001, AEAD 0x0002; without the encapsulated key."""
    kem, suite = b"HPKE-v1KEM\x00\x16", b"HPKE-v1HPKE\x00\x16\x00\x01\x00\x02"
    dh = uncompressed(times(ephemeral, recipient))[1:33]
    kem_context = uncompressed(times(ephemeral, G)) + uncompressed(recipient)
    shared = _expand(_extract(b"", kem + b"eae_prk" + dh), b"\x00\x20" + kem + b"shared_secret" + kem_context, 32)
    context = b"\x00" + _extract(b"", suite + b"psk_id_hash") + _extract(b"", suite + b"info_hash" + info)
    secret = _extract(shared, suite + b"secret")
    key = _expand(secret, b"\x00\x20" + suite + b"key" + context, 32)
    nonce = _expand(secret, b"\x00\x0c" + suite + b"base_nonce" + context, 12)
    return AESGCM(key).encrypt(nonce, plaintext, b"")


def keystore(secret: bytes, *, password: bytes, purpose: bytes, salt: bytes, nonce: bytes, cost: int) -> bytes:
    """Spec 40 §8."""
    header = b"CAIMIKEY\x01" + bytes((cost,)) + salt + nonce
    key = hashlib.scrypt(password, salt=salt, n=1 << cost, r=8, p=1, maxmem=1 << 29, dklen=32)
    return header + AESGCM(key).encrypt(nonce, secret, header + purpose)
