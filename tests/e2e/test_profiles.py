"""What the two profiles cost, side by side in one run: time to come up, memory and CPU when idle."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from caimi.apps.devnet.status import process_groups
from tests.e2e.own_network import OwnNetwork, own_network

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(1800)]

_IDLE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    cold_s: float
    warm_s: float
    pss_mb: float
    cores: float


def _cpu_s(home: Path) -> float:
    # User and system time of all processes of the network, which lead their groups.
    groups, ticks = set(process_groups(home)), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) in groups:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _seconds_to_come_up(network: OwnNetwork) -> float:
    lines = [json.loads(line) for line in (network.home / "up.jsonl").read_text().splitlines()]
    return max(float(line["seconds"]) for line in lines if "seconds" in line)


def _cost(folder: Path, profile: str) -> _Cost:
    with own_network(folder, "--profile", profile) as network:
        cold = _seconds_to_come_up(network)
        time.sleep(_IDLE_S)
        before = _cpu_s(network.home)
        time.sleep(_IDLE_S)
        cores = (_cpu_s(network.home) - before) / _IDLE_S
        pss = sum(process["pss_mb"] or 0.0 for process in network.status()["processes"])
        network.caimi("down")
        network.caimi("up")
        return _Cost(cold_s=cold, warm_s=_seconds_to_come_up(network), pss_mb=pss, cores=cores)


def test_light_costs_less_than_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = {profile: _cost(tmp_path / profile, profile) for profile in ("full", "light")}
    lines = [f"profile  cold start  warm start  memory (PSS)  CPU when idle  (load {os.getloadavg()[0]:.1f})"]
    for profile, cost in costs.items():
        times = f"{cost.cold_s:8.1f} s  {cost.warm_s:8.1f} s"
        lines.append(f"{profile:<7} {times}  {cost.pss_mb:9.0f} MB  {cost.cores:8.2f} cores")
    with capsys.disabled():
        print("", *lines, sep="\n")
    assert costs["light"].pss_mb < 0.8 * costs["full"].pss_mb
    assert costs["light"].cores < costs["full"].cores
