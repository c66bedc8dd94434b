"""Write each suite's sha256 into vectors/manifest.json, which every reader compares. `--check` fails on a change."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def main() -> int:
    """Write the sums, or with `--check` compare them; a suite that the manifest does not list is an error."""
    path = FOLDER / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text())
    listed = {s["suite"] for s in manifest["suites"]}
    present = {str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*.json") if p != path and "schema" not in p.parts}
    if listed != present:
        print(f"vectors/manifest.json and the folder differ: {sorted(listed ^ present)}")
        return 1
    for entry in manifest["suites"]:
        entry["sha256"] = hashlib.sha256((FOLDER / entry["suite"]).read_bytes()).hexdigest()
    lines = ",\n  ".join(json.dumps(s) for s in manifest["suites"])
    text = '{\n "suites": [\n  ' + lines + "\n ]\n}\n"
    if text == path.read_text():
        return 0
    if "--check" in sys.argv:
        print("stale: vectors/manifest.json; run tools/gen_vectors_manifest.py")
        return 1
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
