"""Where the vectors are and how their JSON becomes parameters."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("CAIMI_VECTORS") or Path(__file__).resolve().parents[2] / "vectors")


def suite(name: str) -> dict[str, Any]:
    """The content of one file, whose sha256 is the manifest's."""
    data = (FOLDER / name).read_bytes()
    listed = {s["suite"]: s["sha256"] for s in json.loads((FOLDER / "manifest.json").read_text())["suites"]}
    assert hashlib.sha256(data).hexdigest() == listed[name], f"{name} is not the file that the manifest names"
    return json.loads(data)


def unhex(text: str) -> bytes:
    """Bytes of 0x hex."""
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


def named(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` for a list of cases."""
    return {"argvalues": cases, "ids": [f"{c['tcId']}: {c['comment']}" for c in cases]}
