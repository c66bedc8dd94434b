from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.errors import BadKeyShare, BadPoint, BadSecret, BadThresholdKey, CryptoError
from caimi.crypto.group import Point
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.polynomial import lagrange
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Epoch
from tests.unit.crypto.conftest import Network


def test_both_sides_round_trip(network: Network) -> None:
    share = network.shares[1]
    assert ThresholdKey.from_bytes(network.key.to_bytes()) == network.key
    assert len(network.key.to_bytes()) == 44 + 33 * 4
    assert KeyShare.from_bytes(share.to_bytes()) == share


def test_any_t_shares_are_the_secret_of_the_group_key(network: Network) -> None:
    for chosen in ((1, 2, 3), (1, 2, 4), (2, 3, 4)):
        factors = lagrange(chosen)
        terms = (
            GROUP.multiply_secrets(GROUP.secret_of(f), network.shares[i - 1].share)
            for f, i in zip(factors, chosen, strict=True)
        )
        assert GROUP.base_multiply(GROUP.sum_secrets(terms)) == network.key.group_key


def test_rejects_keys_that_lie_on_no_polynomial(network: Network) -> None:
    for place in range(4):
        keys = list(network.key.verification_keys)
        keys[place] = GROUP.generator
        with pytest.raises(BadThresholdKey):
            dataclasses.replace(network.key, verification_keys=tuple(keys)).verify()


def test_rejects_another_group_key(network: Network) -> None:
    with pytest.raises(BadThresholdKey):
        dataclasses.replace(network.key, group_key=GROUP.generator).verify()


@pytest.mark.parametrize("threshold", [0, 1, 2, 5])
def test_rejects_another_threshold(network: Network, threshold: int) -> None:
    with pytest.raises(BadThresholdKey):
        dataclasses.replace(network.key, threshold=threshold).verify()


def test_rejects_infinity(network: Network) -> None:
    with pytest.raises(BadThresholdKey):
        dataclasses.replace(network.key, group_key=Point(raw=b"")).verify()
    # The zero polynomial is one, too.
    nothing = ThresholdKey(
        epoch=Epoch(1), threshold=1, group_key=Point(raw=b""), verification_keys=(Point(raw=b""),) * 4
    )
    with pytest.raises(BadThresholdKey):
        nothing.verify()


def test_decoding_verifies_the_public_side(network: Network) -> None:
    wrong = dataclasses.replace(network.key, group_key=GROUP.generator)
    with pytest.raises(BadThresholdKey):
        ThresholdKey.from_bytes(wrong.to_bytes())


def test_a_share_is_verified_with_its_public_side(network: Network) -> None:
    with pytest.raises(BadThresholdKey):
        dataclasses.replace(network.shares[0], group_key=GROUP.generator).verify()


def test_rejects_more_than_64_validators() -> None:
    key = GROUP.generator
    constant = ThresholdKey(epoch=Epoch(1), threshold=1, group_key=key, verification_keys=(key,) * 64)
    constant.verify()
    with pytest.raises(BadThresholdKey):
        dataclasses.replace(constant, verification_keys=(key,) * 65).verify()


def test_rejects_another_validators_share(network: Network) -> None:
    with pytest.raises(BadKeyShare):
        dataclasses.replace(network.shares[0], index=2).verify()


@pytest.mark.parametrize("index", [0, 5])
def test_rejects_an_index_outside_the_key(network: Network, index: int) -> None:
    with pytest.raises(BadKeyShare):
        dataclasses.replace(network.shares[0], index=index).verify()


def test_decoding_rejects_every_changed_byte(network: Network) -> None:
    encoded = network.shares[0].to_bytes()
    epoch = range(1 + 32 + 1, 1 + 32 + 9)  # the one field that no equation binds; it is bound where it is used
    for place in set(range(len(encoded))) - set(epoch):
        mauled = bytearray(encoded)
        mauled[place] ^= 1
        with pytest.raises((BadEncoding, BadPoint, BadThresholdKey, BadKeyShare, BadSecret)):
            KeyShare.from_bytes(bytes(mauled))


@pytest.mark.parametrize("cut", [0, 1, 33, 40, -1])
def test_decoding_rejects_cut_bytes(network: Network, cut: int) -> None:
    with pytest.raises((BadEncoding, BadSecret)):
        KeyShare.from_bytes(network.shares[0].to_bytes()[:cut])


def test_decoding_rejects_bytes_left_over(network: Network) -> None:
    with pytest.raises(BadEncoding):
        ThresholdKey.from_bytes(network.key.to_bytes() + b"\x00")


@given(st.binary(max_size=120))
def test_arbitrary_bytes_raise_only_typed_errors(data: bytes) -> None:
    with suppress(BadEncoding, CryptoError):
        assert ThresholdKey.from_bytes(data).to_bytes() == data
    with suppress(BadEncoding, CryptoError):
        assert KeyShare.from_bytes(data).to_bytes() == data
