"""The relay process: `python -m caimi.apps.relayd --config FILE`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import httpx2

from caimi.apps.http_server import bearer_check, read_token, serve
from caimi.apps.lane_wiring import open_sender
from caimi.apps.process import crash_points, open_observer, run_daemon, when_reachable
from caimi.apps.process_config import RelayConfig
from caimi.apps.relay_api import relay_app
from caimi.apps.step_watch import RELAY_PROGRESS, StepWatch
from caimi.apps.system import SystemClock, SystemEntropy
from caimi.apps.validator_client import ValidatorClient
from caimi.ports.clock import Clock
from caimi.ports.observer import Observer
from caimi.relay.certifier import ValidatorPeer
from caimi.relay.engine import Relay, RelayTuning
from caimi.relay.lanes import RelayLane
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import Bytes32, Generation, SignerIndex
from caimi.validator.seat import RegistryReader, check_network

__all__ = ["main"]


async def _run(config: RelayConfig) -> None:
    clock, observer = SystemClock(config.clock_ahead_seconds), open_observer(config.name, config.log)
    token, tuning = read_token(config.token_file), config.tuning
    async with AsyncExitStack() as stack:
        ports = [(lane, open_sender(lane, stack, clock)) for lane in config.lanes]
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=tuning.answer_seconds))
        steps = StepWatch(crash_points(config.crash_at), clock=clock, observer=observer, progress=RELAY_PROGRESS)
        store = SqliteRelayStore(str(config.store), crash=steps)
        stack.callback(store.close)
        relay = Relay(
            config.network.id,
            [
                RelayLane(
                    name=lane.name,
                    port=port,
                    generation=Generation(lane.generation),
                    in_flight=lane.in_flight,
                    apart_seconds=lane.apart_seconds,
                    batch_calls=tuning.batch_calls,
                    batch_bytes=lane.batch_bytes,
                    batch_items=lane.batch_items,
                )
                for lane, port in ports
            ],
            [
                ValidatorPeer(signer=SignerIndex(validator.signer), port=ValidatorClient(validator.url, client))
                for validator in config.validators
            ],
            store=store,
            clock=clock,
            entropy=SystemEntropy(),
            observer=observer,
            tuning=RelayTuning(
                poll=tuning.poll_seconds,
                answer=tuning.answer_seconds,
                resend=tuning.resend_seconds,
                replace=tuning.replace_seconds,
                max_attempts=tuning.max_attempts,
                stalled=tuning.stalled_seconds,
            ),
        )
        observer.collect(relay.collect)
        observer.collect(steps.collect)
        app = relay_app(relay, store, observer, may_change=bearer_check(token))
        sites = [port for _, port in ports]
        observer.step("process.started")
        await serve(app, config.http, _work(relay, sites, config.network.id, clock, observer))


async def _work(
    relay: Relay, sites: Sequence[RegistryReader], network: Bytes32, clock: Clock, observer: Observer
) -> None:
    # A ledger that is down must not keep the relay from serving the others; one of another network ends it.
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay.run())
        for site in sites:
            tasks.create_task(_check(site, network, clock, observer))


async def _check(site: RegistryReader, network: Bytes32, clock: Clock, observer: Observer) -> None:
    await when_reachable(lambda: check_network(site, network), clock=clock, observer=observer)


def main() -> int:
    """Run until a signal; the exit code."""
    return run_daemon(RelayConfig, _run)


if __name__ == "__main__":
    sys.exit(main())
