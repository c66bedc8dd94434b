"""The validator process: `python -m caimi.apps.validatord --config FILE`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

from caimi.apps.http_server import bearer_check, read_token, serve
from caimi.apps.key_files import open_key, read_password
from caimi.apps.lane_wiring import open_board, open_sources
from caimi.apps.order_api import add_orders
from caimi.apps.process import crash_points, open_observer, run_daemon, when_reachable
from caimi.apps.process_config import ValidatorConfig
from caimi.apps.step_watch import StepWatch
from caimi.apps.system import SystemClock, SystemEntropy
from caimi.apps.validator_api import validator_app
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare
from caimi.crypto.quorum import ValidatorSet
from caimi.ports.agreement import AgreeingReader
from caimi.ports.chain import BoardPort, ChainReader
from caimi.ports.crash import CrashPoints
from caimi.ports.observer import Observer
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_vault import SqliteKeyVault
from caimi.types.primitives import Generation
from caimi.types.records import Lane
from caimi.validator.attestor import Attestor, Seat
from caimi.validator.keygen import KeyGeneration
from caimi.validator.keys import ValidatorKeys
from caimi.validator.lane import SourceLane
from caimi.validator.orders import Orders
from caimi.validator.rate_limit import RateLimiter
from caimi.validator.release import KeyRelease
from caimi.validator.seat import take_seat

__all__ = ["main"]


async def _run(config: ValidatorConfig) -> None:
    clock, observer = SystemClock(config.clock_ahead_seconds), open_observer(config.name, config.log)
    key = open_key(config.key)
    may_order = bearer_check(None if config.token_file is None else read_token(config.token_file))
    async with AsyncExitStack() as stack:
        lanes = [(lane, open_sources(lane, stack, clock)) for lane in config.lanes]
        every = tuple(reader for _, readers in lanes for reader in readers)

        def ask():
            return take_seat(every, network=config.network.id, address=key.address)

        seat = await when_reachable(ask, clock=clock, observer=observer)
        crash = StepWatch(crash_points(config.crash_at), clock=clock, observer=observer)
        store = SqliteAttestationStore(str(config.store), crash=crash)
        stack.callback(store.close)
        readers_by_lane = {lane.lane: AgreeingReader(readers) for lane, readers in lanes}
        vault = _vault(config, crash)
        stack.callback(vault.close)
        board = open_board(config.board_lane, stack, clock)
        keys = _keys(config, seat, key=key, board=board, homes=readers_by_lane, vault=vault, observer=observer)
        attestor = Attestor(
            seat,
            key=key,
            sources=[
                SourceLane(
                    name=lane.name,
                    reader=readers_by_lane[lane.lane],
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
        releases = RateLimiter(clock, per_second=config.releases_per_second, burst=config.release_burst)
        observer.collect(attestor.collect)
        observer.collect(keys.collect)
        app = validator_app(attestor, keys, limiter, observer, releases=releases)
        add_orders(app, Orders(seat, attestor, key=key, observer=observer), limiter, may_order=may_order)
        observer.step("process.started", signer=seat.signer, epoch=seat.epoch)
        await serve(app, config.http, _work(attestor, keys))


async def _work(attestor: Attestor, keys: ValidatorKeys) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(attestor.run())
        tasks.create_task(keys.run())


def _vault(config: ValidatorConfig, crash: CrashPoints) -> SqliteKeyVault:
    return SqliteKeyVault(
        str(config.vault.file),
        password=read_password(config.vault.password_file),
        purpose=config.vault.purpose.encode(),
        entropy=SystemEntropy(),
        crash=crash,
        cost=config.vault.cost,
    )


def _keys(
    config: ValidatorConfig,
    seat: Seat,
    *,
    key: SigningKey,
    board: BoardPort,
    homes: Mapping[Lane, ChainReader],
    vault: SqliteKeyVault,
    observer: Observer,
) -> ValidatorKeys:
    clock, entropy = SystemClock(config.clock_ahead_seconds), SystemEntropy()
    session = DkgSession(
        network=seat.network,
        epoch=seat.epoch,
        attempt=0,
        validators=ValidatorSet.from_genesis(config.network.genesis.record()),
    )
    generation = KeyGeneration(
        session,
        index=seat.signer + 1,
        key=key,
        board=board,
        board_lane=config.board_lane.lane,
        vault=vault,
        clock=clock,
        entropy=entropy,
        observer=observer,
        patience_seconds=config.key_patience_seconds,
    )

    def make_release(share: KeyShare) -> KeyRelease:
        return KeyRelease(
            share,
            network=seat.network,
            key=key,
            board=board,
            board_lane=config.board_lane.lane,
            homes=homes,
            vault=vault,
            clock=clock,
            entropy=entropy,
            observer=observer,
        )

    return ValidatorKeys(
        generation, epoch=seat.epoch, vault=vault, make_release=make_release, clock=clock, observer=observer
    )


def main() -> int:
    """Run until a signal; the exit code."""
    return run_daemon(ValidatorConfig, _run)


if __name__ == "__main__":
    sys.exit(main())
