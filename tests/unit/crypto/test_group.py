from __future__ import annotations

import contextlib
import pickle
from importlib.metadata import version

import pytest
from coincurve import PublicKey
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.errors import BadPoint, BadScalar, BadSecret, PointAtInfinity
from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.polynomial import evaluate, evaluate_points, lagrange
from caimi.crypto.secp256k1 import GROUP
from caimi.wire.keccak import Tag, tagged_hash

ORDER = GROUP.order
INFINITY = Point(raw=b"")
FIELD = 2**256 - 2**32 - 977
scalars = st.integers(min_value=1, max_value=ORDER - 1)


def _secret(value: int) -> SecretScalar:
    return GROUP.secret_of(value)


def _value(secret: SecretScalar) -> int:
    return int.from_bytes(secret.reveal(), "big")


def test_the_private_binding_is_of_the_version_that_was_reviewed() -> None:
    assert version("coincurve") == "21.0.0"


@given(scalars, scalars)
def test_secret_and_public_multiplication_agree_with_coincurve(base: int, factor: int) -> None:
    point = GROUP.base_multiply(_secret(base))
    expected = PublicKey.from_secret(base.to_bytes(32, "big")).multiply(factor.to_bytes(32, "big")).format()
    assert GROUP.multiply_secret(point, _secret(factor)).encode() == expected
    assert GROUP.multiply_public(point, factor).encode() == expected


@pytest.mark.parametrize("factor", [1, 2, 3, ORDER - 1, ORDER - 2, 2**127, 2**255])
def test_both_multiplications_agree_at_the_edges(factor: int) -> None:
    base = GROUP.second_generator
    assert GROUP.multiply_secret(base, _secret(factor)) == GROUP.multiply_public(base, factor)
    assert GROUP.base_multiply(_secret(factor)) == GROUP.multiply_public(GROUP.generator, factor)


@given(scalars, scalars)
def test_secret_arithmetic_is_arithmetic_modulo_the_order(a: int, b: int) -> None:
    assert _value(GROUP.add_secrets(_secret(a), _secret(b))) == (a + b) % ORDER
    assert _value(GROUP.multiply_secrets(_secret(a), _secret(b))) == a * b % ORDER


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 5), (5, 0), (5, ORDER - 5), (1, ORDER - 1)])
def test_secret_arithmetic_with_zero(a: int, b: int) -> None:
    assert _value(GROUP.add_secrets(_secret(a), _secret(b))) == (a + b) % ORDER
    assert _value(GROUP.multiply_secrets(_secret(a), _secret(b))) == a * b % ORDER


def test_infinity_and_zero_in_every_operation() -> None:
    g, zero = GROUP.generator, _secret(0)
    assert GROUP.add() == GROUP.add(INFINITY, INFINITY) == INFINITY
    assert GROUP.add(g, INFINITY) == g
    assert GROUP.subtract(g, g) == INFINITY
    assert GROUP.add(g, GROUP.multiply_public(g, ORDER - 1)) == INFINITY
    assert GROUP.multiply_public(g, 0) == GROUP.multiply_public(g, ORDER) == INFINITY
    assert GROUP.multiply_public(INFINITY, 5) == GROUP.multiply_secret(INFINITY, _secret(5)) == INFINITY
    assert GROUP.base_multiply(zero) == GROUP.multiply_secret(GROUP.second_generator, zero) == INFINITY
    assert INFINITY.is_infinity
    assert not g.is_infinity


def test_infinity_has_no_encoding() -> None:
    with pytest.raises(PointAtInfinity):
        INFINITY.encode()


def test_the_sum_of_a_point_with_itself_is_its_double() -> None:
    assert GROUP.add(GROUP.generator, GROUP.generator) == GROUP.multiply_public(GROUP.generator, 2)


