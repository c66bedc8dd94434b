"""Reads vectors/bundle: manifests, their commitments, and texts that are no manifest (spec 15 §4, §5)."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.bundle import errors
from caimi.bundle.framing import manifest_commitment
from caimi.bundle.manifest import decode_manifest, encode_manifest
from caimi.types.primitives import bytes32

SUITE = suite("bundle/manifest.json")


@pytest.mark.parametrize("case", **named(SUITE["cases"]))
def test_manifest(case: dict[str, Any]) -> None:
    encoded = unhex(case["encoded"])
    manifest = decode_manifest(encoded)
    assert encode_manifest(manifest) == encoded
    assert manifest.content_bytes == int(case["contentBytes"])
    assert manifest_commitment(bytes32(unhex(case["salt"])), encoded) == unhex(case["commitment"])


@pytest.mark.parametrize("case", **named(SUITE["refusals"]))
def test_rejects_manifest(case: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, case["error"])):
        decode_manifest(case["text"].encode("utf-8"))
