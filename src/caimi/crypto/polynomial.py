"""Polynomials over the scalars, in the clear and in the exponent (spec 40 §1)."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.secp256k1 import GROUP

__all__ = ["evaluate", "evaluate_points", "lagrange"]


def evaluate(coefficients: Sequence[SecretScalar], at: int) -> SecretScalar:
    """Value at a public `at` of the polynomial with secret coefficients, lowest first."""
    place = GROUP.secret_of(at)
    value = GROUP.secret_of(0)
    for coefficient in reversed(coefficients):
        value = GROUP.add_secrets(GROUP.multiply_secrets(value, place), coefficient)
    return value


def evaluate_points(coefficients: Sequence[Point], at: int) -> Point:
    """The same in the exponent, for public points, lowest first; variable time."""
    value = Point(raw=b"")
    for coefficient in reversed(coefficients):
        value = GROUP.add(GROUP.multiply_public(value, at), coefficient)
    return value


def lagrange(indices: Sequence[int], at: int = 0) -> tuple[int, ...]:
    """Factors that take the values at the distinct `indices` to the value at `at`.

    Raises:
        ValueError: Two indices are equal: the caller has to refuse duplicates before.
    """
    if len(set(indices)) != len(indices):
        raise ValueError("indices are not distinct")
    factors: list[int] = []
    for i in indices:
        above, below = 1, 1
        for j in indices:
            if j != i:
                above = above * (at - j) % GROUP.order
                below = below * (i - j) % GROUP.order
        factors.append(above * pow(below, -1, GROUP.order) % GROUP.order)
    return tuple(factors)
