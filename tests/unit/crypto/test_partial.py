from __future__ import annotations

import dataclasses
from contextlib import suppress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.capsule import Capsule, seal_key
from caimi.crypto.dleq import Proof, prove
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.errors import (
    BadSealingKey,
    DuplicatePartial,
    ForeignPartial,
    InvalidCapsule,
    InvalidPartial,
    MalformedPartial,
    NotEnoughPartials,
    PartialRefused,
    SealNotOpened,
    UnsignedPartial,
    WrongKeyCommitment,
)
from caimi.crypto.group import Point
from caimi.crypto.partial import (
    PARTIAL_BYTES,
    SEALED_PARTIAL_BYTES,
    Combined,
    Partial,
    _context,
    _signed_digest,
    combine,
    make_partial,
    open_partial,
    seal_partial,
    verify_partial,
)
from caimi.crypto.sealing import SealingKey, seal
from caimi.crypto.secp256k1 import GROUP
from caimi.types.failure import Certainty
from caimi.types.primitives import Bytes32, Epoch
from caimi.wire.keccak import Tag
from tests.unit.crypto.conftest import DATA_KEY, ENTROPY, LABEL, LEASE, Network

OTHER = Bytes32(b"\x77" * 32)
HOST = SealingKey(b"\x05" * 32)


def _combine(network: Network, *partials: Partial, label: Bytes32 = LABEL, lease: Bytes32 = LEASE) -> Combined:
    return combine(
        partials,
        capsule=network.capsule,
        label=label,
        lease=lease,
        key=network.key,
        validators=network.validators,
    )


def _verify(network: Network, partial: Partial, *, capsule: Capsule | None = None, label: Bytes32 = LABEL) -> None:
    verify_partial(
        partial,
        capsule=capsule or network.capsule,
        label=label,
        lease=LEASE,
        key=network.key,
        validators=network.validators,
    )


def _resigned(network: Network, partial: Partial, key: SigningKey | None = None) -> Partial:
    """The same contents under a fresh signature, by its validator unless said otherwise."""
    context = _context(network.capsule, LABEL, partial.lease, partial.epoch, partial.index)
    key = key or network.signing_keys[partial.index - 1]
    return dataclasses.replace(partial, signature=key.sign(_signed_digest(context, partial.point, partial.proof)))


def _wrong_share(network: Network, index: int) -> Partial:
    """A signed partial of a validator that computed with another number than its share."""
    honest, false = network.partial(index), GROUP.derive_secret(b"test", b"false")
    point = GROUP.multiply_secret(network.capsule.ephemeral, false)
    proof = prove(
        Tag.PARTIAL_PROOF,
        context=_context(network.capsule, LABEL, LEASE, honest.epoch, index),
        bases=(GROUP.generator, network.capsule.ephemeral),
        images=(network.key.verification_keys[index - 1], point),
        secret=false,
        entropy=ENTROPY,
    )
    return _resigned(network, dataclasses.replace(honest, point=point, proof=proof))


def test_any_t_partials_open_the_capsule(network: Network) -> None:
    for chosen in combinations(range(1, 5), 3):
        result = _combine(network, *(network.partial(i) for i in reversed(chosen)))
        assert (result.data_key, result.used, result.faults) == (DATA_KEY, chosen, ())


def test_all_partials_open_the_capsule_with_the_first_t(network: Network) -> None:
    assert _combine(network, *(network.partial(i) for i in range(1, 5))).used == (1, 2, 3)


def test_t_minus_1_partials_do_not(network: Network) -> None:
    for chosen in combinations(range(1, 5), 2):
        with pytest.raises(NotEnoughPartials) as caught:
            _combine(network, *(network.partial(i) for i in chosen))
        assert (caught.value.needed, caught.value.valid, caught.value.culprits) == (3, chosen, ())


def test_no_partials_do_not(network: Network) -> None:
    with pytest.raises(NotEnoughPartials):
        _combine(network)


def test_t_minus_1_points_interpolate_to_no_key(network: Network) -> None:
    # The threshold is no mere count: a key that claims a lower one opens nothing.
    lower = dataclasses.replace(network.key, threshold=2)
    with pytest.raises(WrongKeyCommitment):
        combine(
            [network.partial(1), network.partial(2)],
            capsule=network.capsule,
            label=LABEL,
            lease=LEASE,
            key=lower,
            validators=network.validators,
        )


def test_the_same_partial_t_times_counts_once(network: Network) -> None:
    with pytest.raises(NotEnoughPartials) as caught:
        _combine(network, *(network.partial(2) for _ in range(3)))
    assert caught.value.valid == (2,)
    assert [type(fault) for fault in caught.value.faults] == [DuplicatePartial, DuplicatePartial]
    assert caught.value.culprits == (2,)


def test_goes_on_without_a_bad_partial_and_names_its_maker(network: Network) -> None:
    result = _combine(network, _wrong_share(network, 1), *(network.partial(i) for i in (2, 3, 4)))
    assert (result.data_key, result.used) == (DATA_KEY, (2, 3, 4))
    [fault] = result.faults
    assert isinstance(fault, InvalidPartial)
    assert fault.index == 1


