"""Reads vectors/unixfs: CIDs that Kubo gave, trees and CIDs that are refused (spec 15 §1-§3)."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex
from vectorgen.content_recipe import RECIPE, content

from caimi.bundle import errors
from caimi.bundle.cid import decode_cid, format_cid, parse_cid
from caimi.bundle.unixfs import PROFILE, DagReader, Profile, UnixFsBuilder, verify_block
from caimi.wire.digests import cid_bytes

FILES, TREES, CIDS = suite("unixfs/files.json"), suite("unixfs/trees.json"), suite("unixfs/cid.json")


def test_recipe_and_profile_are_the_ones_of_the_vectors() -> None:
    assert (RECIPE, str(PROFILE)) == (FILES["recipe"], FILES["profile"]) == (TREES["recipe"], TREES["profile"])


@pytest.mark.parametrize("case", **named(FILES["cases"]))
def test_file(case: dict[str, Any]) -> None:
    profile = Profile(chunk_bytes=case["chunkBytes"], links_per_node=case["linksPerNode"])
    builder = UnixFsBuilder(profile)
    blocks = sum(1 for _ in builder.blocks(content(case["seed"], case["size"])))
    assert format_cid(builder.root.cid) == case["cid"]
    assert (builder.root.content_bytes, builder.root.blocks) == (case["size"], blocks)


@pytest.mark.parametrize("case", **named(TREES["refusals"]))
def test_rejects_tree(case: dict[str, Any]) -> None:
    expected = getattr(errors, case["error"])
    *sound, last = [(parse_cid(b["cid"]), unhex(b["data"])) for b in case["blocks"]]
    reader = DagReader(parse_cid(case["blocks"][0]["cid"]), max_content_bytes=TREES["maxContentBytes"])
    for cid, data in sound:
        reader.feed(verify_block(cid, data))
    due = reader.due()
    with pytest.raises(expected) as caught:
        reader.feed(verify_block(*last))
    assert type(caught.value) is expected
    assert reader.due() == due  # nothing moved


@pytest.mark.parametrize("case", **named(CIDS["cases"]))
def test_cid(case: dict[str, Any]) -> None:
    cid = parse_cid(case["text"])
    assert cid == decode_cid(unhex(case["binary"]))
    assert (format_cid(cid), cid_bytes(cid)) == (case["text"], unhex(case["binary"]))


@pytest.mark.parametrize("case", **named(CIDS["refusals"]))
def test_rejects_cid(case: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, case["error"])):
        if "text" in case:
            parse_cid(case["text"])
        else:
            decode_cid(unhex(case["binary"]))
