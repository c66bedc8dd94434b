"""The file of one scenario: `benchmarks/results/NAME.json`, from which every number can be computed again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic

__all__ = ["FORMAT", "REQUIRED", "Result", "from_json", "read_result", "to_json", "write_result"]

FORMAT: Final = 1
REQUIRED: Final = (
    "name",
    "value",
    "unit",
    "peer",
    "peer_value",
    "ratio",
    "conditions",
    "commit",
    "machine",
    "command",
    "samples",
)
"""What every file has at its top; value, unit, peer, peer_value and ratio are those of the first measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one scenario measured, and on what."""

    name: str
    summary: str
    conditions: Mapping[str, Any]
    commit: str
    """Of the source; with "-dirty" if it had changes that no commit has."""
    date: str
    """UTC, ISO 8601."""
    machine: Mapping[str, Any]
    command: str
    """What measures it again."""
    measures: tuple[Measure, ...]
    """At least one; the first is the headline."""


def to_json(result: Result) -> dict[str, Any]:
    """The object of the file. Samples of a measure are under its name, the peer's under `NAME of PEER`."""
    samples: dict[str, list[float]] = {}
    for measure in result.measures:
        _put(samples, measure.name, measure.samples)
        if measure.peer is not None:
            _put(samples, f"{measure.name} of {measure.peer}", measure.peer_samples)
    first = result.measures[0]
    return {
        "format": FORMAT,
        "name": result.name,
        "summary": result.summary,
        "value": first.value,
        "unit": first.unit,
        "peer": first.peer,
        "peer_value": first.peer_value,
        "ratio": first.ratio,
        "measures": [_measure_to_json(measure) for measure in result.measures],
        "conditions": dict(result.conditions),
        "commit": result.commit,
        "date": result.date,
        "machine": dict(result.machine),
        "command": result.command,
        "samples": samples,
    }


def from_json(value: Mapping[str, Any]) -> Result:
    """Inverse of `to_json`: takes samples and says nothing about the numbers beside them.

    Raises:
        ValueError: It is not such an object.
    """
    if value.get("format") != FORMAT:
        raise ValueError(f"format {value.get('format')!r}, expected {FORMAT}")
    try:
        samples: dict[str, Sequence[float]] = value["samples"]
        return Result(
            name=value["name"],
            summary=value["summary"],
            conditions=value["conditions"],
            commit=value["commit"],
            date=value["date"],
            machine=value["machine"],
            command=value["command"],
            measures=tuple(_measure_from_json(one, samples) for one in value["measures"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no result: {error!r}") from error


def read_result(path: Path) -> dict[str, Any]:
    """The object in a file, as it stands there.

    Raises:
        OSError, ValueError: It cannot be read or is no object.
    """
    value: object = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: no object")
    return cast("dict[str, Any]", value)


def write_result(folder: Path, result: Result) -> Path:
    """Write the file, whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(to_json(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def _put(samples: dict[str, list[float]], name: str, values: Sequence[float]) -> None:
    found = list(values)
    # Two measures may be two statistics of the same samples, never different samples under one name.
    if samples.setdefault(name, found) != found:
        raise ValueError(f"two lists of samples are called {name!r}")


def _measure_to_json(measure: Measure) -> dict[str, Any]:
    aim = measure.aim
    return {
        "name": measure.name,
        "statistic": measure.statistic.value,
        "better": measure.better.value,
        "value": measure.value,
        "unit": measure.unit,
        "peer": measure.peer,
        "peer_value": measure.peer_value,
        "ratio": measure.ratio,
        "aim": None if aim is None else {"of": aim.of.value, "bound": aim.bound},
        "is_met": measure.is_met,
    }


def _measure_from_json(value: Mapping[str, Any], samples: Mapping[str, Sequence[float]]) -> Measure:
    name, peer, aim = value["name"], value["peer"], value["aim"]
    return Measure(
        name=name,
        unit=value["unit"],
        statistic=Statistic(value["statistic"]),
        better=Better(value["better"]),
        samples=tuple(samples[name]),
        peer=peer,
        peer_samples=() if peer is None else tuple(samples[f"{name} of {peer}"]),
        aim=None if aim is None else Aim(of=Quantity(aim["of"]), bound=aim["bound"]),
    )
