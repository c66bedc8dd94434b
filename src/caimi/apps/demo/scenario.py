"""What the demonstration does on a devnet: two publications that commit, one that must abort."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from caimi.apps.demo.digits import Digits, train_digits
from caimi.apps.demo.report import DemoReport, PublicationResult
from caimi.apps.demo.resnet import make_resnet50
from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.publication import State
from caimi.sdk.client import Client, Published
from caimi.sdk.tracing import UNKNOWN, Trace
from caimi.types.primitives import Bytes32
from caimi.types.records import Lane
from caimi.wire.keccak import keccak256

__all__ = ["DemoModels", "Tell", "make_models", "publish_all", "timed"]

Tell = Callable[[str, str], None]
"""Told phase and text, for people."""

SEED: Final = 20_26
DEPOSIT: Final = 1_000
_RESNET_IMAGES: Final = 2
_COMMIT_S: Final = 600
_ABORT_DEADLINE_S: Final = 20
_NOWHERE: Final = Lane(chain=keccak256(b"caimi demo: no such chain"), registry=Bytes32(bytes(31) + b"\x01"))
"""A registry that does not exist: nobody ever locks there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModels:
    """Both models and where their files are."""

    digits: Digits
    digits_path: Path
    resnet_path: Path
    resnet_images: NDArray[np.float32]
    """A few generated images, shape (n, 3, 224, 224)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    name: str
    path: Path
    home: str
    mirrors: tuple[str | Lane, ...]
    outcome: State
    deadline_s: int


@contextmanager
def timed(report: DemoReport, phase: str) -> Generator[None]:
    """Add the seconds of a phase to the report."""
    begin = time.monotonic()
    yield
    report.seconds[phase] = report.seconds.get(phase, 0.0) + time.monotonic() - begin


def make_models(folder: Path) -> DemoModels:
    """Train the digits classifier, make the ResNet-50 with generated weights, and write both as ONNX files."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = train_digits(seed=SEED)
    digits_path, resnet_path = folder / "digits.onnx", folder / "resnet50.onnx"
    digits_path.write_bytes(digits.onnx)
    resnet_path.write_bytes(make_resnet50(seed=SEED))
    images = np.random.default_rng(SEED).standard_normal((_RESNET_IMAGES, 3, 224, 224), dtype=np.float32)
    return DemoModels(digits=digits, digits_path=digits_path, resnet_path=resnet_path, resnet_images=images)


async def publish_all(
    client: Client, models: DemoModels, account: SigningKey, report: DemoReport, tell: Tell
) -> tuple[PublicationResult, ...]:
    """Publish the three, side by side, and compare every state and deposit with what has to come out."""
    plans = (
        _Plan(
            name="digits",
            path=models.digits_path,
            home="fabric",
            mirrors=("ethereum",),
            outcome=State.COMMITTED,
            deadline_s=_COMMIT_S,
        ),
        _Plan(
            name="resnet50-generated",
            path=models.resnet_path,
            home="ethereum",
            mirrors=("fabric",),
            outcome=State.COMMITTED,
            deadline_s=_COMMIT_S,
        ),
        _Plan(
            name="digits-nowhere",
            path=models.digits_path,
            home="ethereum",
            mirrors=(_NOWHERE,),
            outcome=State.ABORTED,
            deadline_s=_ABORT_DEADLINE_S,
        ),
    )
    before = await _balances(client, account)
    results = await asyncio.gather(*(_publish(client, plan, account, tell) for plan in plans))
    after = await _balances(client, account)
    held: dict[str, int] = dict.fromkeys(before, 0)
    for plan, result in zip(plans, results, strict=True):
        report.publications.append(result)
        if plan.outcome is State.COMMITTED:
            held[plan.home] += DEPOSIT
    report.balances_match = all(before[lane] - held[lane] == after[lane] for lane in before)
    tell("publish", f"balances of the publisher: before {_shown(before)}, after {_shown(after)}")
    return tuple(results)


async def _publish(client: Client, plan: _Plan, account: SigningKey, tell: Tell) -> PublicationResult:
    published = await client.publish(
        plan.path,
        account=account,
        name=plan.name,
        version=1,
        home=plan.home,
        mirrors=plan.mirrors,
        deposit=DEPOSIT,
        deadline_s=plan.deadline_s,
    )
    begin = time.monotonic()
    tell("publish", f"{plan.name}: 0x{published.id.hex()} handed to the relay")

    def progress(trace: Trace) -> None:
        nonlocal shown
        if trace.states != shown:
            shown = trace.states
            tell("publish", f"{plan.name}: {_shown(trace.states)}")

    shown: Mapping[str, str] = {}
    trace = await client.wait_settled(published.id, timeout_s=_COMMIT_S, progress=progress)
    seconds = time.monotonic() - begin
    expected = _expected(plan, published, client)
    view = await client.publication(published.id, plan.home)
    due = DEPOSIT if plan.outcome is State.COMMITTED else 0
    return PublicationResult(
        id=published.id,
        name=plan.name,
        home=plan.home,
        mirrors=trace.mirrors,
        states=await client.states(published.id, (plan.home, *trace.mirrors)),
        expected=expected,
        deposit_is_right=view is not None and view.deposit == due,
        seconds=seconds,
    )


def _expected(plan: _Plan, published: Published, client: Client) -> dict[str, str]:
    states = {plan.home: plan.outcome.name}
    for mirror in published.signed.publication.mirrors:
        name = client.network.lane_name(mirror)
        states[name] = plan.outcome.name if name in client.network.lanes else UNKNOWN
    return states


async def _balances(client: Client, account: SigningKey) -> dict[str, int]:
    return {name: await client.balance(name, account.address) for name in client.network.lanes}


def _shown(values: Mapping[str, object]) -> str:
    return ", ".join(f"{_short(name)} {value}" for name, value in values.items())


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:10] + "…"
