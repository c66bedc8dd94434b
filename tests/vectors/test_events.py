"""Reads vectors/events: leaves, roots, multiproofs."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.types.errors import BY_NAME, WrongRoot
from caimi.types.primitives import Bytes32
from caimi.types.records import Item, Lane
from caimi.wire.codec import decode
from caimi.wire.digests import event_hash, leaf_hash
from caimi.wire.merkle import merkle_root, multiproof_root

SUITE = suite("events/run.json")
SOURCE = decode(Lane, unhex(SUITE["source"]))
ITEMS = [decode(Item, unhex(c["encoded"])) for c in SUITE["items"]]
LEAVES = [leaf_hash(SOURCE, i) for i in ITEMS]


def root_of(case: dict[str, Any]) -> Bytes32:
    if "encoded" in case:
        return leaf_hash(SOURCE, decode(Item, unhex(case["encoded"])))
    indices: list[int] = case["indices"]
    proof = [Bytes32(unhex(p)) for p in case["proof"]]
    return multiproof_root(case["width"], indices, [LEAVES[i % len(LEAVES)] for i in indices], proof)


@pytest.mark.parametrize("case", **named(SUITE["items"]))
def test_leaf(case: dict[str, Any]) -> None:
    item = decode(Item, unhex(case["encoded"]))
    assert event_hash(item.event) == unhex(case["eventHash"])
    assert leaf_hash(SOURCE, item) == unhex(case["leaf"])


@pytest.mark.parametrize("case", **named(SUITE["runs"]))
def test_root(case: dict[str, Any]) -> None:
    assert merkle_root(LEAVES[: case["width"]]) == unhex(case["root"])


@pytest.mark.parametrize("case", **named(SUITE["proofs"]))
def test_multiproof(case: dict[str, Any]) -> None:
    assert root_of(case) == unhex(case["root"])


@pytest.mark.parametrize("case", **named(SUITE["refusals"]))
def test_rejects_run(case: dict[str, Any]) -> None:
    expected = BY_NAME[case["error"]]
    with pytest.raises(expected):
        actual = root_of(case)
        if actual != unhex(case["root"]):
            raise WrongRoot(unhex(case["root"]), actual)
