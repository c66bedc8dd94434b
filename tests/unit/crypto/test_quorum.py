from __future__ import annotations

import dataclasses

import pytest

from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import MAX_VALIDATORS, ValidatorSet, default_threshold, quorum_size, verify_certificate
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import (
    BadQuorum,
    BadSignature,
    BadValidatorSet,
    DuplicateSigner,
    HighS,
    TooFewSignatures,
    UnknownSigner,
    UnsortedSigners,
    WrongEpoch,
    WrongSigner,
)
from caimi.types.primitives import Address, Bytes32, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import Certificate, Checkpoint, Lane, Signature
from caimi.wire.digests import typed_digest

NETWORK = Bytes32(b"\x09" * 32)
KEYS = [SigningKey(bytes([i + 1]) * 32) for i in range(7)]
SET = ValidatorSet(validators=tuple(k.address for k in KEYS), f=2, t=4)
EPOCH = Epoch(3)
CHECKPOINT = Checkpoint(
    source=Lane(chain=Bytes32(b"\x01" * 32), registry=Bytes32(b"\x02" * 32)),
    generation=Generation(1),
    epoch=EPOCH,
    first_sequence=Sequence(1),
    last_sequence=Sequence(9),
    root=Bytes32(b"\x03" * 32),
    height=77,
    block_hash=Bytes32(b"\x04" * 32),
)


def _entry(signer: int, *, place: int | None = None) -> Signature:
    signature = KEYS[signer].sign(typed_digest(NETWORK, CHECKPOINT))
    return signature.as_record(SignerIndex(signer if place is None else place))


def _certificate(*entries: Signature) -> Certificate:
    return Certificate(checkpoint=CHECKPOINT, signatures=entries)


def _verify(certificate: Certificate) -> None:
    verify_certificate(certificate, network=NETWORK, validator_set=SET, epoch=EPOCH)


@pytest.mark.parametrize(
    ("n", "f", "q", "t"), [(4, 1, 3, 2), (5, 1, 4, 3), (7, 2, 5, 4), (10, 3, 7, 5), (64, 21, 43, 32)]
)
def test_quorum_and_default_threshold(n: int, f: int, q: int, t: int) -> None:
    assert (quorum_size(n, f), default_threshold(n, f)) == (q, t)