def test_names_every_culprit_when_too_few_are_left(network: Network) -> None:
    with pytest.raises(NotEnoughPartials) as caught:
        _combine(network, _wrong_share(network, 4), network.partial(3), _wrong_share(network, 2), network.partial(1))
    assert (caught.value.valid, caught.value.culprits) == ((1, 3), (2, 4))


def test_a_forged_partial_does_not_keep_the_honest_one_of_its_index_out(network: Network) -> None:
    forged = dataclasses.replace(network.partial(1), point=GROUP.generator)
    result = _combine(network, forged, *(network.partial(i) for i in (1, 2, 3)))
    assert (result.data_key, [type(f) for f in result.faults]) == (DATA_KEY, [UnsignedPartial])


def test_a_wrong_share_is_proven(network: Network) -> None:
    with pytest.raises(InvalidPartial) as caught:
        _verify(network, _wrong_share(network, 3))
    assert (caught.value.index, caught.value.certainty) == (3, Certainty.PROVEN)


def test_an_unsigned_wrong_share_is_suspicion_only(network: Network) -> None:
    unsigned = dataclasses.replace(_wrong_share(network, 3), signature=network.partial(3).signature)
    with pytest.raises(UnsignedPartial) as caught:
        _verify(network, unsigned)
    assert (caught.value.index, caught.value.certainty) == (3, Certainty.SUSPECTED)


def test_rejects_another_validators_signature(network: Network) -> None:
    with pytest.raises(UnsignedPartial):
        _verify(network, _resigned(network, network.partial(3), key=network.signing_keys[0]))


@pytest.mark.parametrize("v", [0, 29])
def test_rejects_a_malformed_signature(network: Network, v: int) -> None:
    honest = network.partial(3)
    with pytest.raises(UnsignedPartial):
        _verify(network, dataclasses.replace(honest, signature=dataclasses.replace(honest.signature, v=v)))


def test_rejects_infinity_as_share_point(network: Network) -> None:
    with pytest.raises(UnsignedPartial):
        _verify(network, dataclasses.replace(network.partial(3), point=Point(raw=b"")))


def test_rejects_another_validators_share_point_and_proof(network: Network) -> None:
    stolen = dataclasses.replace(network.partial(2), index=3)
    with pytest.raises(InvalidPartial):
        _verify(network, _resigned(network, stolen))


@pytest.mark.parametrize("index", [0, 5, 255])
def test_rejects_an_index_outside_the_key(network: Network, index: int) -> None:
    with pytest.raises(ForeignPartial) as caught:
        _verify(network, dataclasses.replace(network.partial(3), index=index))
    assert caught.value.index == index


def test_rejects_another_lease(network: Network) -> None:
    with pytest.raises(ForeignPartial):
        _verify(network, network.partial(3, lease=OTHER))


def test_rejects_a_partial_moved_to_another_lease(network: Network) -> None:
    moved = dataclasses.replace(network.partial(3, lease=OTHER), lease=LEASE)
    with pytest.raises(UnsignedPartial):
        _verify(network, moved)
    with pytest.raises(InvalidPartial):
        _verify(network, _resigned(network, moved))


def test_rejects_another_epoch(network: Network) -> None:
    with pytest.raises(ForeignPartial):
        _verify(network, dataclasses.replace(network.partial(3), epoch=Epoch(2)))


def test_a_share_of_another_epoch_is_refused_by_this_epochs_key(network: Network) -> None:
    late = dataclasses.replace(network.shares[2], epoch=Epoch(2))
    partial = make_partial(
        late, signing_key=network.signing_keys[2], capsule=network.capsule, label=LABEL, lease=LEASE, entropy=ENTROPY
    )
    result = _combine(network, partial, *(network.partial(i) for i in (1, 2, 4)))
    assert [(type(f), f.index) for f in result.faults] == [(ForeignPartial, 3)]


def test_rejects_another_label(network: Network) -> None:
    with pytest.raises(UnsignedPartial):
        _verify(network, network.partial(3), label=OTHER)
    with pytest.raises(InvalidCapsule):
        _combine(network, network.partial(1), network.partial(2), network.partial(3), label=OTHER)


def test_rejects_the_partial_of_another_capsule(network: Network) -> None:
    other = seal_key(network.key.group_key, label=LABEL, data_key=OTHER, entropy=OTHER)
    with pytest.raises(UnsignedPartial):
        _verify(network, network.partial(3), capsule=other)


def test_no_partial_is_made_for_a_mauled_capsule(network: Network) -> None:
    mauled = dataclasses.replace(network.capsule, masked_key=OTHER)
    with pytest.raises(InvalidCapsule):
        make_partial(
            network.shares[0],
            signing_key=network.signing_keys[0],
            capsule=mauled,
            label=LABEL,
            lease=LEASE,
            entropy=ENTROPY,
        )


def test_no_partial_is_made_for_another_label(network: Network) -> None:
    with pytest.raises(InvalidCapsule):
        make_partial(
            network.shares[0],
            signing_key=network.signing_keys[0],
            capsule=network.capsule,
            label=OTHER,
            lease=LEASE,
            entropy=ENTROPY,
        )


