"""Suites of spec 40, made by the reference in this folder: threshold/{group,proof,capsule,partial,keystore}.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caimi.wire.keccak import Tag, tagged_hash
from vectorgen.dkg_reference import ReferenceDealer, ReferenceSession, run
from vectorgen.threshold_reference import (
    ORDER,
    Affine,
    G,
    H,
    P,
    account,
    b32,
    capsule,
    decode,
    derive,
    encode,
    hash_to_scalar,
    keystore,
    partial,
    prove,
    sign,
    times,
    uncompressed,
)

Case = dict[str, Any]
LABEL, LEASE, OTHER = b"\x1a" * 32, b"\x1e" * 32, b"\x77" * 32
DATA_KEY, ENTROPY = bytes(range(32)), b"\xe4" * 32
SIGNERS = tuple(bytes((i + 1,)) * 32 for i in range(4))
SESSION = ReferenceSession(
    network=b"\x07" * 32, epoch=1, attempt=0, f=1, t=3, accounts=tuple(account(s) for s in SIGNERS)
)
DEALERS = tuple(ReferenceDealer(SESSION, i, bytes((0x50 + i,)) * 32) for i in SESSION.indices)
RUN = run(DEALERS)


def hexed(data: bytes) -> str:
    """0x hex."""
    return "0x" + data.hex()


def numbered(cases: Sequence[Case]) -> list[Case]:
    """Give each case its tcId."""
    return [{"tcId": i, **case} for i, case in enumerate(cases, 1)]


def suite(description: str, cases: Sequence[Case], refusals: Sequence[Case], **shared: Any) -> Case:
    """One file."""
    return {
        "description": description,
        **shared,
        "cases": numbered(cases),
        "refusals": numbered(refusals),
    }


def flipped(data: bytes, at: int) -> bytes:
    """One byte changed."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def group_suite() -> Case:
    """Points, scalars, hashing."""
    k = derive(b"vector", b"k")
    cases: list[Case] = [
        {"comment": "second generator", "op": "secondGenerator", "result": hexed(encode(H))},
        {
            "comment": "hash to scalar",
            "op": "hashToScalar",
            "tag": "PARTIAL_PROOF",
            "parts": [hexed(b""), hexed(b"ab"), hexed(b"c")],
            "result": hexed(b32(hash_to_scalar(Tag.PARTIAL_PROOF, b"", b"ab", b"c"))),
        },
        {
            "comment": "derived secret",
            "op": "derive",
            "purpose": "vector",
            "parts": [hexed(b"k")],
            "result": hexed(b32(k)),
        },
    ]
    for comment, scalar, point in (
        ("one", 1, G),
        ("two", 2, H),
        ("order less one", ORDER - 1, G),
        ("any", k, G),
        ("any times another point", k, H),
    ):
        cases.append(
            {
                "comment": f"multiply by {comment}",
                "op": "multiply",
                "scalar": hexed(b32(scalar)),
                "point": hexed(encode(point)),
                "result": hexed(encode(times(scalar, point))),
            }
        )
    description = "Group of spec 40 §1: operations, and encodings that are refused."
    return suite(description, cases, _encoding_refusals())


def _encoding_refusals() -> list[Case]:
    points = [
        ("empty", b""),
        ("infinity as zeros", bytes(33)),
        ("x = 0", b"\x02" + bytes(32)),
        ("x = 5 is not on the curve", b"\x02" + b32(5)),
        ("x = field size", b"\x02" + b32(P)),
        ("x = 1 beyond the field", b"\x02" + b32(P + 1)),
        ("uncompressed", uncompressed(G)),
        ("prefix of the uncompressed form", b"\x04" + encode(G)[1:]),
        ("one byte left over", encode(G) + b"\x00"),
    ]
    scalars = [("empty", b""), ("31 bytes", b"\x01" * 31), ("order", b32(ORDER)), ("largest", b"\xff" * 32)]
    refusals = [{"comment": c, "decode": "point", "encoded": hexed(d), "error": "BadPoint"} for c, d in points]
    refusals += [{"comment": c, "decode": "scalar", "encoded": hexed(d), "error": "BadScalar"} for c, d in scalars]
    refusals += [
        {"comment": c, "decode": "secret", "encoded": hexed(d), "error": "BadSecret"}
        for c, d in (*scalars, ("zero", bytes(32)))
    ]
    return refusals


