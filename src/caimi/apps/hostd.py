"""The host process: `python -m caimi.apps.hostd --config FILE`. UNATTESTED."""

from __future__ import annotations

import asyncio
import functools
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import httpx2

from caimi.apps.host_api import HostParts, host_app
from caimi.apps.host_clients import HttpHostRelay, HttpKeyRelease
from caimi.apps.host_config import HostConfig, HostLimits
from caimi.apps.host_readiness import HostReadiness
from caimi.apps.http_server import bearer_check, read_token, serve
from caimi.apps.key_files import open_key
from caimi.apps.lane_wiring import open_board, open_sources
from caimi.apps.process import crash_points, open_observer, run_daemon, when_reachable
from caimi.apps.reachability import Reachability
from caimi.apps.step_watch import StepWatch
from caimi.apps.system import SystemClock, SystemEntropy
from caimi.crypto.quorum import ValidatorSet
from caimi.host.answering import Answerer
from caimi.host.child import ChildRuntime
from caimi.host.frames import RunnerLimits
from caimi.host.identity import HostIdentity, make_identity
from caimi.host.key_client import KeyClient
from caimi.host.leases import LeaseDesk, LeaseTerms
from caimi.host.model_server import Batching
from caimi.host.publications import Publications
from caimi.host.registry_call import CallLimits, RegistryCalls
from caimi.host.service import Host
from caimi.host.serving import DirectServing, ServingLimits
from caimi.host.shelf import ModelShelf, ShelfLimits
from caimi.host.tensor_checks import TensorLimits
from caimi.host.timed_runtime import TimedRuntime
from caimi.host.warming import warm
from caimi.ports.agreement import AgreeingReader
from caimi.ports.chain import BoardPort, ChainReader
from caimi.ports.clock import Clock
from caimi.ports.host_store import HostStore
from caimi.ports.observer import Observer
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.sqlite_host import SqliteHostStore
from caimi.storage.transfer import Content
from caimi.types.primitives import Epoch
from caimi.types.records import Lane
from caimi.validator.seat import RegistryReader, check_network, common_root

__all__ = ["main"]


_OTHER_CONNECTIONS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outside:
    # What the host reaches over the network.
    lanes: tuple[ChainReader, ...]
    root: Lane
    board: BoardPort
    relay: HttpHostRelay
    content: Content
    client: httpx2.AsyncClient


@dataclass(frozen=True, slots=True)
class _Inside:
    # What one start of the host has.
    store: HostStore
    publications: Publications
    runtime: ChildRuntime


async def _run(config: HostConfig) -> None:
    clock, observer = SystemClock(config.clock_ahead_seconds), open_observer(config.name, config.log)
    token = read_token(config.token_file)
    async with AsyncExitStack() as stack:
        readers = [open_sources(lane, stack, clock) for lane in config.lanes]
        sites: tuple[RegistryReader, ...] = tuple(reader for some in readers for reader in some)
        reached = when_reachable(lambda: _epoch(sites, config), clock=clock, observer=observer)
        rooted = when_reachable(lambda: common_root(sites), clock=clock, observer=observer)
        # Deriving the key that opens the operator's takes as long as reaching the ledgers.
        operator, epoch, root = await asyncio.gather(asyncio.to_thread(open_key, config.operator), reached, rooted)
        runtime = ChildRuntime(_runner_limits(config.limits))
        stack.push_async_callback(runtime.close)
        runtime.prepare()
        steps = StepWatch(crash_points(config.crash_at), clock=clock, observer=observer)
        store = SqliteHostStore(str(config.store), crash=steps)
        stack.callback(store.close)
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=config.answer_seconds, trust_env=False))
        blocks = await stack.enter_async_context(HttpBlockStore(config.content, token=token))
        outside = _Outside(
            lanes=tuple(AgreeingReader(some) for some in readers),
            root=root,
            board=open_board(config.board_lane, stack, clock),
            relay=HttpHostRelay(config.relay, client, token=token),
            content=Content(sources=[blocks], store=blocks),
            client=client,
        )
        identity = make_identity(
            operator, network=config.network.id, epoch=epoch, now=clock.now(), entropy=SystemEntropy()
        )
        del operator
        publications = Publications(identity.network, outside.relay)
        parts = _parts(config, identity, outside, _Inside(store, publications, runtime), observer)
        stack.push_async_callback(parts.shelf.close)
        observer.collect(parts.host.collect)
        observer.collect(parts.shelf.collect)
        observer.collect(parts.serving.collect)
        ready, longest = _readiness(config, parts, client).missing, parts.serving.most_body_bytes
        app = host_app(parts, observer, may_change=bearer_check(token), ready=ready, longest_call=longest)
        observer.step(
            "process.started", signing_key="0x" + identity.key.signing_key.hex(), epoch=epoch, attestation="UNATTESTED"
        )
        stack.callback(parts.serving.close)
        drain = functools.partial(parts.serving.drain, config.limits.drain_seconds)
        # More than calls that it takes: who is too much shall be told so.
        connections = 2 * config.limits.direct_calls + _OTHER_CONNECTIONS
        await serve(app, config.http, _work(parts, publications, observer, clock), drain=drain, connections=connections)


