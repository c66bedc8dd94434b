"""`caimi demo`: a devnet of its own in a temporary folder, from nothing to receipts, and nothing left afterwards."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from caimi.apps.demo.answers import infer_all
from caimi.apps.demo.report import DemoReport
from caimi.apps.demo.scenario import DemoModels, Tell, make_models, publish_all, timed
from caimi.apps.devnet.background import start_background
from caimi.apps.devnet.bringup import running_devnet
from caimi.apps.devnet.progress import Progress, Step
from caimi.apps.devnet.status import process_groups
from caimi.devnet.memory import proportional_bytes
from caimi.sdk.accounts import load_account, read_password
from caimi.sdk.client import Client
from caimi.sdk.network import Network, read_network
from caimi.sdk.tracing import Trace

__all__ = ["DemoOutcome", "run_demo"]

_UP_S: Final = 900.0


class DemoOutcome:
    """Report and traces, also of a demonstration that failed half-way."""

    def __init__(self) -> None:
        self.report = DemoReport()
        self.traces: list[Trace] = []


async def run_demo(outcome: DemoOutcome, *, keep: bool, tell: Tell) -> None:
    """Run the demonstration and fill `outcome`.

    Arguments:
        keep: leave processes and files; the state folder is in the report then.
        tell: Told what happens, for people.

    Raises:
        CaimiError: Something failed; processes and files are gone unless `keep`.
    """
    home = Path(tempfile.mkdtemp(prefix="caimi-demo-"))
    outcome.report.home = str(home / "state") if keep else None
    try:
        # Its end waits for the thread, which otherwise would go on writing into a folder that is being removed.
        with timed(outcome.report, "total"), ThreadPoolExecutor(1) as thread:
            await _run(outcome, home, thread, keep=keep, tell=tell)
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


async def _run(outcome: DemoOutcome, home: Path, thread: ThreadPoolExecutor, *, keep: bool, tell: Tell) -> None:
    report = outcome.report
    # Before the ledgers, not beside them: while a thread computes, the connections of this process would not be served.
    models = await asyncio.get_running_loop().run_in_executor(thread, _models, report, home / "models", tell)
    begin = time.monotonic()
    async with _devnet(home, keep=keep, tell=tell) as network, Client(network) as client:
        report.seconds["up"] = time.monotonic() - begin
        await _scenario(outcome, client, models, tell)


async def _scenario(outcome: DemoOutcome, client: Client, models: DemoModels, tell: Tell) -> None:
    report, home = outcome.report, client.network.home
    heights, begin = await _heights(client), time.monotonic()
    account = load_account(home / "accounts" / "publisher.key", read_password(home / "password"))
    with timed(report, "publish"):
        results = await publish_all(client, models, account, report, tell)
    with timed(report, "infer"):
        consumer = load_account(home / "accounts" / "consumer.key", read_password(home / "password"))
        published = {result.name: result for result in results}
        requests = await infer_all(client, models, published, consumer, report, tell)
    outcome.traces += [await client.trace(identifier) for identifier in (*(r.id for r in results), *requests)]
    elapsed = time.monotonic() - begin
    for lane, height in (await _heights(client)).items():
        if height > heights[lane]:
            report.block_interval_s[lane] = elapsed / (height - heights[lane])
    report.pss_bytes = proportional_bytes(process_groups(home))
    report.is_complete = True


def _models(report: DemoReport, folder: Path, tell: Tell) -> DemoModels:
    with timed(report, "models"):
        models = make_models(folder)
    size = models.resnet_path.stat().st_size / 1e6
    tell("models", f"digits trained; ResNet-50 with GENERATED weights, {size:.0f} MB")
    return models


@asynccontextmanager
async def _devnet(home: Path, *, keep: bool, tell: Tell) -> AsyncGenerator[Network]:
    def told(step: Step) -> None:
        tell("up", f"{step.name}: {step.detail} ({step.seconds:.1f} s)")

    if keep:
        # It has to outlive this process.
        await start_background(home / "state", tell=told, timeout_s=_UP_S)
        yield read_network(home / "state")
        return
    async with running_devnet(home / "state", Progress(tell=told)) as (network, _):
        yield network


async def _heights(client: Client) -> dict[str, int]:
    return {lane: (await client.head(lane)).height for lane in client.network.lanes}
