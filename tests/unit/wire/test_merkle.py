"""Paths of single leaves, from one tree."""

from __future__ import annotations

import pytest

from caimi.types.errors import ProofTooLong, ProofTooShort
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import keccak256
from caimi.wire.merkle import merkle_multiproof, merkle_paths, merkle_root, multiproof_root

WIDTHS = [*range(1, 34), 255, 256]


def leaves(width: int) -> list[Bytes32]:
    return [keccak256(bytes([n])) for n in range(width)]


@pytest.mark.parametrize("width", WIDTHS)
def test_each_path_is_the_proof_of_its_leaf(width: int) -> None:
    some = leaves(width)
    root = merkle_root(some)
    for index, path in enumerate(merkle_paths(some)):
        assert path == merkle_multiproof(some, [index])
        assert multiproof_root(width, [index], [some[index]], path) == root


def test_path_of_one_leaf_does_not_prove_another() -> None:
    some = leaves(5)
    paths = merkle_paths(some)
    assert multiproof_root(5, [1], [some[1]], paths[0]) != merkle_root(some)
    with pytest.raises(ProofTooShort):
        multiproof_root(5, [1], [some[1]], paths[4])
    with pytest.raises(ProofTooLong):
        multiproof_root(5, [4], [some[4]], paths[1])


def test_no_leaves_have_no_paths() -> None:
    assert merkle_paths([]) == ()
