"""The demonstration: what it prints, that two at once do not meet, and that it leaves nothing however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(1800)]


def _demo(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "caimi.cli", "demo", "--json"],
        stdout=subprocess.PIPE,
        stderr=(folder.with_suffix(".err")).open("w"),
        text=True,
        env=environment,
    )


def _check(report: dict[str, Any]) -> None:
    assert report["ok"]
    assert len(report["publications"]) == 3
    for publication in report["publications"]:
        assert publication["states"] == publication["expected"]
        assert publication["deposit_is_right"]
    assert {m["name"]: m["matches_local"] for m in report["models"]} == {"digits": True, "resnet50-generated": True}
    assert report["models"][0]["accuracy"] > 0.9
    assert {receipt["requested_on"] for receipt in report["receipts"]} == {"fabric", "ethereum"}
    assert all(receipt["verified"] for receipt in report["receipts"])
    assert set(report["block_interval_s"]) == {"fabric", "ethereum"}
    assert report["pss_mb"] > 0
    assert set(report["seconds"]) == {"up", "models", "publish", "infer", "total"}
    assert report["attestation"] == "UNATTESTED"


def _processes_of(folder: Path) -> list[str]:
    # Every process of a devnet has its state folder in its arguments or works in it.
    done = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if str(folder) in line]


def _wait_for_nothing(folder: Path, *, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while found := _processes_of(folder):
        assert time.monotonic() < until, found
        time.sleep(0.5)


def test_two_demonstrations_at_once_are_two_and_leave_nothing(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    both = [_demo(folder) for folder in folders]
    reports = [json.loads(process.communicate(timeout=1700)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for report, folder in zip(reports, folders, strict=True):
        _check(report)
        assert not list(folder.iterdir())
        assert not _processes_of(folder)
    ids = [{p["id"] for p in report["publications"]} for report in reports]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    process = _demo(folder)
    _wait_until_ledgers_run(folder)
    process.send_signal(number)
    assert process.wait(timeout=120) == 130
    assert not list(folder.iterdir())
    _wait_for_nothing(folder)


def test_a_killed_demonstration_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = _demo(folder)
    _wait_until_ledgers_run(folder)
    process.kill()
    process.wait()
    _wait_for_nothing(folder)


def _wait_until_ledgers_run(folder: Path) -> None:
    told, until = folder.with_suffix(".err"), time.monotonic() + 300
    while "ledgers" not in told.read_text():
        assert time.monotonic() < until
        time.sleep(0.2)
    assert _processes_of(folder)