def _proof_case(comment: str, tag: Tag, context: Sequence[bytes], bases: Sequence[Affine], secret: int) -> Case:
    return {
        "comment": comment,
        "tag": tag.name,
        "context": [hexed(c) for c in context],
        "bases": [hexed(encode(b)) for b in bases],
        "images": [hexed(encode(times(secret, b))) for b in bases],
        "secret": hexed(b32(secret)),
        "entropy": hexed(ENTROPY),
        "proof": hexed(prove(tag, context, bases, secret, ENTROPY)),
    }


def proof_suite() -> Case:
    """Proofs of equal logarithms."""
    secret, context = derive(b"vector", b"secret"), (LABEL, LEASE)
    good = _proof_case("two bases", Tag.PARTIAL_PROOF, context, (G, H), secret)
    cases = [
        good,
        _proof_case("one base", Tag.DKG_POSSESSION, (), (G,), secret),
        _proof_case("secret one", Tag.CAPSULE_PROOF, (b"",), (G, H), 1),
        _proof_case("secret order less one", Tag.CAPSULE_PROOF, (b"",), (G, H), ORDER - 1),
    ]
    base = {key: value for key, value in good.items() if key not in ("comment", "secret", "entropy")}
    proof = prove(Tag.PARTIAL_PROOF, context, (G, H), secret, ENTROPY)
    other = hexed(encode(times(5, G)))
    changes: list[tuple[str, Case]] = [
        ("another tag", {"tag": "CAPSULE_PROOF"}),
        ("context: a part less", {"context": good["context"][:1]}),
        ("context: parts exchanged", {"context": good["context"][::-1]}),
        ("context: parts joined", {"context": [hexed(LABEL + LEASE)]}),
        ("another first base", {"bases": [other, good["bases"][1]]}),
        ("another second base", {"bases": [good["bases"][0], other]}),
        ("another first image", {"images": [other, good["images"][1]]}),
        ("another second image", {"images": [good["images"][0], other]}),
        ("challenge changed", {"proof": hexed(flipped(proof, 31))}),
        ("response changed", {"proof": hexed(flipped(proof, 63))}),
        ("zeros", {"proof": hexed(bytes(64))}),
    ]
    refusals = [{"comment": c, **base, **change, "error": "InvalidProof"} for c, change in changes]
    refusals.append({"comment": "response above the order", **base, "proof": hexed(proof[:32] + b"\xff" * 32)})
    refusals[-1]["error"] = "BadScalar"
    refusals.append({"comment": "63 bytes", **base, "proof": hexed(proof[:63]), "error": "BadLength"})
    return suite("Proofs of spec 40 §2.", cases, refusals)


def capsule_suite() -> Case:
    """Capsules."""
    y = RUN.group_key
    sealed = capsule(y, LABEL, DATA_KEY, ENTROPY)

    def case(comment: str, label: bytes, data_key: bytes, entropy: bytes) -> Case:
        made = capsule(y, label, data_key, entropy)
        return {
            "comment": comment,
            "label": hexed(label),
            "dataKey": hexed(data_key),
            "entropy": hexed(entropy),
            "capsule": hexed(made),
            "capsuleHash": hexed(tagged_hash(Tag.CAPSULE, made)),
        }

    cases = [
        case("usual", LABEL, DATA_KEY, ENTROPY),
        case("another label", OTHER, DATA_KEY, ENTROPY),
        case("another key", LABEL, bytes(32), ENTROPY),
        case("no entropy", LABEL, DATA_KEY, bytes(32)),
    ]

    shares = {str(i): hexed(b32(RUN.shares[i])) for i in (1, 2, 3)}
    refusals = _capsule_refusals(sealed)
    return suite("Capsules of spec 40 §4.", cases, refusals, groupKey=hexed(encode(y)), shares=shares)