@given(scalars)
def test_points_round_trip(value: int) -> None:
    point = GROUP.base_multiply(_secret(value))
    assert GROUP.decode_point(point.encode()) == point


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(33),
        b"\x02" + bytes(32),
        b"\x02" + (5).to_bytes(32, "big"),
        b"\x02" + FIELD.to_bytes(32, "big"),
        b"\x02" + (FIELD + 1).to_bytes(32, "big"),
        b"\x04" + GROUP.generator.raw,
        b"\x04" + GROUP.generator.raw[:32],
        b"\x06" + GROUP.generator.raw[:32],
        GROUP.generator.encode() + b"\x00",
        GROUP.generator.encode()[:32],
    ],
    ids=[
        "empty",
        "zeros",
        "x is zero",
        "not on the curve",
        "x is the field's size",
        "x is 1 beyond the field",
        "uncompressed",
        "wrong prefix",
        "hybrid prefix",
        "too long",
        "too short",
    ],
)
def test_rejects_encoding_of_a_point(data: bytes) -> None:
    with pytest.raises(BadPoint):
        GROUP.decode_point(data)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_a_canonical_point_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadPoint):
        assert GROUP.decode_point(data).encode() == data


def test_rejects_a_run_of_points_with_bytes_left_over() -> None:
    with pytest.raises(BadPoint):
        GROUP.decode_points(GROUP.generator.encode() * 2 + b"\x02")


def test_an_invalid_point_object_is_refused_by_the_backend() -> None:
    with pytest.raises(BadPoint):
        GROUP.multiply_public(Point(raw=b"\x01" * 64), 3)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), ORDER.to_bytes(32, "big"), b"\xff" * 32])
def test_rejects_public_scalar(data: bytes) -> None:
    with pytest.raises(BadScalar):
        GROUP.decode_scalar(data)


@pytest.mark.parametrize(
    "data", [b"", b"\x01" * 31, bytes(32) + b"\x01", bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_rejects_secret_scalar(data: bytes) -> None:
    with pytest.raises(BadSecret):
        GROUP.decode_secret(data)


def test_largest_scalar_is_accepted() -> None:
    data = (ORDER - 1).to_bytes(32, "big")
    assert GROUP.decode_scalar(data) == ORDER - 1
    assert GROUP.decode_secret(data).reveal() == data


def test_a_secret_is_not_shown_hashed_or_pickled() -> None:
    secret = _secret(0xABCDEF)
    assert repr(secret) == str(secret) == "SecretScalar(hidden)"
    assert secret == _secret(0xABCDEF)
    assert secret != _secret(0xABCDEE)
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_second_generator_is_the_first_point_of_its_derivation() -> None:
    h = GROUP.second_generator
    candidates = [b"\x02" + tagged_hash(Tag.GENERATOR, bytes([i])) for i in range(8)]
    assert h.encode() == next(c for c in candidates if pow(_right_hand_side(c), (FIELD - 1) // 2, FIELD) == 1)
    assert h != GROUP.generator


def _right_hand_side(compressed: bytes) -> int:
    return (pow(int.from_bytes(compressed[1:], "big"), 3, FIELD) + 7) % FIELD


def test_derived_secrets_differ_by_purpose_and_parts() -> None:
    seen = {
        GROUP.derive_secret(purpose, *parts).reveal()
        for purpose in (b"a", b"b")
        for parts in ((b"xy",), (b"x", b"y"), (b"xy", b""))
    }
    assert len(seen) == 6


@given(st.lists(scalars, min_size=1, max_size=5), st.integers(min_value=1, max_value=64))
def test_polynomials_agree_in_the_clear_and_in_the_exponent(coefficients: list[int], at: int) -> None:
    value = sum(c * at**k for k, c in enumerate(coefficients)) % ORDER
    assert _value(evaluate([_secret(c) for c in coefficients], at)) == value
    points = [GROUP.multiply_public(GROUP.generator, c) for c in coefficients]
    assert evaluate_points(points, at) == GROUP.multiply_public(GROUP.generator, value)


@given(
    st.lists(scalars, min_size=3, max_size=3), st.sets(st.integers(1, 64), min_size=3, max_size=3), st.integers(0, 70)
)
def test_lagrange_interpolates_at_any_place(coefficients: list[int], places: set[int], at: int) -> None:
    indices = sorted(places)
    values = [sum(c * i**k for k, c in enumerate(coefficients)) for i in indices]
    expected = sum(c * at**k for k, c in enumerate(coefficients)) % ORDER
    assert sum(f * v for f, v in zip(lagrange(indices, at), values, strict=True)) % ORDER == expected


def test_lagrange_rejects_duplicate_indices() -> None:
    with pytest.raises(ValueError, match="distinct"):
        lagrange([1, 2, 1])
