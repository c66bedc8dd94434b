"""The devnet as a user has it: brought up in the background, killed, brought up again, published on, taken down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caimi.apps.demo.digits import train_digits
from caimi.apps.devnet.running import is_running, lock_is_free
from caimi.apps.devnet.status import process_groups
from caimi.devnet import guard
from caimi.protocol.publication import State
from caimi.sdk.accounts import find_account
from caimi.sdk.client import Client
from caimi.sdk.errors import InputRefused
from caimi.sdk.network import read_network
from caimi.sdk.sync_client import SyncClient

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]

_CAIMI = [sys.executable, "-m", "caimi.cli"]


def _caimi(home: Path, *words: str, code: int = 0) -> Any:
    """Run a command with --json and return its object."""
    environment = {**os.environ, "CAIMI_HOME": str(home)}
    done = subprocess.run([*_CAIMI, *words, "--json"], capture_output=True, text=True, env=environment, timeout=800)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state") / "home"
    try:
        yield folder
    finally:
        if is_running(folder):
            _caimi(folder, "down")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    path.write_bytes(train_digits(seed=1).onnx)
    return path


def _wait(condition: Any, *, within_s: float = 300.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def _kill_supervisor(home: Path) -> None:
    pid = json.loads((home / "supervisor.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    # The guard stops what the supervisor had started.
    _wait(lambda: lock_is_free(home / "supervisor.lock") and lock_is_free(home / "children.lock"))


def _groups_alive(groups: tuple[int, ...]) -> list[int]:
    alive: list[int] = []
    for group in groups:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            continue
        # Those that are dead and not reaped yet hold nothing.
        if not guard._is_dead(group):
            alive.append(group)
    return alive


@pytest.mark.parametrize("reached", ["plan", "ledgers", "ethereum", "services"])
def test_a_bring_up_that_was_killed_goes_on(home: Path, reached: str) -> None:
    environment = {**os.environ, "CAIMI_HOME": str(home)}
    up = subprocess.Popen([*_CAIMI, "up"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
    progress = home / "up.jsonl"
    _wait(lambda: progress.is_file() and f'"step": "{reached}"' in progress.read_text())
    _kill_supervisor(home)
    assert up.wait(timeout=60) == 4  # safe to repeat


def test_the_devnet_comes_up_and_is_well(home: Path) -> None:
    status = _caimi(home, "up")
    assert status["healthy"], status["problems"]
    assert status["attestation"] == "UNATTESTED"
    assert any("one Ethereum node" in note for note in status["notes"])
    names = {process["name"] for process in status["processes"]}
    assert {"ethereum", "content", "relay", "host", *(f"validator-{i}" for i in range(1, 5))} <= names
    assert len([name for name in names if name.startswith("fabric-")]) == 8
    assert all(process["pid"] for process in status["processes"])
    for lane in status["lanes"].values():
        assert {v["condition"] for v in lane["validators"].values()} == {"following"}


def test_up_again_changes_nothing(home: Path) -> None:
    before = _caimi(home, "status")
    after = _caimi(home, "up")
    assert [p["pid"] for p in before["processes"]] == [p["pid"] for p in after["processes"]]


def test_the_ledger_alone_proves_how_the_key_was_made(home: Path) -> None:
    audit, status = _caimi(home, "keys", "audit"), _caimi(home, "keys", "status")
    (attempt,) = audit["attempts"]
    assert (attempt["outcome"], attempt["qualified"], attempt["faults"]) == ("done", [1, 2, 3, 4], [])
    key = read_network(home).group_key
    assert key is not None
    assert attempt["group_key"] == "0x" + key.hex()
    assert {held["group_key"] for held in status["validators"]} == {attempt["group_key"]}


def test_everything_listens_on_the_loopback_only(home: Path) -> None:
    network = read_network(home)
    urls = [network.relay_url, network.content_url, *(v.url for v in network.validators)]
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


def test_a_publication_is_committed_on_both_ledgers(home: Path, model: Path) -> None:
    words = ["publish", str(model), "--name", "digits", "--home", "fabric", "--mirror", "ethereum"]
    published = _caimi(home, *words)
    assert published["trace"]["states"] == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
    models = _caimi(home, "models")["models"]
    assert [(m["name"], m["version"], m["states"]) for m in models] == [
        ("digits", 1, {"fabric": "COMMITTED", "ethereum": "COMMITTED"})
    ]
    assert not list((home / "drafts").glob("*.draft"))


@pytest.mark.parametrize(("at", "mirror"), [("fabric", "ethereum"), ("ethereum", "fabric")])
def test_a_batch_is_committed_by_one_decision_and_one_of_it_is_used(
    home: Path, model: Path, tmp_path: Path, at: str, mirror: str
) -> None:
    names = [f"{name}-{at}" for name in ("red", "green", "blue")]
    before = _balance(home)
    words = ["publish-batch", *(f"{name}={model}" for name in names), "--home", at, "--mirror", mirror]
    published = _caimi(home, *words)
    everywhere = {at: "COMMITTED", mirror: "COMMITTED"}
    assert (published["trace"]["kind"], published["trace"]["states"]) == ("batch", everywhere)
    ids = [one["id"] for one in published["publications"]]
    told = [step["what"] for step in published["trace"]["steps"] if step["what"].startswith("event")]
    assert sorted(told) == ["event BATCH_ANSWERED", "event BATCH_LOCKED", "event BATCH_OUTCOME"]
    listed = {m["name"]: m for m in _caimi(home, "models")["models"] if m["name"] in names}
    assert [listed[name]["id"] for name in names] == ids
    assert all(m["states"] == everywhere for m in listed.values())
    if at == "fabric":
        assert _balance(home) < before
    np.savez(tmp_path / "in.npz", image=train_digits(seed=1).images[:2])
    files = ["--output", str(tmp_path / "out.npz"), "--receipt", str(tmp_path / "r.json")]
    answered = _caimi(home, "infer", names[1], "--input", str(tmp_path / "in.npz"), "--on", mirror, *files)
    assert answered["verified"]
    taken = _caimi(home, "trace", ids[1])
    assert taken["states"] == everywhere
    assert not list((home / "drafts").glob("*.draft"))


def test_the_same_name_and_version_again_is_refused_by_home(home: Path, model: Path) -> None:
    words = ["publish", str(model), "--name", "digits", "--home", "fabric", "--mirror", "ethereum"]
    refused = _caimi(home, *words, code=2)
    assert refused["problem"]["error"] == "NameTaken"
    assert not list((home / "drafts").glob("*.draft"))


def test_a_higher_version_supersedes_and_the_deposit_comes_back(home: Path, model: Path) -> None:
    before = _balance(home)
    words = ["publish", str(model), "--name", "digits", "--version", "2", "--home", "fabric", "--mirror", "ethereum"]
    _caimi(home, *words)
    states = {m["version"]: m["states"]["fabric"] for m in _caimi(home, "models")["models"] if m["name"] == "digits"}
    assert (states[1], states[2]) == ("SUPERSEDED", "COMMITTED")
    assert _balance(home) == before


def test_an_interrupted_publication_goes_on_with_the_same_bytes(home: Path, model: Path) -> None:
    words = ["publish", str(model), "--name", "cut", "--home", "ethereum", "--mirror", "fabric"]
    first = _caimi(home, *words, "--no-wait")
    (draft,) = (home / "drafts").glob("*.draft")
    again = _caimi(home, *words)
    assert again["id"] == first["id"]
    assert again["trace"]["states"] == {"ethereum": "COMMITTED", "fabric": "COMMITTED"}
    assert not draft.exists()


@pytest.mark.parametrize("lane", ["fabric", "ethereum"])
def test_an_answer_on_each_ledger_with_a_receipt_that_holds(home: Path, tmp_path: Path, lane: str) -> None:
    digits = train_digits(seed=1)
    np.savez(tmp_path / "in.npz", image=digits.images[:8])
    files = ["--output", str(tmp_path / "out.npz"), "--receipt", str(tmp_path / "r.json")]
    answered = _caimi(home, "infer", "digits@2", "--input", str(tmp_path / "in.npz"), "--on", lane, *files)
    assert answered["verified"]
    assert answered["attestation"] == "UNATTESTED"
    labels = np.load(tmp_path / "out.npz")["logits"].argmax(axis=-1)
    assert (labels == digits.labels[:8]).mean() > 0.8
    tensors = ["--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    verified = _caimi(home, "verify", str(tmp_path / "r.json"), *tensors)
    verdicts = {finding["link"]: finding["verdict"] for finding in verified["findings"]}
    assert verdicts["registry"] == "valid"
    assert verdicts["output tensors"] == "valid"
    trace = _caimi(home, "trace", answered["request"])
    assert trace["states"] == {lane: "ANSWERED"}


def test_the_host_itself_answers_with_a_receipt_that_holds(home: Path, tmp_path: Path) -> None:
    digits, before = train_digits(seed=1), _requests(home)
    np.savez(tmp_path / "in.npz", image=digits.images[:8])
    files = ["--output", str(tmp_path / "out.npz"), "--receipt", str(tmp_path / "r.json")]
    answered = _caimi(home, "infer", "digits@2", "--direct", "--input", str(tmp_path / "in.npz"), *files)
    assert (answered["verified"], answered["attestation"]) == (True, "UNATTESTED")
    labels = np.load(tmp_path / "out.npz")["logits"].argmax(axis=-1)
    assert (labels == digits.labels[:8]).mean() > 0.8
    tensors = ["--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    verified = _caimi(home, "verify", str(tmp_path / "r.json"), *tensors)
    verdicts = {finding["link"]: finding["verdict"] for finding in verified["findings"]}
    assert {verdicts[link] for link in ("lease", "consumer → request", "output tensors")} == {"valid"}
    # Another output than the host's, and a receipt that says more than the host signed.
    np.savez(tmp_path / "out.npz", logits=np.zeros((8, 10), dtype=np.float32))
    assert not _caimi(home, "verify", str(tmp_path / "r.json"), *tensors, code=2)["verified"]
    assert _requests(home) == before


def test_many_inputs_at_the_host_itself_are_answered_apart(home: Path, tmp_path: Path) -> None:
    digits = train_digits(seed=1)
    for place in range(12):
        np.savez(tmp_path / f"in{place}.npz", image=digits.images[place : place + 1])
    np.savez(tmp_path / "odd.npz", image=np.zeros((1, 63), dtype=np.float32))
    names = [*(f"in{place}" for place in range(12)), "odd"]
    inputs = [word for name in names for word in ("--input", str(tmp_path / f"{name}.npz"))]
    words = ["infer", "digits@2", "--direct", "--each", *inputs, "--output", str(tmp_path / "answers")]
    told = _caimi(home, *words, code=2)
    assert (told["answered"], told["answers"][-1]["error"], told["answers"][-1]["retry"]) == (
        12,
        "InputRefused",
        "never",
    )
    labels = [np.load(tmp_path / "answers" / f"in{place}.npz")["logits"].argmax() for place in range(12)]
    assert (np.array(labels) == digits.labels[:12]).mean() > 0.8
    receipts = sorted((tmp_path / "answers").glob("*.receipt.json"))
    assert len(receipts) == 12
    assert _caimi(home, "verify", str(receipts[0]))["verified"]


def test_the_twin_without_async_asks_the_host_itself(home: Path) -> None:
    with SyncClient.open(home) as client:
        model, account = client.find_model("digits@2"), find_account(home, "consumer")
        image = np.zeros((2, 64), dtype=np.float32)
        answered = client.infer_direct(model.id, {"image": image}, account=account)
        assert answered.outputs["logits"].shape == (2, 10)
        assert answered.verification.is_valid
        with pytest.raises(InputRefused, match="WrongTensorNames"):
            client.infer_direct(model.id, {"picture": image}, account=account)


def test_a_model_is_not_served_where_it_is_superseded(home: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", image=np.zeros((1, 64), dtype=np.float32))
    words = ["infer", "digits@1", "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    refused = _caimi(home, *words, code=2)
    assert refused["problem"]["error"] == "NotServed"
    assert "SUPERSEDED" in refused["problem"]["text"]
    assert not (tmp_path / "out.npz").exists()


def test_a_killed_process_is_started_again_and_counted(home: Path) -> None:
    relay = next(p for p in _caimi(home, "status")["processes"] if p["name"] == "relay")
    os.kill(relay["pid"], signal.SIGKILL)

    def is_back() -> bool:
        found = json.loads((home / "supervisor.json").read_text())["processes"]["relay"]
        return found["restarts"] == relay["restarts"] + 1 and found["pid"] not in (None, relay["pid"])

    # Whoever asks meanwhile waits for it.
    assert _caimi(home, "models")["models"]
    _wait(is_back)


def test_an_interrupted_question_goes_on_with_the_same_request(home: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", image=np.zeros((1, 64), dtype=np.float32))
    files = ["--output", str(tmp_path / "out.npz"), "--receipt", str(tmp_path / "r.json")]
    words = ["infer", "digits@2", "--input", str(tmp_path / "in.npz"), *files, "--json"]
    host = next(p["pid"] for p in _caimi(home, "status")["processes"] if p["name"] == "host")
    before = _requests(home)
    environment = {**os.environ, "CAIMI_HOME": str(home)}
    asking = subprocess.Popen(
        [*_CAIMI, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert asking.stderr is not None
    try:
        # The host has its input and may not answer before the command is gone.
        for line in asking.stderr:
            if "waits for the request" in line:
                os.kill(host, signal.SIGSTOP)
                break
        asking.send_signal(signal.SIGINT)
        told = json.loads(asking.communicate(timeout=60)[0])
    finally:
        os.kill(host, signal.SIGCONT)
    assert (asking.returncode, told["problem"]["error"]) == (130, "Interrupted")
    assert not (tmp_path / "out.npz").exists()
    assert len(list((home / "drafts").glob("*.draft"))) == 1
    assert _caimi(home, *words[:-1])["verified"]
    assert _requests(home) == before + 1
    assert not list((home / "drafts").glob("*.draft"))


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_keeps_everything(home: Path) -> None:
    groups, network = process_groups(home), read_network(home)
    assert _groups_alive(groups)
    _kill_supervisor(home)
    assert not _groups_alive(groups)
    _caimi(home, "up")
    again = read_network(home)
    assert (again.id, again.group_key, again.lanes) == (network.id, network.group_key, network.lanes)

    async def states() -> set[str]:
        async with Client.open(home) as client:
            # The relay has to have caught up with the ledgers before it can tell.
            models = await client.models()
            found = [await client.publication(model.id, model.home) for model in models]
            return {State(view.state).name for view in found if view is not None}

    assert asyncio.run(states()) == {"COMMITTED", "SUPERSEDED"}


def test_faucet_gives_tokens(home: Path) -> None:
    before = _balance(home)
    funded = _caimi(home, "fund", "publisher", "--lane", "fabric", "--amount", "17")
    assert int(funded["balance"]) == before + 17


def test_down_leaves_no_process_and_wipe_no_file(home: Path) -> None:
    groups = process_groups(home)
    assert _caimi(home, "down", "--wipe", "--yes") == {"home": str(home), "stopped": True, "wiped": True}
    assert not _groups_alive(groups)
    assert not home.exists()


def _requests(home: Path) -> int:
    return sum(_caimi(home, "status")["host"]["requests"].values())


def _balance(home: Path) -> int:
    accounts = _caimi(home, "account", "list")["accounts"]
    return int(next(a for a in accounts if a["name"] == "publisher")["balances"]["fabric"])