def _capsule_refusals(sealed: bytes) -> list[Case]:
    y = RUN.group_key

    def refusal(comment: str, error: str, data: bytes, *, label: bytes = LABEL, key: Affine = y) -> Case:
        return {
            "comment": comment,
            "capsule": hexed(data),
            "label": hexed(label),
            "groupKey": hexed(encode(key)),
            "error": error,
        }

    doubled = b"\x01" + b"".join(encode(times(2, decode(sealed[a : a + 33]))) for a in (1, 34)) + sealed[67:]
    dishonest = _dishonest_capsule(y)
    return [
        refusal("another label", "InvalidCapsule", sealed, label=OTHER),
        refusal("another group key", "InvalidCapsule", sealed, key=G),
        refusal("both halves doubled", "InvalidCapsule", doubled),
        refusal("masked key changed", "InvalidCapsule", flipped(sealed, 67)),
        refusal("commitment changed", "InvalidCapsule", flipped(sealed, 99)),
        refusal("challenge changed", "InvalidCapsule", flipped(sealed, 162)),
        refusal("response changed", "InvalidCapsule", flipped(sealed, 194)),
        refusal("ephemeral point negated", "InvalidCapsule", flipped(sealed, 1)),
        refusal("twin negated", "InvalidCapsule", flipped(sealed, 34)),
        refusal("format 2", "MalformedCapsule", b"\x02" + sealed[1:]),
        refusal("a byte short", "MalformedCapsule", sealed[:-1]),
        refusal("a byte long", "MalformedCapsule", sealed + b"\x00"),
        refusal("ephemeral at infinity", "MalformedCapsule", b"\x01" + bytes(33) + sealed[34:]),
        refusal("response above the order", "MalformedCapsule", sealed[:163] + b"\xff" * 32),
        refusal("valid proof, key of another commitment", "WrongKeyCommitment", dishonest),
    ]


def _dishonest_capsule(group_key: Affine) -> bytes:
    r = derive(b"vector", b"dishonest")
    masked, commitment = bytes(32), OTHER
    context = (LABEL, encode(group_key), masked, commitment)
    proof = prove(Tag.CAPSULE_PROOF, context, (G, H), r, ENTROPY)
    return b"\x01" + encode(times(r, G)) + encode(times(r, H)) + masked + commitment + proof


SEALED = capsule(RUN.group_key, LABEL, DATA_KEY, ENTROPY)


def _partial(index: int, *, share: int | None = None, lease: bytes = LEASE, epoch: int = 1, signer: int = 0) -> bytes:
    return partial(
        sealed=SEALED,
        label=LABEL,
        lease=lease,
        epoch=epoch,
        index=index,
        share=RUN.shares[index] if share is None else share,
        signer=SIGNERS[(signer or index) - 1],
        entropy=ENTROPY,
    )


def _partial_refusals(honest: dict[int, bytes], false: bytes) -> list[Case]:
    good = honest[2]
    # The signature is over what the partial shows; take the signed proof of 3 and say it is 2's.
    stolen = _resigned(bytes((1, 2)) + honest[3][2:139], signer=SIGNERS[1], index=2)
    singles: list[tuple[str, str, bytes]] = [
        ("computed with another number than the share, signed", "InvalidPartial", false),
        ("validator 3's point and proof, signed by 2", "InvalidPartial", stolen),
        ("signed by another validator", "UnsignedPartial", _partial(2, signer=1)),
        ("point changed after signing", "UnsignedPartial", good[:42] + encode(G) + good[75:]),
        ("v = 29", "UnsignedPartial", good[:-1] + b"\x1d"),
        ("another lease", "ForeignPartial", _partial(2, lease=OTHER)),
        ("another epoch", "ForeignPartial", _partial(2, epoch=2)),
        ("another index", "ForeignPartial", honest[3]),
        ("format 2", "MalformedPartial", b"\x02" + good[1:]),
        ("a byte short", "MalformedPartial", good[:-1]),
        ("a byte long", "MalformedPartial", good + b"\x00"),
        ("point at infinity", "MalformedPartial", good[:42] + bytes(33) + good[75:]),
        ("response above the order", "MalformedPartial", good[:107] + b"\xff" * 32 + good[139:]),
    ]
    return [
        {"comment": c, "index": 2, "partial": hexed(data), "error": error, "culprit": 2} for c, error, data in singles
    ]


