"""The validator process: `python -m caimi.apps.validatord --config FILE`."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack

from caimi.apps.http_server import serve
from caimi.apps.key_files import open_key
from caimi.apps.lane_wiring import open_sources
from caimi.apps.process import crash_points, open_observer, run_daemon, when_reachable
from caimi.apps.process_config import ValidatorConfig
from caimi.apps.system import SystemClock
from caimi.apps.validator_api import validator_app
from caimi.ports.agreement import AgreeingReader
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.types.primitives import Generation
from caimi.validator.attestor import Attestor
from caimi.validator.lane import SourceLane
from caimi.validator.rate_limit import RateLimiter
from caimi.validator.seat import take_seat

__all__ = ["main"]


async def _run(config: ValidatorConfig) -> None:
    clock, observer = SystemClock(), open_observer(config.name, config.log)
    key = open_key(config.key)
    async with AsyncExitStack() as stack:
        lanes = [(lane, open_sources(lane, stack)) for lane in config.lanes]
        every = tuple(reader for _, readers in lanes for reader in readers)

        def ask():
            return take_seat(every, network=config.network.id, address=key.address)

        seat = await when_reachable(ask, clock=clock, observer=observer)
        store = SqliteAttestationStore(str(config.store), crash=crash_points(config.crash_at))
        stack.callback(store.close)
        attestor = Attestor(
            seat,
            key=key,
            sources=[
                SourceLane(
                    name=lane.name,
                    reader=AgreeingReader(readers),
                    generation=Generation(lane.generation),
                    sources=len(readers),
                    note=lane.note,
                )
                for lane, readers in lanes
            ],
            store=store,
            clock=clock,
            observer=observer,
            poll_seconds=config.poll_seconds,
        )
        limiter = RateLimiter(clock, per_second=config.requests_per_second, burst=config.burst)
        observer.step("process.started", signer=seat.signer, epoch=seat.epoch)
        await serve(validator_app(attestor, limiter, observer), config.http, attestor.run())


def main() -> int:
    """Run until a signal; the exit code."""
    return run_daemon(ValidatorConfig, _run)


if __name__ == "__main__":
    sys.exit(main())
