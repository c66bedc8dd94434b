"""What an operator sees of a real network: every number, one trace id in all logs, and whom a stuck workflow awaits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caimi.apps.demo.digits import train_digits
from caimi.apps.devnet.running import is_running
from caimi.ports.metrics import (
    BUILD,
    CALL_FAILURES,
    CHECKPOINTS_REFUSED,
    CHECKPOINTS_SIGNED,
    CONTENT_BYTES,
    CONTENT_REQUESTS,
    DIRECT_CALLS,
    DIRECT_SECONDS,
    HOST_BATCH,
    HOST_FAILURES,
    INFERENCE_SECONDS,
    LANE_FINAL_HEIGHT,
    LANE_HEIGHT,
    LANE_SEQUENCE,
    LEASE_LOOKUPS,
    LEASES,
    LOAD_SECONDS,
    METRICS,
    READY,
    REFUSED_SERIES,
    RELEASES,
    RUN_EVENTS,
    SENDER_BALANCE,
    SIGNATURE_SECONDS,
    STARTED,
    STEPS,
    TRANSACTION_SECONDS,
    TRANSACTIONS,
    TURNS_FAILED,
    VALIDATOR_ANSWERS,
    Counter,
    Histogram,
    Metric,
)
from caimi.ports.tracing import trace_of
from caimi.sdk.json_fields import hex_text
from caimi.sdk.network import read_network
from caimi.types.primitives import Bytes32, PublicationId
from caimi.wire.functions import encode_call
from tests.unit.apps.exposition import Family, read_exposition

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]

_CAIMI = [sys.executable, "-m", "caimi.cli"]
_ROOT = Path(__file__).parents[2]
# Shown by a test of its own: it needs hundreds of label values.
_NOT_HERE: set[Metric] = {REFUSED_SERIES}
_MOVED_BY_WORK: set[Metric] = {
    *(
        CHECKPOINTS_SIGNED,
        CONTENT_BYTES,
        CONTENT_REQUESTS,
        DIRECT_SECONDS,
        HOST_BATCH,
        INFERENCE_SECONDS,
        LANE_FINAL_HEIGHT,
    ),
    *(LANE_HEIGHT, LANE_SEQUENCE, LEASE_LOOKUPS, LEASES, LOAD_SECONDS, RELEASES, RUN_EVENTS, SENDER_BALANCE),
    *(SIGNATURE_SECONDS, STEPS, TRANSACTION_SECONDS, TRANSACTIONS, VALIDATOR_ANSWERS),
}
_MOVED_BY_FAULTS: set[Metric] = {CALL_FAILURES, CHECKPOINTS_REFUSED, DIRECT_CALLS, HOST_FAILURES, TURNS_FAILED}


def _caimi(home: Path, *words: str, code: int = 0) -> Any:
    environment = {**os.environ, "CAIMI_HOME": str(home)}
    done = subprocess.run([*_CAIMI, *words, "--json"], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state") / "home"
    try:
        assert _caimi(folder, "up")["healthy"]
        yield folder
    finally:
        if is_running(folder):
            _caimi(folder, "down")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    path.write_bytes(train_digits(seed=1).onnx)
    return path


# --- scraping


def _scrape(home: Path) -> dict[str, dict[str, Family]]:
    """By process: what each target of the file for Prometheus shows, read by the grammar of the format."""
    targets = json.loads((home / "prometheus-targets.json").read_text())
    found: dict[str, dict[str, Family]] = {}
    for target in targets:
        (address,) = target["targets"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            found[target["labels"]["process"]] = read_exposition(answer.read().decode())
    return found


def _samples(scraped: dict[str, dict[str, Family]], metric: Metric) -> dict[Any, float]:
    families = {process: families.get(metric.full_name) for process, families in scraped.items()}
    return {(p, key): value for p, family in families.items() if family for key, value in family.samples.items()}


def _missing(scraped: dict[str, dict[str, Family]]) -> set[str]:
    return {metric.full_name for metric in METRICS if not _samples(scraped, metric)}


def _unmoved(before: dict[str, dict[str, Family]], after: dict[str, dict[str, Family]], among: set[Metric]) -> set[str]:
    return {metric.full_name for metric in among if _samples(before, metric) == _samples(after, metric)}


def _until_moved(
    home: Path, before: dict[str, dict[str, Family]], among: set[Metric], *, within_s: float = 180.0
) -> dict[str, dict[str, Family]]:
    until = time.monotonic() + within_s
    while unmoved := _unmoved(before, now := _scrape(home), among):
        assert time.monotonic() < until, unmoved
        time.sleep(0.3)
    return now


def _wait(condition: Any, *, within_s: float = 120.0) -> Any:
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.3)
    return found


# --- one trace


def _lines(home: Path, needle: str) -> dict[str, list[dict[str, Any]]]:
    """By process: the lines of its log that hold a text, as an operator greps for it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for log in sorted((home / "logs").glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if needle in line:
                shown = json.loads(line)
                found.setdefault(shown["process"], []).append(shown)
    return found


def test_one_trace_id_finds_a_publication_in_all_processes(home: Path, model: Path) -> None:
    published = _caimi(home, "publish", str(model), "--name", "digits", "--home", "fabric", "--mirror", "ethereum")
    trace = published["trace"]["trace_id"]
    assert trace == trace_of(Bytes32(bytes.fromhex(published["id"][2:])))
    assert _caimi(home, "trace", published["id"])["trace_id"] == trace
    by_process = _lines(home, f'"trace": "{trace}"')
    signers = {name for name in by_process if name.startswith("validator-")}
    assert set(by_process) == {"relay", *signers} and len(signers) >= 3
    assert all(line["id"] == published["id"] for lines in by_process.values() for line in lines)
    told = [(line["step"], line.get("lane") or line.get("source")) for line in by_process["relay"]]
    way = [
        ("relay.accepted", None),
        ("relay.prepared", "fabric"),
        ("relay.prepared", "ethereum"),
        ("relay.followed", "fabric"),
        ("relay.followed", "ethereum"),
        ("relay.carried", "ethereum"),
        ("relay.carried", "fabric"),
        ("relay.transaction", "fabric"),
        ("relay.transaction", "ethereum"),
    ]
    assert [step for step in way if step not in told] == []
    assert told.index(("relay.carried", "ethereum")) < told.index(("relay.carried", "fabric"))
    for name in signers:
        assert {line["step"] for line in by_process[name]} == {"validator.signed"}


def test_one_trace_id_leads_from_the_question_to_the_receipt(home: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", image=np.zeros((1, 64), dtype=np.float32))
    files = ["--output", str(tmp_path / "out.npz"), "--receipt", str(tmp_path / "r.json")]
    answered = _caimi(home, "infer", "digits", "--input", str(tmp_path / "in.npz"), "--on", "ethereum", *files)
    assert answered["verified"] and answered["trace_id"] == trace_of(Bytes32(bytes.fromhex(answered["request"][2:])))
    by_process = _lines(home, f'"trace": "{answered["trace_id"]}"')
    steps = {name: [line["step"] for line in lines] for name, lines in by_process.items()}
    assert {"host.lease", "host.combined", "host.loaded", "host.answered"} <= set(steps["host"])
    accepted = [line["purpose"] for line in by_process["relay"] if line["step"] == "relay.accepted"]
    assert accepted == ["request", "answer"]
    assert len([name for name, told in steps.items() if "keys.released" in told]) >= 2
    receipt = json.loads((tmp_path / "r.json").read_text())
    assert answered["request"] in json.dumps(receipt)


# --- numbers


def test_every_metric_of_the_documents_exists_and_moves(home: Path, model: Path, tmp_path: Path) -> None:
    documented = {f"`{metric.full_name}`" for metric in METRICS}
    page = (_ROOT / "docs" / "operations" / "metrics.md").read_text()
    assert {row.split("|")[1].strip() for row in page.splitlines() if row.startswith("| `")} == documented
    before = _scrape(home)
    processes = {"content", "host", "relay", "supervisor", *(f"validator-{i}" for i in range(1, 5))}
    assert set(before) == processes
    _caimi(home, "publish", str(model), "--name", "moves", "--home", "ethereum", "--mirror", "fabric")
    np.savez(tmp_path / "in.npz", image=np.zeros((1, 64), dtype=np.float32))
    files = ["--output", str(tmp_path / "out.npz"), "--receipt", str(tmp_path / "r.json")]
    _caimi(home, "infer", "moves", "--input", str(tmp_path / "in.npz"), "--on", "fabric", *files)
    _caimi(home, "infer", "moves", "--input", str(tmp_path / "in.npz"), "--direct", *files)
    after = _until_moved(home, before, _MOVED_BY_WORK)
    _provoke(home, tmp_path)
    with _stopped(home, "ethereum"):
        # A ledger that says nothing.
        _until_moved(home, after, {TURNS_FAILED})
    last = _until_moved(home, after, _MOVED_BY_FAULTS)
    assert _missing(last) == {metric.full_name for metric in _NOT_HERE}
    _judge_numbers(last)


def _provoke(home: Path, folder: Path) -> None:
    # An input that the model does not take, a call that is none, a range that nobody has.
    np.savez(folder / "bad.npz", image=np.zeros((1, 63), dtype=np.float32))
    words = [
        "--input",
        str(folder / "bad.npz"),
        "--output",
        str(folder / "no.npz"),
        "--receipt",
        str(folder / "n.json"),
    ]
    assert _caimi(home, "infer", "moves", *words, code=2)["problem"]["error"] == "InputRefused"
    network = read_network(home)
    assert _status(f"{network.host_url}/v1/models/0x{'00' * 32}/infer", b"nonsense") == 400
    lane = network.lanes["fabric"].lane
    query = f"source_chain=0x{lane.chain.hex()}&source_registry=0x{lane.registry.hex()}&generation=1&first=999&last=999"
    for validator in network.validators:
        assert _status(f"{validator.url}/v1/checkpoints?{query}", None) == 425
    # A registry that knows no such publication.
    call = encode_call("abort", PublicationId(Bytes32(os.urandom(32))))
    body = {"chain": hex_text(lane.chain), "registry": hex_text(lane.registry), "call": hex_text(call)}
    assert (
        _status(f"{network.relay_url}/v1/calls", json.dumps(body).encode(), token=(home / "token").read_text()) == 202
    )


def _status(url: str, body: bytes | None, *, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token.strip()}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def _judge_numbers(scraped: dict[str, dict[str, Family]]) -> None:
    for metric in METRICS:
        for (process, (name, labels)), value in _samples(scraped, metric).items():
            assert value == value and abs(value) != float("inf"), (process, name)
            assert {key for key, _ in labels} - {"le"} == set(metric.labels), (process, name)
            if isinstance(metric, Counter | Histogram):
                assert value >= 0
    assert set(_samples(scraped, BUILD).values()) == {1.0}
    assert all(abs(value - time.time()) < 86_400 for value in _samples(scraped, STARTED).values())
    assert {process for (process, _), value in _samples(scraped, READY).items() if value == 1.0} >= {"relay", "host"}
    # Whoever pays on Ethereum has something to pay with; on Fabric nobody pays.
    ((_, balance),) = _samples(scraped, SENDER_BALANCE).items()
    assert balance > 10**18
    signers = {dict(labels)["validator"] for _, (_, labels) in _samples(scraped, SIGNATURE_SECONDS)}
    assert signers == {"1", "2", "3", "4"}


# --- what is stuck


@contextmanager
def _stopped(home: Path, *names: str) -> Generator[None]:
    processes = json.loads((home / "supervisor.json").read_text())["processes"]
    pids = [processes[name]["pid"] for name in names]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_stuck_publication_names_the_validators_that_it_waits_for_and_is_followed_to_its_end(
    home: Path, model: Path
) -> None:
    words = ["publish", str(model), "--name", "stuck", "--home", "fabric", "--mirror", "ethereum", "--no-wait"]
    with _stopped(home, "validator-2", "validator-4"):
        identifier = _caimi(home, *words)["id"]

        def waits() -> Any:
            found = _caimi(home, "trace", identifier)
            return found if found["waits_on"] == ["validator 2", "validator 4"] else None

        trace = _wait(waits)
        assert "no answer of validators 2, 4" in trace["waits_for"]
        assert trace["deadline_left"] > 0 and trace["outcome"] is None
    environment = {**os.environ, "CAIMI_HOME": str(home)}
    words = [*_CAIMI, "trace", identifier, "--follow", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [event["event"] for event in (events[0], events[-1])] == ["begin", "end"]
    assert events[0]["trace_id"] == identifier[2:34]
    assert (events[-1]["ok"], events[-1]["outcome"]) == (True, "COMMITTED")
    told = {(event["lane"], event["what"]) for event in events if event["event"] == "step"}
    assert {("fabric", "event LOCKED"), ("ethereum", "event LOCKED"), ("fabric", "event OUTCOME")} <= told
