"""Reads vectors/threshold: everything of spec 40, made by a second implementation of it."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.crypto import errors
from caimi.crypto.capsule import Capsule, capsule_hash, check_capsule, open_capsule, seal_key
from caimi.crypto.dleq import Proof, prove, verify_proof
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.keystore import decrypt_secret, encrypt_secret
from caimi.crypto.partial import Partial, combine, make_partial, verify_partial
from caimi.crypto.polynomial import lagrange
from caimi.crypto.quorum import ValidatorSet
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BY_NAME, CaimiError
from caimi.types.primitives import bytes32
from caimi.wire.keccak import Tag

GROUP_SUITE, PROOF_SUITE, CAPSULE_SUITE, PARTIAL_SUITE, KEYSTORE_SUITE = (
    suite(f"threshold/{name}.json") for name in ("group", "proof", "capsule", "partial", "keystore")
)


def error_class(name: str) -> type[CaimiError]:
    """The class that a refusal names."""
    if name in errors.__all__:
        return getattr(errors, name)
    return BY_NAME[name]


def exactly(case: dict[str, Any], caught: pytest.ExceptionInfo[CaimiError]) -> None:
    """The class itself, not a child."""
    assert type(caught.value) is error_class(case["error"])


# --- group


@pytest.mark.parametrize("case", **named(GROUP_SUITE["cases"]))
def test_group(case: dict[str, Any]) -> None:
    result = unhex(case["result"])
    match case["op"]:
        case "secondGenerator":
            assert GROUP.second_generator.encode() == result
        case "hashToScalar":
            scalar = GROUP.hash_to_scalar(Tag[case["tag"]], *(unhex(p) for p in case["parts"]))
            assert scalar == GROUP.decode_scalar(result)
        case "derive":
            secret = GROUP.derive_secret(case["purpose"].encode(), *(unhex(p) for p in case["parts"]))
            assert secret.reveal() == result
        case "multiply":
            point, scalar = GROUP.decode_point(unhex(case["point"])), unhex(case["scalar"])
            assert GROUP.multiply_secret(point, GROUP.decode_secret(scalar)).encode() == result
            assert GROUP.multiply_public(point, GROUP.decode_scalar(scalar)).encode() == result
        case other:
            pytest.fail(f"unknown operation {other}")


@pytest.mark.parametrize("case", **named(GROUP_SUITE["refusals"]))
def test_rejects_encoding(case: dict[str, Any]) -> None:
    decoders = {"point": GROUP.decode_point, "scalar": GROUP.decode_scalar, "secret": GROUP.decode_secret}
    with pytest.raises(error_class(case["error"])) as caught:
        decoders[case["decode"]](unhex(case["encoded"]))
    exactly(case, caught)


# --- proofs


def verify_case(case: dict[str, Any]) -> None:
    verify_proof(
        Tag[case["tag"]],
        context=[unhex(c) for c in case["context"]],
        bases=[GROUP.decode_point(unhex(b)) for b in case["bases"]],
        images=[GROUP.decode_point(unhex(i)) for i in case["images"]],
        proof=Proof.from_bytes(unhex(case["proof"])),
    )


@pytest.mark.parametrize("case", **named(PROOF_SUITE["cases"]))
def test_proof(case: dict[str, Any]) -> None:
    verify_case(case)
    proof = prove(
        Tag[case["tag"]],
        context=[unhex(c) for c in case["context"]],
        bases=[GROUP.decode_point(unhex(b)) for b in case["bases"]],
        images=[GROUP.decode_point(unhex(i)) for i in case["images"]],
        secret=GROUP.decode_secret(unhex(case["secret"])),
        entropy=bytes32(unhex(case["entropy"])),
    )
    assert proof.to_bytes() == unhex(case["proof"])


@pytest.mark.parametrize("case", **named(PROOF_SUITE["refusals"]))
def test_rejects_proof(case: dict[str, Any]) -> None:
    with pytest.raises(error_class(case["error"])) as caught:
        verify_case(case)
    exactly(case, caught)


# --- capsules


def open_case(case: dict[str, Any], group_key: str) -> bytes:
    capsule = Capsule.from_bytes(unhex(case["capsule"]))
    label = bytes32(unhex(case["label"]))
    check_capsule(capsule, label=label, group_key=GROUP.decode_point(unhex(group_key)))
    shares = {int(i): GROUP.decode_secret(unhex(s)) for i, s in CAPSULE_SUITE["shares"].items()}
    factors = lagrange(tuple(shares))
    points = (GROUP.multiply_secret(capsule.ephemeral, share) for share in shares.values())
    shared = GROUP.add(*(GROUP.multiply_public(p, f) for p, f in zip(points, factors, strict=True)))
    return open_capsule(capsule, label=label, shared=shared)


@pytest.mark.parametrize("case", **named(CAPSULE_SUITE["cases"]))
def test_capsule(case: dict[str, Any]) -> None:
    made = seal_key(
        GROUP.decode_point(unhex(CAPSULE_SUITE["groupKey"])),
        label=bytes32(unhex(case["label"])),
        data_key=unhex(case["dataKey"]),
        entropy=bytes32(unhex(case["entropy"])),
    )
    assert made.to_bytes() == unhex(case["capsule"])
    assert capsule_hash(made) == unhex(case["capsuleHash"])
    assert open_case(case, CAPSULE_SUITE["groupKey"]) == unhex(case["dataKey"])


@pytest.mark.parametrize("case", **named(CAPSULE_SUITE["refusals"]))
def test_rejects_capsule(case: dict[str, Any]) -> None:
    with pytest.raises(error_class(case["error"])) as caught:
        open_case(case, case["groupKey"])
    exactly(case, caught)


# --- partials

KEY = ThresholdKey.from_bytes(unhex(PARTIAL_SUITE["key"]))
SIGNERS = [SigningKey(unhex(s)) for s in PARTIAL_SUITE["signers"]]
VALIDATORS = ValidatorSet(validators=tuple(s.address for s in SIGNERS), f=PARTIAL_SUITE["f"], t=KEY.threshold)
CAPSULE = Capsule.from_bytes(unhex(PARTIAL_SUITE["capsule"]))
LABEL, LEASE, ENTROPY = (bytes32(unhex(PARTIAL_SUITE[name])) for name in ("label", "lease", "entropy"))


@pytest.mark.parametrize("case", **named(PARTIAL_SUITE["cases"]))
def test_partial(case: dict[str, Any]) -> None:
    share = KeyShare(
        epoch=KEY.epoch,
        index=case["index"],
        share=GROUP.decode_secret(unhex(case["share"])),
        group_key=KEY.group_key,
        verification_keys=KEY.verification_keys,
        threshold=KEY.threshold,
    )
    share.verify()
    made = make_partial(
        share, signing_key=SIGNERS[share.index - 1], capsule=CAPSULE, label=LABEL, lease=LEASE, entropy=ENTROPY
    )
    assert made.to_bytes() == unhex(case["partial"])
    verify_partial(made, capsule=CAPSULE, label=LABEL, lease=LEASE, key=KEY, validators=VALIDATORS)


@pytest.mark.parametrize("case", **named(PARTIAL_SUITE["refusals"]))
def test_rejects_partial(case: dict[str, Any]) -> None:
    with pytest.raises(error_class(case["error"])) as caught:
        partial = Partial.from_bytes(unhex(case["partial"]), index=case["index"])
        verify_partial(partial, capsule=CAPSULE, label=LABEL, lease=LEASE, key=KEY, validators=VALIDATORS)
    exactly(case, caught)
    assert isinstance(caught.value, errors.PartialRefused)
    assert caught.value.index == case["culprit"]


def parts(case: dict[str, Any]) -> list[Partial]:
    return [Partial.from_bytes(unhex(p), index=unhex(p)[1]) for p in case["partials"]]


@pytest.mark.parametrize("case", **named(PARTIAL_SUITE["combine"]))
def test_combination(case: dict[str, Any]) -> None:
    found = combine(parts(case), capsule=CAPSULE, label=LABEL, lease=LEASE, key=KEY, validators=VALIDATORS)
    assert found.data_key == unhex(PARTIAL_SUITE["dataKey"])
    assert [fault.index for fault in found.faults] == case["culprits"]


@pytest.mark.parametrize("case", **named(PARTIAL_SUITE["tooFew"]))
def test_rejects_combination(case: dict[str, Any]) -> None:
    with pytest.raises(errors.NotEnoughPartials) as caught:
        combine(parts(case), capsule=CAPSULE, label=LABEL, lease=LEASE, key=KEY, validators=VALIDATORS)
    assert list(caught.value.culprits) == case["culprits"]


# --- keys at rest


@pytest.mark.parametrize("case", **named(KEYSTORE_SUITE["cases"]))
def test_keystore(case: dict[str, Any]) -> None:
    secret, password, purpose = (unhex(case[name]) for name in ("secret", "password", "purpose"))
    salt, nonce = bytes32(unhex(case["salt"])), unhex(case["nonce"])
    blob = encrypt_secret(secret, password=password, purpose=purpose, salt=salt, nonce=nonce, cost=case["cost"])
    assert blob == unhex(case["blob"])
    assert decrypt_secret(blob, password=password, purpose=purpose) == secret


@pytest.mark.parametrize("case", **named(KEYSTORE_SUITE["refusals"]))
def test_rejects_keystore(case: dict[str, Any]) -> None:
    with pytest.raises(error_class(case["error"])) as caught:
        decrypt_secret(unhex(case["blob"]), password=unhex(case["password"]), purpose=unhex(case["purpose"]))
    exactly(case, caught)
