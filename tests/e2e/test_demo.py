"""The demonstration: what it prints, that two at once do not meet, and that it leaves nothing however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.devnet.status import process_groups

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(1800)]


def _demo(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    with folder.with_suffix(".err").open("w") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "caimi.cli", "demo", "--json"],
            stdout=subprocess.PIPE,
            stderr=told,
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


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for_nothing(groups: Sequence[int], *, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while alive := [group for group in groups if _is_alive(group)]:
        assert time.monotonic() < until, alive
        time.sleep(0.5)


def test_two_demonstrations_at_once_are_two_and_leave_nothing(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    both = [_demo(folder) for folder in folders]
    reports = [json.loads(process.communicate(timeout=1700)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for report, folder in zip(reports, folders, strict=True):
        _check(report)
        assert not list(folder.iterdir())
    ids = [{p["id"] for p in report["publications"]} for report in reports]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    with _demo(folder) as process:
        groups = _groups_once_ledgers_run(folder)
        process.send_signal(number)
        assert process.wait(timeout=120) == 130
    assert not list(folder.iterdir())
    _wait_for_nothing(groups)


def test_a_killed_demonstration_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with _demo(folder) as process:
        groups = _groups_once_ledgers_run(folder)
        process.kill()
    _wait_for_nothing(groups)


def _groups_once_ledgers_run(folder: Path) -> tuple[int, ...]:
    told, until = folder.with_suffix(".err"), time.monotonic() + 300
    while "ledgers" not in told.read_text():
        assert time.monotonic() < until
        time.sleep(0.2)
    (home,) = folder.glob("caimi-demo-*/state")
    groups = process_groups(home)
    assert len(groups) >= 9
    assert all(_is_alive(group) for group in groups)
    return groups