def test_default_threshold_lies_in_its_bounds_for_every_set() -> None:
    for n in range(4, MAX_VALIDATORS + 1):
        for f in range(1, (n - 1) // 3 + 1):
            assert f + 1 <= default_threshold(n, f) <= n - f


def test_two_quorums_share_an_honest_validator_in_every_set() -> None:
    for n in range(4, MAX_VALIDATORS + 1):
        for f in range(1, (n - 1) // 3 + 1):
            assert 2 * quorum_size(n, f) - n > f
            assert quorum_size(n, f) <= n - f


@pytest.mark.parametrize(
    ("n", "f", "t"),
    [(3, 1, 2), (4, 0, 2), (6, 2, 3), (4, 1, 1), (4, 1, 4), (7, 2, 2), (7, 2, 6), (65, 1, 33), (0, 1, 1), (4, -1, 2)],
)
def test_rejects_numbers(n: int, f: int, t: int) -> None:
    accounts = tuple(Address(i.to_bytes(20, "big")) for i in range(1, n + 1))
    with pytest.raises(BadQuorum) as caught:
        ValidatorSet(validators=accounts, f=f, t=t)
    assert caught.value.values == (n, f, t)


@pytest.mark.parametrize(
    "last", [bytes(20), KEYS[0].address, b"\x01" * 19, b"\x01" * 21], ids=["zero", "twice", "short", "long"]
)
def test_rejects_account(last: bytes) -> None:
    with pytest.raises(BadValidatorSet):
        ValidatorSet(validators=(*SET.validators[:3], Address(last)), f=1, t=2)


def test_accepts_a_quorum_and_more() -> None:
    _verify(_certificate(*(_entry(i) for i in range(5))))
    _verify(_certificate(*(_entry(i) for i in (0, 2, 3, 5, 6))))
    _verify(_certificate(*(_entry(i) for i in range(7))))


def test_rejects_another_epoch_before_anything_else() -> None:
    certificate = Certificate(checkpoint=dataclasses.replace(CHECKPOINT, epoch=Epoch(4)), signatures=())
    with pytest.raises(WrongEpoch) as caught:
        _verify(certificate)
    assert caught.value.values == (3, 4)


def test_rejects_one_signature_too_few_before_looking_at_them() -> None:
    with pytest.raises(TooFewSignatures) as caught:
        _verify(_certificate(*(_entry(0, place=200) for _ in range(4))))
    assert caught.value.values == (5, 4)


@pytest.mark.parametrize("place", [7, 64, 255, -1])
def test_rejects_unknown_signer(place: int) -> None:
    with pytest.raises(UnknownSigner) as caught:
        _verify(_certificate(*(_entry(i) for i in range(4)), _entry(4, place=place)))
    assert caught.value.values == (place,)


def test_rejects_duplicate_signer() -> None:
    with pytest.raises(DuplicateSigner) as caught:
        _verify(_certificate(*(_entry(i) for i in (0, 1, 2, 2, 3))))
    assert caught.value.values == (2,)


def test_rejects_unsorted_signers() -> None:
    with pytest.raises(UnsortedSigners) as caught:
        _verify(_certificate(*(_entry(i) for i in (0, 1, 4, 2, 3))))
    assert caught.value.values == (2,)


def test_a_repeated_but_distant_signer_is_unsorted() -> None:
    with pytest.raises(UnsortedSigners):
        _verify(_certificate(*(_entry(i) for i in (0, 1, 2, 3, 0))))


def test_rejects_v() -> None:
    with pytest.raises(BadSignature):
        _verify(_certificate(*(_entry(i) for i in range(4)), dataclasses.replace(_entry(4), v=0)))


def test_rejects_r_of_another_length() -> None:
    with pytest.raises(BadSignature):
        _verify(_certificate(*(_entry(i) for i in range(4)), dataclasses.replace(_entry(4), r=Bytes32(b""))))


def test_rejects_high_s() -> None:
    good = _entry(4)
    s = Bytes32((GROUP.order - int.from_bytes(good.s, "big")).to_bytes(32, "big"))
    with pytest.raises(HighS):
        _verify(_certificate(*(_entry(i) for i in range(4)), dataclasses.replace(good, s=s, v=55 - good.v)))


def test_rejects_another_validators_signature() -> None:
    with pytest.raises(WrongSigner) as caught:
        _verify(_certificate(*(_entry(i) for i in range(4)), _entry(5, place=4)))
    assert caught.value.values == (KEYS[4].address, KEYS[5].address)


def test_rejects_a_bad_signature_beyond_the_quorum() -> None:
    with pytest.raises(WrongSigner):
        _verify(_certificate(*(_entry(i) for i in range(5)), _entry(6, place=5)))


def test_rejects_another_network() -> None:
    with pytest.raises(WrongSigner):
        verify_certificate(
            _certificate(*(_entry(i) for i in range(5))), network=Bytes32(bytes(32)), validator_set=SET, epoch=EPOCH
        )


@pytest.mark.parametrize(
    "change",
    [
        {"source": Lane(chain=Bytes32(b"\x01" * 32), registry=Bytes32(b"\x05" * 32))},
        {"source": Lane(chain=Bytes32(b"\x05" * 32), registry=Bytes32(b"\x02" * 32))},
        {"generation": 2},
        {"first_sequence": 2},
        {"last_sequence": 10},
        {"root": b"\x05" * 32},
        {"height": 78},
        {"block_hash": b"\x05" * 32},
    ],
    ids=str,
)
def test_rejects_a_checkpoint_of_which_one_field_was_changed(change: dict[str, object]) -> None:
    changed = dataclasses.replace(CHECKPOINT, **change)  # pyright: ignore[reportArgumentType]  # one field by name
    entries = tuple(_entry(i) for i in range(5))
    with pytest.raises(WrongSigner):
        _verify(Certificate(checkpoint=changed, signatures=entries))
