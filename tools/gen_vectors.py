"""Write vectors/{wire,events,certificate,registry}. `--check` fails when a file differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from vectorgen import fixtures as fx  # noqa: E402 - the path is set above
from vectorgen.batch_scenarios import BATCH_SCENARIOS  # noqa: E402 - the path is set above
from vectorgen.brake_scenarios import BRAKE_SCENARIOS  # noqa: E402
from vectorgen.certificate_suite import certificate_suite  # noqa: E402
from vectorgen.edge_scenarios import creation_suite  # noqa: E402
from vectorgen.epoch_scenarios import EPOCH_SCENARIOS  # noqa: E402
from vectorgen.governance_scenarios import GOVERNANCE_SCENARIOS  # noqa: E402
from vectorgen.registry_suite import SCENARIOS, registry_suite  # noqa: E402
from vectorgen.revocation_scenarios import REVOCATION_SCENARIOS  # noqa: E402
from vectorgen.wire_suite import board_suite, epochs_suite, events_suite, receipt_suite, wire_suite  # noqa: E402

BRAKES = [*REVOCATION_SCENARIOS, *BRAKE_SCENARIOS, *GOVERNANCE_SCENARIOS]


def suites() -> dict[str, dict[str, Any]]:
    """File name and content of every suite of this generator."""
    return {
        "wire/ledger.json": wire_suite(),
        "wire/board.json": board_suite(),
        "wire/receipt.json": receipt_suite(),
        "wire/epochs.json": epochs_suite(),
        "events/run.json": events_suite(),
        "certificate/quorum.json": certificate_suite(),
        "registry/creation.json": creation_suite(),
        "registry/ethereum.json": registry_suite(SCENARIOS, fx.ETHEREUM, fx.FABRIC),
        "registry/fabric.json": registry_suite(SCENARIOS, fx.FABRIC, fx.ETHEREUM),
        "registry/ethereum-brakes.json": registry_suite(BRAKES, fx.ETHEREUM, fx.FABRIC),
        "registry/fabric-brakes.json": registry_suite(BRAKES, fx.FABRIC, fx.ETHEREUM),
        "registry/ethereum-batches.json": registry_suite(BATCH_SCENARIOS, fx.ETHEREUM, fx.FABRIC),
        "registry/fabric-batches.json": registry_suite(BATCH_SCENARIOS, fx.FABRIC, fx.ETHEREUM),
        "registry/ethereum-epochs.json": registry_suite(EPOCH_SCENARIOS, fx.ETHEREUM, fx.FABRIC),
        "registry/fabric-epochs.json": registry_suite(EPOCH_SCENARIOS, fx.FABRIC, fx.ETHEREUM),
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
        print("\n".join(f"stale: vectors/{n}; run tools/gen_vectors.py" for n in stale))
        return 1 if stale else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
