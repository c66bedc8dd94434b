"""Running scenarios: files as they come, one that fails named and not in the way of others, wrong words."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import main
from benchmarks.interleave import interleave
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.registry import SCENARIOS, UnknownScenario, chosen
from benchmarks.result import from_json, read_result
from benchmarks.run import Outcome, RunPlan, run_scenarios
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.table import format_number, result_table


def _findings(value: float = 2.0) -> Findings:
    measure = Measure(
        name="speed <of> it",
        unit="1/s",
        statistic=Statistic.MEDIAN,
        better=Better.HIGHER,
        samples=(value, value + 1, value + 2),
        peer="a & b",
        peer_samples=(4.0, 4.0, 4.0),
        aim=Aim(of=Quantity.RATIO, bound=0.9),
    )
    return Findings(measures=(measure,), conditions={"blocks": 0.25, "chains": ["one", "two"]})


async def _works(stage: Stage) -> Findings:
    (stage.folder / "left.bin").write_bytes(b"x")
    return _findings()


async def _breaks(stage: Stage) -> Findings:
    del stage
    raise ConnectionError("nobody answers")


async def _times_out(stage: Stage) -> Findings:
    del stage
    raise TimeoutError("the node")


async def _never(stage: Stage) -> Findings:
    del stage
    await asyncio.Event().wait()
    return _findings()


def _scenario(name: str, run: object) -> Scenario:
    return Scenario(name=name, summary=f"{name} it", minutes=0.1, run=run)  # pyright: ignore[reportArgumentType]


def _run(tmp_path: Path, *scenarios: Scenario, budget_s: float = 60.0) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    plan = RunPlan(repository=tmp_path, results=tmp_path / "results", effort=0.5, budget_s=budget_s)
    return asyncio.run(run_scenarios(scenarios, plan, tell=told.append)), told


def test_a_scenario_leaves_a_result_and_a_plot_and_nothing_else(tmp_path: Path) -> None:
    outcome, told = _run(tmp_path, _scenario("works", _works))
    assert not outcome.failures
    found = read_result(tmp_path / "results" / "works.json")
    assert from_json(found) == outcome.results[0]
    assert (found["value"], found["peer_value"], found["ratio"]) == (3.0, 4.0, 0.75)
    assert found["conditions"]["effort"] == 0.5
    # Outside of git there is no commit to name, and no scratch folder stays.
    assert found["commit"] == "unknown"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["works.json", "works.svg"]
    assert any(line.startswith("works (1/1): begins") for line in told)


def test_a_failure_is_named_and_the_next_scenario_runs(tmp_path: Path) -> None:
    outcome, told = _run(tmp_path, _scenario("breaks", _breaks), _scenario("works", _works))
    assert outcome.failures == {"breaks": "ConnectionError: nobody answers"}
    assert [result.name for result in outcome.results] == ["works"]
    assert "breaks (1/2): NOT MEASURED: ConnectionError: nobody answers" in told
    assert not (tmp_path / "results" / "breaks.json").exists()


def test_what_runs_longer_than_the_budget_is_given_up(tmp_path: Path) -> None:
    outcome, _ = _run(tmp_path, _scenario("never", _never), _scenario("works", _works), budget_s=0.05)
    assert set(outcome.failures) == {"never", "works"}
    assert "name fewer" in outcome.failures["never"]


def test_a_timeout_of_the_scenario_itself_is_not_taken_for_the_budget(tmp_path: Path) -> None:
    outcome, _ = _run(tmp_path, _scenario("times_out", _times_out))
    assert outcome.failures == {"times_out": "TimeoutError: the node"}


def test_the_plot_is_well_formed_and_shows_the_ratio(tmp_path: Path) -> None:
    _run(tmp_path, _scenario("works", _works))
    picture = ElementTree.parse(tmp_path / "results" / "works.svg")
    texts = "".join(picture.getroot().itertext())
    assert "speed <of> it" in texts
    assert "a & b 4" in texts
    assert "ratio 0.75" in texts


def test_the_table_names_aim_and_conditions(tmp_path: Path) -> None:
    outcome, _ = _run(tmp_path, _scenario("works", _works))
    table = result_table(outcome.results[0])
    assert "ratio ≥ 0.9" in table
    assert "NOT REACHED" in table
    assert "chains: one, two" in table


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234.5, "1,234"), (12.345, "12.3"), (0.01234, "0.012"), (100.4, "100")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert format_number(value) == text


def test_arms_alternate_and_warm_up_is_dropped() -> None:
    order: list[str] = []

    def arm(name: str) -> object:
        async def run() -> float:
            order.append(name)
            return float(len(order))

        return run

    arms = {"a": arm("a"), "b": arm("b")}
    samples = asyncio.run(interleave(arms, rounds=3, tell=lambda text: None))  # pyright: ignore[reportArgumentType]
    assert "".join(order) == "baabbaab"
    assert samples == {"a": (3.0, 6.0, 7.0), "b": (4.0, 5.0, 8.0)}


def test_what_is_shared_is_made_once(tmp_path: Path) -> None:
    made: list[int] = []

    async def make() -> int:
        made.append(1)
        return len(made)

    async def twice() -> list[int]:
        stage = Stage(repository=tmp_path, folder=tmp_path, tell=lambda text: None)
        return [await stage.once("it", make), await stage.once("it", make)]

    assert asyncio.run(twice()) == [1, 1]


def test_names_are_unique_and_chosen_in_their_order() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert [scenario.name for scenario in chosen(())] == names
    assert [scenario.name for scenario in chosen((names[1], names[0], names[1]))] == names[:2]
    assert {scenario.name for scenario in chosen(("inference_*",))} == {n for n in names if n.startswith("inference_")}


@pytest.mark.parametrize("name", ["", "no_such", "inference", "*x"])
def test_rejects_a_name_that_no_scenario_has(name: str) -> None:
    with pytest.raises(UnknownScenario, match="there are"):
        chosen((name,))


def test_the_command_line_refuses_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_such"]) == 2
    assert "no scenario 'no_such'" in capsys.readouterr().err
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(SCENARIOS)
    with pytest.raises(SystemExit) as refused:
        main(["--effort", "2"])
    assert refused.value.code == 2


def test_json_is_one_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _scenario("works", _works)

    def choose(names: list[str]) -> tuple[Scenario, ...]:
        assert names == ["works"]
        return (one,)

    monkeypatch.setattr("benchmarks.__main__.chosen", choose)
    assert main(["works", "--json", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["results"][0]["name"] == "works"
    assert json.loads(printed)["failures"] == {}
