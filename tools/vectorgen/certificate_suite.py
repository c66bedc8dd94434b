"""Suite certificate: quorums that count and quorums that do not."""

from __future__ import annotations

import dataclasses
from typing import Any

from caimi.types.primitives import Bytes32, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import Certificate, Checkpoint, Lane, Signature
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from vectorgen import fixtures as fx
from vectorgen.fixtures import certify, hexed, seeded
from vectorgen.wire_suite import sample_items

__all__ = ["certificate_suite"]

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _high_s(signature: Signature) -> Signature:
    s = Bytes32((_ORDER - int.from_bytes(signature.s, "big")).to_bytes(32, "big"))
    return dataclasses.replace(signature, s=s, v=55 - signature.v)


def certificate_suite() -> dict[str, Any]:
    """Accepting and refusing certificates of one checkpoint."""
    point = fx.checkpoint(fx.FABRIC, sample_items(3))
    good = certify(point)
    accept = [
        ("a quorum", good),
        ("another quorum", certify(point, (0, 2, 3))),
        ("all four", certify(point, (0, 1, 2, 3))),
    ]
    refuse = _bad_quorums(good)
    refuse += [
        (f"only {f} was changed", Certificate(checkpoint=c, signatures=good.signatures), "WrongSigner", 0)
        for f, c in _changes(point)
    ]
    return {
        "network": hexed(fx.NETWORK),
        "genesis": hexed(encode(fx.GENESIS)),
        "epoch": 1,
        "cases": [{"tcId": i + 1, "comment": c, "certificate": hexed(encode(x))} for i, (c, x) in enumerate(accept)],
        "refusals": [
            {
                "tcId": 1000 + i,
                "comment": comment,
                "certificate": hexed(encode(bad)),
                "error": error,
                "place": "certificate",
                **({} if signer is None else {"signer": signer}),
            }
            for i, (comment, bad, error, signer) in enumerate(refuse)
        ],
    }


def _bad_quorums(good: Certificate) -> list[tuple[str, Certificate, str, int | None]]:
    point, sig = good.checkpoint, good.signatures
    return [
        ("no signature", _with(good, ()), "TooFewSignatures", None),
        ("one too few", _with(good, sig[:2]), "TooFewSignatures", None),
        ("the same signer three times", _with(good, (sig[0], sig[0], sig[0])), "DuplicateSigner", 0),
        ("a signer twice makes no quorum", _with(good, (sig[0], sig[1], sig[1])), "DuplicateSigner", 1),
        ("descending", _with(good, (sig[2], sig[1], sig[0])), "UnsortedSigners", 1),
        (
            "signer 4 of 4",
            _with(good, (*sig[:2], dataclasses.replace(sig[2], signer=SignerIndex(4)))),
            "UnknownSigner",
            4,
        ),
        (
            "signer 255",
            _with(good, (*sig[:2], dataclasses.replace(sig[2], signer=SignerIndex(255)))),
            "UnknownSigner",
            255,
        ),
        ("high s", _with(good, (*sig[:2], _high_s(sig[2]))), "HighS", 2),
        ("v 0", _with(good, (dataclasses.replace(sig[0], v=0), *sig[1:])), "BadSignature", 0),
        # As some libraries write that the key is compressed.
        ("v 31", _with(good, (dataclasses.replace(sig[0], v=sig[0].v + 4), *sig[1:])), "BadSignature", 0),
        ("v 29", _with(good, (dataclasses.replace(sig[0], v=29), *sig[1:])), "BadSignature", 0),
        ("r zero", _with(good, (dataclasses.replace(sig[0], r=Bytes32(bytes(32))), *sig[1:])), "BadSignature", 0),
        ("s zero", _with(good, (dataclasses.replace(sig[0], s=Bytes32(bytes(32))), *sig[1:])), "BadSignature", 0),
        (
            "r not on the curve",
            _with(good, (dataclasses.replace(sig[0], r=Bytes32(b"\xff" * 32)), *sig[1:])),
            "BadSignature",
            0,
        ),
        ("a stranger in place of validator 1", _stranger(good), "WrongSigner", 1),
        ("indices exchanged", _exchanged(good), "WrongSigner", 0),
        ("the epoch before", certify(dataclasses.replace(point, epoch=Epoch(0))), "WrongEpoch", None),
        ("the epoch after", certify(dataclasses.replace(point, epoch=Epoch(2))), "WrongEpoch", None),
        ("signed for another network", certify(point, network=seeded("another network")), "WrongSigner", 0),
    ]


def _with(certificate: Certificate, signatures: tuple[Signature, ...]) -> Certificate:
    return dataclasses.replace(certificate, signatures=signatures)


def _stranger(good: Certificate) -> Certificate:
    digest = typed_digest(fx.NETWORK, good.checkpoint)
    return _with(good, (good.signatures[0], fx.STRANGER.sign_as(1, digest), good.signatures[2]))


def _exchanged(good: Certificate) -> Certificate:
    a, b, c = good.signatures
    return _with(
        good, (dataclasses.replace(b, signer=SignerIndex(0)), dataclasses.replace(a, signer=SignerIndex(1)), c)
    )


def _changes(point: Checkpoint) -> list[tuple[str, Checkpoint]]:
    source = point.source
    changes: dict[str, dict[str, Any]] = {
        "source.chain": {"source": Lane(chain=fx.ELSEWHERE.chain, registry=source.registry)},
        "source.registry": {"source": Lane(chain=source.chain, registry=fx.ELSEWHERE.registry)},
        "generation": {"generation": Generation(2)},
        "firstSequence": {"first_sequence": Sequence(2)},
        "lastSequence": {"last_sequence": Sequence(4)},
        "root": {"root": seeded("root")},
        "height": {"height": point.height + 1},
        "blockHash": {"block_hash": seeded("block")},
    }
    return [(f, dataclasses.replace(point, **c)) for f, c in changes.items()]
