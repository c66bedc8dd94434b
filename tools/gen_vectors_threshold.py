"""Write vectors/threshold, by a second implementation of spec 40. `--check` fails when a file differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from vectorgen.dkg_suite import dkg_suite  # noqa: E402 - the path is set above
from vectorgen.reshare_suite import reshare_suite  # noqa: E402
from vectorgen.threshold_suite import (  # noqa: E402
    capsule_suite,
    group_suite,
    keystore_suite,
    partial_suite,
    proof_suite,
)


def suites() -> dict[str, dict[str, Any]]:
    """File name and content of every suite of this generator."""
    return {
        "threshold/group.json": group_suite(),
        "threshold/proof.json": proof_suite(),
        "threshold/capsule.json": capsule_suite(),
        "threshold/partial.json": partial_suite(),
        "threshold/dkg.json": dkg_suite(),
        "threshold/reshare.json": reshare_suite(),
        "threshold/keystore.json": keystore_suite(),
    }


def main() -> int:
    """Write the files, or with `--check` compare them."""
    stale: list[str] = []
    for name, content in suites().items():
        path, text = ROOT / "vectors" / name, json.dumps(content, indent=1) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if "--check" in sys.argv:
        print("\n".join(f"stale: vectors/{n}; run tools/gen_vectors_threshold.py" for n in stale))
        return 1 if stale else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