def test_round_trips_in_204_bytes(network: Network) -> None:
    partial = network.partial(2)
    assert len(partial.to_bytes()) == PARTIAL_BYTES == 204
    assert Partial.from_bytes(partial.to_bytes(), index=2) == partial


def test_rejects_every_changed_byte(network: Network) -> None:
    encoded = network.partial(2).to_bytes()
    for place in range(PARTIAL_BYTES):
        for change in (0x01, 0xFF):
            mauled = bytearray(encoded)
            mauled[place] ^= change
            with pytest.raises((MalformedPartial, ForeignPartial, UnsignedPartial)) as caught:
                _verify(network, Partial.from_bytes(bytes(mauled), index=2))
            assert caught.value.index == 2
            assert caught.value.certainty is Certainty.SUSPECTED


def test_decoding_rejects_another_index(network: Network) -> None:
    with pytest.raises(ForeignPartial) as caught:
        Partial.from_bytes(network.partial(2).to_bytes(), index=3)
    assert caught.value.index == 3


@given(st.one_of(st.binary(max_size=210), st.binary(min_size=202, max_size=202).map(lambda rest: b"\x01\x02" + rest)))
def test_arbitrary_bytes_raise_only_typed_errors(data: bytes) -> None:
    with suppress(PartialRefused):
        assert Partial.from_bytes(data, index=2).to_bytes() == data


def test_sealing_round_trips_to_the_host(network: Network) -> None:
    partial = network.partial(2)
    sealed = seal_partial(partial, recipient=HOST.public_key)
    assert len(sealed) == SEALED_PARTIAL_BYTES == 252
    assert partial.point.encode() not in sealed
    assert open_partial(sealed, key=HOST, lease=LEASE, index=2, epoch=Epoch(1)) == partial


@pytest.mark.parametrize(
    ("lease", "index", "epoch"), [(OTHER, 2, 1), (LEASE, 3, 1), (LEASE, 2, 2)], ids=["lease", "index", "epoch"]
)
def test_a_seal_does_not_open_at_another_place(network: Network, lease: Bytes32, index: int, epoch: int) -> None:
    sealed = seal_partial(network.partial(2), recipient=HOST.public_key)
    with pytest.raises(SealNotOpened):
        open_partial(sealed, key=HOST, lease=lease, index=index, epoch=Epoch(epoch))


def test_a_seal_does_not_open_for_another_host(network: Network) -> None:
    sealed = seal_partial(network.partial(2), recipient=HOST.public_key)
    with pytest.raises(SealNotOpened):
        open_partial(sealed, key=SealingKey(b"\x06" * 32), lease=LEASE, index=2, epoch=Epoch(1))


@pytest.mark.parametrize("place", [0, 31, 32, 100, 251])
def test_a_changed_seal_does_not_open(network: Network, place: int) -> None:
    sealed = bytearray(seal_partial(network.partial(2), recipient=HOST.public_key))
    sealed[place] ^= 1
    with pytest.raises(SealNotOpened):
        open_partial(bytes(sealed), key=HOST, lease=LEASE, index=2, epoch=Epoch(1))


def _sealed_at(contents: bytes, *, index: int) -> bytes:
    info = Tag.PARTIAL_SEAL.bytes32 + LEASE + bytes((index,)) + (1).to_bytes(8, "big")
    return seal(contents, recipient=HOST.public_key, info=info)


def test_a_sound_seal_with_other_contents_is_refused(network: Network) -> None:
    cases = [
        (b"", MalformedPartial),
        (network.partial(2).to_bytes() + b"\x00", MalformedPartial),
        (network.partial(3).to_bytes(), ForeignPartial),
        (network.partial(2, lease=OTHER).to_bytes(), ForeignPartial),
        (dataclasses.replace(network.partial(2), epoch=Epoch(2)).to_bytes(), ForeignPartial),
    ]
    for contents, error in cases:
        with pytest.raises(error):
            open_partial(_sealed_at(contents, index=2), key=HOST, lease=LEASE, index=2, epoch=Epoch(1))


@pytest.mark.parametrize("recipient", [b"", b"\x01" * 31, bytes(32), b"\x01" + bytes(31)])
def test_rejects_sealing_key(network: Network, recipient: bytes) -> None:
    with pytest.raises(BadSealingKey):
        seal_partial(network.partial(2), recipient=Bytes32(recipient))


def test_nothing_secret_is_shown(network: Network) -> None:
    partial = network.partial(2)
    result = _combine(network, *(network.partial(i) for i in (1, 2, 3)))
    shown = repr(result) + repr(partial) + repr(network.shares[0]) + repr(HOST)
    for secret in (DATA_KEY, partial.point.raw, network.shares[0].share.reveal(), b"\x05" * 32):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_the_proof_is_bound_to_its_context(network: Network) -> None:
    honest = network.partial(3)
    changed = dataclasses.replace(honest, proof=Proof(challenge=honest.proof.challenge, response=1))
    with pytest.raises(InvalidPartial):
        _verify(network, _resigned(network, changed))