async def _work(parts: HostParts, publications: Publications, observer: Observer, clock: Clock) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.host.run())
        tasks.create_task(warm(parts.shelf, publications, store=parts.host.store, clock=clock, observer=observer))


async def _epoch(sites: tuple[RegistryReader, ...], config: HostConfig) -> Epoch:
    for site in sites:
        await check_network(site, config.network.id)
    return (await sites[0].validator_set()).epoch


def _runner_limits(limits: HostLimits) -> RunnerLimits:
    return RunnerLimits(
        memory_bytes=limits.runner_memory_bytes,
        run_cpu_s=limits.run_cpu_seconds,
        threads=limits.threads,
        max_model_bytes=limits.model_bytes,
        max_input_bytes=limits.tensor_bytes,
        max_output_bytes=limits.tensor_bytes,
    )


def _keys(config: HostConfig, identity: HostIdentity, outside: _Outside, observer: Observer) -> KeyClient:
    return KeyClient(
        identity,
        validators=ValidatorSet.from_genesis(config.network.genesis.record()),
        ports={v.signer + 1: HttpKeyRelease(v.url, outside.client) for v in config.validators},
        board=outside.board,
        clock=SystemClock(config.clock_ahead_seconds),
        observer=observer,
    )


def _shelf(
    config: HostConfig, identity: HostIdentity, outside: _Outside, inside: _Inside, keys: KeyClient, observer: Observer
) -> ModelShelf:
    clock, limits = SystemClock(config.clock_ahead_seconds), config.limits
    desk = LeaseDesk(
        identity,
        LeaseTerms(seconds=limits.lease_seconds, calls=limits.lease_calls),
        board=outside.board,
        lane=config.board_lane.lane,
        clock=clock,
        entropy=SystemEntropy(),
        observer=observer,
    )
    return ModelShelf(
        ShelfLimits(models=limits.models, content_bytes=limits.model_bytes),
        desk=desk,
        keys=keys,
        content=outside.content,
        runtime=TimedRuntime(inside.runtime, clock=clock, observer=observer),
        store=inside.store,
        clock=clock,
        observer=observer,
    )


def _serving(
    config: HostConfig,
    tensors: TensorLimits,
    identity: HostIdentity,
    publications: Publications,
    shelf: ModelShelf,
    observer: Observer,
) -> DirectServing:
    limits = config.limits
    return DirectServing(
        identity,
        ServingLimits(calls=limits.direct_calls, body_bytes=limits.direct_bytes, tensors=tensors),
        Batching(rows=limits.batch_rows, wait_s=limits.batch_wait_ms / 1000),
        publications=publications,
        shelf=shelf,
        clock=SystemClock(config.clock_ahead_seconds),
        entropy=SystemEntropy(),
        observer=observer,
    )


def _parts(
    config: HostConfig, identity: HostIdentity, outside: _Outside, inside: _Inside, observer: Observer
) -> HostParts:
    clock, limits = SystemClock(config.clock_ahead_seconds), config.limits
    keys = _keys(config, identity, outside, observer)
    shelf = _shelf(config, identity, outside, inside, keys, observer)
    tensors = TensorLimits(input_bytes=limits.tensor_bytes, output_bytes=limits.tensor_bytes)
    store, publications = inside.store, inside.publications
    answerer = Answerer(
        identity,
        tensors,
        publications=publications,
        shelf=shelf,
        content=outside.content,
        clock=clock,
        entropy=SystemEntropy(),
    )
    host = Host(
        identity,
        lanes=outside.lanes,
        root=outside.root,
        answerer=answerer,
        relay=outside.relay,
        store=store,
        clock=clock,
        observer=observer,
    )
    calls = RegistryCalls(
        identity.network, CallLimits(), relay=outside.relay, content=outside.content, store=store, clock=clock
    )
    return HostParts(
        identity=identity,
        host=host,
        shelf=shelf,
        keys=keys,
        registry_calls=calls,
        serving=_serving(config, tensors, identity, publications, shelf, observer),
        lanes={lane.name: lane.lane for lane in config.lanes},
    )


def _readiness(config: HostConfig, parts: HostParts, client: httpx2.AsyncClient) -> HostReadiness:
    clock = SystemClock(config.clock_ahead_seconds)
    others = (
        Reachability("the relay", config.relay, client, clock=clock),
        Reachability("the content store", config.content, client, clock=clock),
    )
    return HostReadiness(parts.host, parts.keys, lanes=parts.lanes, others=others)


def main() -> int:
    """Run until a signal; the exit code."""
    return run_daemon(HostConfig, _run)


if __name__ == "__main__":
    sys.exit(main())
