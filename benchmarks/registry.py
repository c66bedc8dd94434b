"""All scenarios, in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.scenario import Scenario
from benchmarks.scenarios import (
    beside_mlserver,
    computed,
    encryption,
    gas,
    inference,
    publishing,
    serving,
    sustained,
    threshold,
    wan,
)

__all__ = ["SCENARIOS", "UnknownScenario", "chosen"]

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *inference.SCENARIOS,
    *encryption.SCENARIOS,
    *threshold.SCENARIOS,
    *gas.SCENARIOS,
    *publishing.SCENARIOS,
    *sustained.SCENARIOS,
    *wan.SCENARIOS,
    *serving.SCENARIOS,
    *beside_mlserver.SCENARIOS,
    *computed.SCENARIOS,
)


class UnknownScenario(Exception):
    """There is no scenario of that name."""


def chosen(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios of those names, or all, each once and in the order in which they run.

    A name that ends in * stands for all that begin so.

    Raises:
        UnknownScenario: A name fits none.
    """
    if not names:
        return SCENARIOS
    wanted: set[str] = set()
    for name in names:
        fitting = {one.name for one in SCENARIOS if one.name == name or _begins(one.name, name)}
        if not fitting:
            known = " ".join(scenario.name for scenario in SCENARIOS)
            raise UnknownScenario(f"no scenario {name!r}; there are: {known}")
        wanted |= fitting
    return tuple(scenario for scenario in SCENARIOS if scenario.name in wanted)


def _begins(name: str, pattern: str) -> bool:
    return pattern.endswith("*") and name.startswith(pattern[:-1])
