"""Write schemas/*.json, the OpenAPI descriptions of our processes, from code. `--check` fails on a difference."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from caimi.apps.host_api import HostParts, host_app
from caimi.apps.http_server import bearer_check
from caimi.apps.json_observer import JsonObserver
from caimi.apps.order_api import add_orders
from caimi.apps.relay_api import relay_app
from caimi.apps.system import SystemClock, SystemEntropy
from caimi.apps.validator_api import validator_app
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.crash import NoCrash
from caimi.relay.engine import Relay
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import ZERO32, Bytes32, Epoch, SignerIndex
from caimi.types.records import Lane
from caimi.validator.attestor import Attestor, Seat
from caimi.validator.keys import ValidatorKeys
from caimi.validator.orders import Orders
from caimi.validator.rate_limit import RateLimiter

ROOT = Path(__file__).resolve().parent.parent


def validator_schema() -> dict[str, Any]:
    """Of a validator without lanes."""
    clock, observer = SystemClock(), JsonObserver("schema", sys.stderr)
    seat = Seat(network=ZERO32, epoch=Epoch(1), signer=SignerIndex(0), root=Lane(chain=ZERO32, registry=ZERO32))
    key = SigningKey.from_entropy(Bytes32(b"\1" * 32))
    attestor = Attestor(
        seat,
        key=key,
        sources=(),
        store=SqliteAttestationStore(":memory:", crash=NoCrash()),
        clock=clock,
        observer=observer,
    )
    limiter = RateLimiter(clock, per_second=1, burst=1)
    # A description needs no keys: no route of it is run.
    keys = cast(ValidatorKeys, None)
    app = validator_app(attestor, keys, limiter, observer, releases=limiter)
    add_orders(app, Orders(seat, attestor, key=key, observer=observer), limiter, may_order=bearer_check(None))
    return app.openapi()


def relay_schema() -> dict[str, Any]:
    """Of a relay without lanes."""
    store, observer = SqliteRelayStore(":memory:", crash=NoCrash()), JsonObserver("schema", sys.stderr)
    relay = Relay(ZERO32, (), (), store=store, clock=SystemClock(), entropy=SystemEntropy(), observer=observer)
    return relay_app(relay, store, observer, may_change=bearer_check("")).openapi()


def host_schema() -> dict[str, Any]:
    """Of a host; the parts are not needed for a description."""
    observer = JsonObserver("schema", sys.stderr)
    parts, may_change = cast(HostParts, None), bearer_check("")
    return host_app(parts, observer, may_change=may_change, ready=_nothing_missing, longest_call=0).openapi()


async def _nothing_missing() -> Sequence[str]:
    # No route is run.
    return ()


def main() -> int:
    """Write or compare; the exit code."""
    failed = 0
    for name, schema in (("validator", validator_schema()), ("relay", relay_schema()), ("host", host_schema())):
        path = ROOT / "schemas" / f"{name}.json"
        text = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path.relative_to(ROOT)} differs from the code: run tools/gen_schemas.py")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
