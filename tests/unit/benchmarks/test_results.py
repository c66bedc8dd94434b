"""Every number of a committed result follows from the samples in the same file."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import Better, Measure, Statistic
from benchmarks.registry import SCENARIOS
from benchmarks.result import REQUIRED, Result, from_json, read_result, to_json, write_result

_RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
_FILES = sorted(_RESULTS.glob("*.json"))
_COMPUTED = ("value", "unit", "peer", "peer_value", "ratio", "measures")


def _check(found: dict[str, Any]) -> None:
    again = to_json(from_json(found))
    for name in _COMPUTED:
        assert found[name] == again[name], name
    assert found["samples"] == again["samples"]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_value_peer_value_and_ratio_follow_from_the_samples(path: Path) -> None:
    _check(read_result(path))


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_committed_result_says_what_it_was_measured_on(path: Path) -> None:
    found = read_result(path)
    assert set(REQUIRED) <= set(found)
    assert found["name"] == path.stem
    assert found["name"] in {scenario.name for scenario in SCENARIOS}
    assert found["conditions"]["load_average"]
    assert found["machine"]["cpu"]
    # A commit that anybody can check out.
    assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])
    assert found["command"] == f"python3 tools/bootstrap.py bench {path.stem}"
    assert path.with_suffix(".svg").is_file()


def _result() -> Result:
    def measure(statistic: Statistic) -> Measure:
        return Measure(
            name="latency",
            unit="s",
            statistic=statistic,
            better=Better.LOWER,
            samples=(1.0, 2.0, 4.0),
            peer="it",
            peer_samples=(2.0, 3.0, 3.0),
        )

    return Result(
        name="some",
        summary="something",
        conditions={"blocks": "1 s"},
        commit="0" * 40,
        date="2026-11-22T00:00:00+00:00",
        machine={"cpu": "one"},
        command="python3 tools/bootstrap.py bench some",
        measures=(measure(Statistic.MEDIAN), measure(Statistic.P99)),
    )


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    path = write_result(tmp_path, _result())
    assert from_json(read_result(path)) == _result()
    assert [entry.name for entry in tmp_path.iterdir()] == ["some.json"]


def _changed(found: dict[str, Any], *path: str | int) -> dict[str, Any]:
    changed = copy.deepcopy(found)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] += 0.001
    return changed


@pytest.mark.parametrize(
    "path",
    [
        ("value",),
        ("peer_value",),
        ("ratio",),
        ("measures", 0, "value"),
        ("measures", 1, "ratio"),
        ("samples", "latency", 1),
        ("samples", "latency of it", 2),
    ],
    ids=str,
)
def test_a_number_that_does_not_follow_is_found(path: tuple[str | int, ...]) -> None:
    found = to_json(_result())
    _check(found)
    with pytest.raises(AssertionError):
        _check(_changed(found, *path))


def test_rejects_two_lists_of_samples_under_one_name() -> None:
    first, second = _result().measures
    other = Measure(name=second.name, unit="s", statistic=Statistic.MEAN, better=Better.LOWER, samples=(7.0,))
    with pytest.raises(ValueError, match="two lists"):
        to_json(dataclasses.replace(_result(), measures=(first, other)))


@pytest.mark.parametrize(("name", "value"), [("format", 2), ("measures", [None]), ("samples", [])])
def test_rejects_what_is_no_result(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"format|no result"):
        from_json({**to_json(_result()), name: value})


def test_there_are_committed_results() -> None:
    assert _FILES
