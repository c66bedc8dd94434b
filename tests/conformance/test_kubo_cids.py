"""The CIDs of the vectors, made again by a real Kubo node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vectorgen.content_recipe import content
from vectorgen.kubo_node import KuboNode, kubo_program

FILES = Path(__file__).resolve().parents[2] / "vectors" / "unixfs" / "files.json"


@pytest.mark.slow
def test_kubo_gives_the_cids_of_the_vectors() -> None:
    program = kubo_program()
    if program is None:
        pytest.skip("the toolchain has not built Kubo: python3 tools/bootstrap.py test-long builds it")
    cases: list[dict[str, Any]] = json.loads(FILES.read_text())["cases"]
    with KuboNode(program) as node:
        given = [
            node.add(content(c["seed"], c["size"]), chunk_bytes=c["chunkBytes"], links_per_node=c["linksPerNode"])
            for c in cases
        ]
    assert given == [case["cid"] for case in cases]
