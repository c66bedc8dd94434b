"""Inference on the real devnet: what relay and validators never hold, and what their death does not change."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from caimi.bundle.cid import format_cid
from caimi.ports.attestation_store import ValidatorStep
from caimi.ports.host_store import HostStep
from caimi.ports.key_vault import KeyStep
from caimi.ports.relay_store import RelayStep
from caimi.protocol.audit import audit
from caimi.types.primitives import Bytes32
from caimi.types.records import Kind
from caimi.wire.functions import decode_body
from tests.crash.devnet_fixture import Devnet, until
from tests.crash.holding_store import HoldingStore
from tests.crash.memory_scan import pieces_of, scan_process
from tests.crash.models import PublishedModel, infer, publish_model
from tests.crash.publications import histories, own_fabric

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]

INFERENCES = 20
_WATCHED = ("relay", "validator-1", "validator-2", "validator-3", "validator-4")
Step = RelayStep | ValidatorStep | KeyStep

_STEPS: tuple[Step, ...] = (
    RelayStep.ACCEPTED,
    RelayStep.PREPARED,
    RelayStep.SENT,
    RelayStep.INCLUDED,
    RelayStep.DONE,
    RelayStep.FOLLOWED,
    RelayStep.PASSED,
    ValidatorStep.INDEXED,
    KeyStep.RELEASE_RECORDED,
    RelayStep.CARRIED,
    ValidatorStep.ATTESTED,
)
# Asked at the mirror, whose answer is certified and carried home; only there a transaction waits to be final.
_AT_MIRROR = (RelayStep.INCLUDED, RelayStep.CARRIED, ValidatorStep.ATTESTED)
_QUICK = (RelayStep.PREPARED, RelayStep.SENT, KeyStep.RELEASE_RECORDED)
_NO_OWN_PART = "of publications: test_publication_steps.py"
NO_INFERENCE: dict[Step | HostStep, str] = {
    RelayStep.REPRICED: "the devnet's Ethereum takes every price; tests/unit/relay/test_crash_points.py",
    RelayStep.FILLED: "the ledger has to forget a final transaction; tests/unit/relay/test_crash_points.py",
    RelayStep.ABANDONED: "a step of batches; tests/unit/relay/test_crash_points.py",
    RelayStep.TAKE_OUTS_QUEUED: "a step of batches; tests/unit/relay/test_crash_points.py",
    **dict.fromkeys(
        (
            RelayStep.REWOUND,
            RelayStep.RECERTIFIED,
            RelayStep.SPLIT,
            RelayStep.WATCHED,
            RelayStep.ABORT_QUEUED,
            RelayStep.RETRIED,
            RelayStep.POSTPONED,
            RelayStep.REFUSED,
            RelayStep.ELSEWHERE,
            ValidatorStep.REWOUND,
            ValidatorStep.HALTED,
        ),
        _NO_OWN_PART,
    ),
    **dict.fromkeys(
        (KeyStep.VAULT_MADE, KeyStep.GENERATION_STATE, KeyStep.SHARE_STORED),
        "of key generation: tests/unit/validator/test_keygen.py",
    ),
    **dict.fromkeys(HostStep, "a host's keys end with its process: tests/unit/host"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For model files."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(devnet: Devnet, folder: Path) -> PublishedModel:
    """A model that several tests ask."""
    return devnet.run(publish_model(devnet, folder))


# --- secrecy


@dataclass(slots=True)
class _Watch:
    """Scans processes again and again until it is told to stop, and then once more for what stayed behind."""

    pids: Sequence[int]
    needles: tuple[bytes, ...] = field(repr=False)
    found: dict[int, set[bytes]] = field(default_factory=dict[int, set[bytes]])
    rounds: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        last = False
        while not last:
            last = self.over.is_set()
            for pid in self.pids:
                self.found.setdefault(pid, set()).update(scan_process(pid, self.needles).found)
            self.rounds += 1


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    direct = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    return [found for child in direct for found in (child, *_children(child))]


@pytest.fixture
def store(devnet: Devnet) -> Iterator[HoldingStore]:
    """Between the host and its content store."""
    with HoldingStore(devnet.network.content_url) as holding:
        _host_reads(devnet, holding.url)
        yield holding
        holding.release()
        _host_reads(devnet, devnet.network.content_url)


def _host_reads(devnet: Devnet, url: str) -> None:
    devnet.configure("host", lambda config: config.update(content=url))
    devnet.run(devnet.restart("host"))


def test_relay_and_validators_never_hold_model_or_key_and_the_host_does(
    devnet: Devnet, folder: Path, store: HoldingStore
) -> None:
    async def scenario() -> None:
        model = await publish_model(devnet, folder)
        pieces = pieces_of(model.plaintext)
        pids = {name: int(devnet.process(name)["pid"]) for name in _WATCHED}
        watch = _Watch(list(pids.values()), (*pieces, model.key))
        watching = asyncio.create_task(asyncio.to_thread(watch.run))
        try:
            await _control(devnet, model, store)
            for number in range(1, INFERENCES):
                await infer(devnet, model, ("fabric", "ethereum")[number % 2])
        finally:
            watch.over.set()
            await watching
        assert {name: int(devnet.process(name)["pid"]) for name in _WATCHED} == pids
        assert watch.rounds >= 2
        assert set(watch.found) == set(pids.values())
        assert not any(watch.found.values())

    devnet.run(scenario())


async def _control(devnet: Devnet, model: PublishedModel, store: HoldingStore) -> None:
    # The first inference, and a look at the host while it has the key and waits for the ciphertext, then at the model.
    host, pieces = int(devnet.process("host")["pid"]), pieces_of(model.plaintext)
    store.held = format_cid(model.ciphertext)
    asking = asyncio.create_task(infer(devnet, model, "fabric"))
    await until(store.asked.is_set, what="the host reads the ciphertext")
    holding = await asyncio.to_thread(scan_process, host, (model.key, *pieces[-4:]))
    assert holding.found == {model.key}
    store.release()
    await asking
    runners = [await asyncio.to_thread(scan_process, pid, pieces[-4:]) for pid in _children(host)]
    assert any(runner.found for runner in runners)


# --- killed at each step


def test_every_persisted_step_has_a_case_or_a_reason() -> None:
    steps = {*RelayStep, *ValidatorStep, *KeyStep, *HostStep}
    assert set(_STEPS) | set(NO_INFERENCE) == steps
    assert not set(_STEPS) & set(NO_INFERENCE)


@pytest.mark.parametrize(
    "step", [pytest.param(s, marks=() if s in _QUICK else (pytest.mark.slow,)) for s in _STEPS], ids=lambda s: s.value
)
def test_killed_there_a_request_is_answered_once(
    devnet: Devnet, model: PublishedModel, folder: Path, step: Step
) -> None:
    process = "relay" if isinstance(step, RelayStep) else "validator-3"
    lane = "ethereum" if step in _AT_MIRROR else ("fabric", "ethereum")[_STEPS.index(step) % 2]

    async def scenario() -> None:
        # A lease is opened, and key parts are released, for a model that the host has not loaded yet.
        asked = await publish_model(devnet, folder) if step is KeyStep.RELEASE_RECORDED else model
        await _until_home_knows(devnet, await infer(devnet, model, lane))
        record = await devnet.arm(process, step.value)
        request = await infer(devnet, asked, lane)
        await until(record.exists, what=f"{step.value} was reached")
        await _until_home_knows(devnet, request)
        await _judge(devnet, request)

    devnet.run(scenario())


async def _until_home_knows(devnet: Devnet, request: Bytes32) -> None:
    async with own_fabric(devnet) as (_, home):

        async def is_there() -> bool:
            return await home.receipt_of(request) is not None

        await until(is_there, what="the receipt at home")


async def _judge(devnet: Devnet, request: Bytes32) -> None:
    told = await histories(devnet)
    assert audit(told) == ()
    for kind in (Kind.REQUESTED, Kind.ANSWERED):
        bodies = [i.event.body for h in told for i in h.items if i.event.kind == kind]
        counted = Counter(decode_body(kind, body)[0] for body in bodies)
        assert counted[request] == 1
        assert set(counted.values()) == {1}
