"""The judgement of the soak over memory: a leak is found, noise and jumps are none."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests.soak.memory import MemoryLog, slope


def _points(per_second: float, *, noise: float = 0.0) -> list[tuple[float, float]]:
    rng = random.Random(1)
    return [(float(t), 100 + per_second * t + rng.uniform(-noise, noise)) for t in range(0, 1200, 5)]


def test_leak_is_found_under_noise() -> None:
    assert slope(_points(0.01, noise=5.0)) * 3600 == pytest.approx(36, rel=0.1)


def test_noise_is_no_leak() -> None:
    assert abs(slope(_points(0.0, noise=5.0)) * 3600) < 3


def test_one_jump_is_no_leak() -> None:
    points = [(t, mib + (50 if t > 1100 else 0)) for t, mib in _points(0.0)]
    assert slope(points) == 0


def test_too_few_points_have_no_slope() -> None:
    assert slope([]) == slope([(1.0, 5.0)]) == slope([(1.0, 5.0), (1.0, 9.0)]) == 0


def test_each_life_is_judged_by_itself_after_its_warm_up(tmp_path: Path) -> None:
    log = MemoryLog(home=tmp_path)
    log.points["relay", 1] += [(t, 50.0 if t < 60 else 100.0) for t in map(float, range(0, 700, 10))]
    log.points["relay", 2] += [(t, 100 + t / 36) for t in map(float, range(700, 1400, 10))]
    log.points["host", 3] += [(t, 9.0) for t in map(float, range(0, 100, 10))]
    flat, growing = log.growth(warm_up_s=60.0, shortest_s=600.0)
    assert (flat.name, flat.mib, flat.mib_per_hour) == ("relay", 100.0, 0.0)
    assert growing.mib_per_hour == pytest.approx(100)


def test_sample_reads_what_runs(tmp_path: Path) -> None:
    processes = {"me": {"pid": os.getpid()}, "down": {"pid": None}, "gone": {"pid": 2**22 + 1}}
    (tmp_path / "supervisor.json").write_text(json.dumps({"processes": processes}))
    log = MemoryLog(home=tmp_path)
    log.sample(1.0)
    assert list(log.points) == [("me", os.getpid())]
    assert log.points["me", os.getpid()][0][1] > 10