def partial_suite() -> Case:
    """Partials and their combination."""
    honest = {i: _partial(i) for i in SESSION.indices}
    false = _partial(2, share=derive(b"vector", b"false"))
    cases = [
        {"comment": f"index {i}", "index": i, "share": hexed(b32(RUN.shares[i])), "partial": hexed(honest[i])}
        for i in SESSION.indices
    ]

    def combination(comment: str, parts: Sequence[bytes], culprits: Sequence[int] = ()) -> Case:
        return {"comment": comment, "partials": [hexed(p) for p in parts], "culprits": list(culprits)}

    accepted = [
        combination("1, 2, 3", [honest[1], honest[2], honest[3]]),
        combination("4, 3, 1", [honest[4], honest[3], honest[1]]),
        combination("one bad, goes on", [honest[1], false, honest[3], honest[4]], [2]),
        combination("one twice, goes on", [honest[1], honest[1], honest[2], honest[4]], [1]),
    ]
    refused = [
        combination("none", []),
        combination("t - 1", [honest[1], honest[2]]),
        combination("one twice", [honest[1], honest[2], honest[2]], [2]),
        combination("one bad", [honest[1], false, honest[3]], [2]),
    ]
    return suite(
        "Partials of spec 40 §5; `combine` gives dataKey, `tooFew` is NotEnoughPartials.",
        cases,
        _partial_refusals(honest, false),
        key=hexed(RUN.threshold_key(SESSION)),
        f=1,
        signers=[hexed(s) for s in SIGNERS],
        capsule=hexed(SEALED),
        label=hexed(LABEL),
        lease=hexed(LEASE),
        entropy=hexed(ENTROPY),
        dataKey=hexed(DATA_KEY),
        combine=numbered(accepted),
        tooFew=numbered(refused),
    )


def _resigned(unsigned: bytes, *, signer: bytes, index: int) -> bytes:
    place = (tagged_hash(Tag.CAPSULE, SEALED), LABEL, LEASE, (1).to_bytes(8, "big"), bytes((index,)))
    return unsigned + sign(signer, tagged_hash(Tag.PARTIAL, *place, unsigned[42:75], unsigned[75:139]))


def keystore_suite() -> Case:
    """Secrets under a password."""
    good = {"password": hexed(b"correct horse"), "purpose": hexed(b"validator-0/signing")}
    blob = keystore(
        b"\x11" * 32, password=b"correct horse", purpose=b"validator-0/signing", salt=LABEL, nonce=b"\x02" * 12, cost=14
    )
    case = {"comment": "usual", **good, "salt": hexed(LABEL), "nonce": hexed(b"\x02" * 12), "cost": 14}
    cases = [{**case, "secret": hexed(b"\x11" * 32), "blob": hexed(blob)}]
    refusals = [
        {"comment": "wrong password", **good, "password": hexed(b"wrong"), "blob": hexed(blob)},
        {"comment": "another purpose", **good, "purpose": hexed(b"validator-1/signing"), "blob": hexed(blob)},
        {"comment": "ciphertext changed", **good, "blob": hexed(flipped(blob, 60))},
        {"comment": "salt changed", **good, "blob": hexed(flipped(blob, 12))},
    ]
    refusals = [{**r, "error": "WrongPassword"} for r in refusals]
    for comment, data in (
        ("another magic", b"X" + blob[1:]),
        ("version 2", blob[:8] + b"\x02" + blob[9:]),
        ("cost 13", blob[:9] + b"\x0d" + blob[10:]),
        ("cost 31", blob[:9] + b"\x1f" + blob[10:]),
        ("cut", blob[:60]),
    ):
        refusals.append({"comment": comment, **good, "blob": hexed(data), "error": "MalformedKeystore"})
    return suite("Keys at rest, spec 40 §8.", cases, refusals)
