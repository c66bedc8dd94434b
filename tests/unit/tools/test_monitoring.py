"""Alerts, dashboard and runbooks name only what exists: metrics, labels, files, commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import gen_monitoring
import pytest
import typer.main
from monitoring.alerts import ALERTS

from caimi.cli.app import app
from caimi.ports.metrics import METRICS, Metric
from tests.cli.test_docs import parse_command
from tests.unit.tools.promql import NoQuery, metrics_of

_ROOT = Path(__file__).parents[3]
_DEPLOY = _ROOT / "deploy"
_RUNBOOKS = sorted((_ROOT / "docs" / "runbooks").glob("*.md"))
_SPAN = re.compile(r"`caimi ([a-z-]+)")
_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SCALAR = re.compile(r'( *)(- )?([a-z]+):(?: (".*"|[A-Za-z0-9_./-]+))?')
_TEMPLATE = re.compile(r"\{\{ ?\$labels\.(\w+) ?\}\}")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")
# Programs of the system that an operator has.
_SYSTEM = frozenset({"tail", "grep", "curl", "date"})
_PLACES = ("~/.local/state/caimi/logs/", "http://127.0.0.1:")


def _rules() -> list[dict[str, str]]:
    """The rules of the file as it is, read without the generator: block mappings of one-line scalars."""
    rules: list[dict[str, str]] = []
    for line in (_DEPLOY / "prometheus" / "alerts.yml").read_text().splitlines():
        if line.startswith("#"):
            continue
        found = _SCALAR.fullmatch(line)
        assert found is not None, line
        _, _, key, value = found.groups()
        if key == "alert":
            rules.append({})
        if value is not None and rules:
            rules[-1][key] = json.loads(value) if value.startswith('"') else value
    return rules


def _board() -> dict[str, Any]:
    return json.loads((_DEPLOY / "grafana" / "caimi.json").read_text())


def _charts() -> list[dict[str, Any]]:
    return [panel for panel in _board()["panels"] if panel["type"] != "row"]


def test_the_files_are_those_of_the_tables() -> None:
    assert (_DEPLOY / "prometheus" / "alerts.yml").read_text() == gen_monitoring.alert_rules()
    assert (_DEPLOY / "grafana" / "caimi.json").read_text() == gen_monitoring.dashboard()
    assert [rule["alert"] for rule in _rules()] == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_is_a_query_over_the_table_with_a_runbook(rule: dict[str, str]) -> None:
    read = metrics_of(rule["expr"])
    assert read
    assert re.fullmatch(r"[0-9]+[mh]", rule["for"])
    assert rule["severity"] in ("page", "ticket")
    runbook = _ROOT / rule["runbook"]
    assert runbook.read_text().startswith(f"# {rule['alert']}\n")
    labels = {label for metric in read for label in metric.labels} | {"process", "job", "instance"}
    assert set(_TEMPLATE.findall(rule["summary"])) <= labels


def test_names_of_alerts_are_unique_and_every_runbook_is_of_one() -> None:
    names = [rule["alert"] for rule in _rules()]
    assert len(set(names)) == len(names) >= 20
    assert {path.stem for path in _RUNBOOKS} == {*names, "README"}
    index = (_ROOT / "docs" / "runbooks" / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|$", index, re.MULTILINE)
    assert rows == [(rule["alert"], rule["alert"], rule["severity"]) for rule in _rules()]


@pytest.mark.parametrize("panel", _charts(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_exists(panel: dict[str, Any]) -> None:
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references) > 0
    assert panel["description"].endswith(".")
    for target in panel["targets"]:
        read = metrics_of(target["expr"])
        labels = {label for metric in read for label in metric.labels} | {"process"}
        assert set(_LEGEND.findall(target["legendFormat"])) <= labels, target


def test_the_dashboard_shows_every_metric_and_no_panel_covers_another() -> None:
    board = _board()
    shown: set[Metric] = set()
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & covered and at["x"] + at["w"] <= 24
        cells |= covered
        shown |= {metric for target in panel.get("targets", ()) for metric in metrics_of(target["expr"])}
    assert {metric.full_name for metric in METRICS} - {metric.full_name for metric in shown} == set()
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("page", [*_RUNBOOKS, _ROOT / "docs" / "operations" / "monitoring.md"], ids=lambda p: p.stem)
def test_a_runbook_names_commands_that_exist(page: Path) -> None:
    commands = [line for block in _CONSOLE.findall(page.read_text()) for line in block.splitlines()]
    assert commands or page.name == "README.md"
    for line in commands:
        prompt, program, *words = shlex.split(line)
        assert prompt == "$", line
        if program == "caimi":
            parse_command(words)
        else:
            assert program in _SYSTEM, line
            places = [word for word in words if "/" in word]
            assert all(place.startswith(_PLACES) for place in places), line
    known: Any = typer.main.get_command(app)
    assert set(_SPAN.findall(page.read_text())) <= set(known.commands)


@pytest.mark.parametrize("page", [path for path in _RUNBOOKS if path.name != "README.md"], ids=lambda p: p.stem)
def test_a_runbook_says_what_it_means_where_to_look_what_to_do_and_when_it_is_over(page: Path) -> None:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    assert headings == [page.stem, "Look", "Mend", "It is over when"]


@pytest.mark.parametrize(
    "query",
    [
        "caimi_unheard > 0",
        "caimi_ready[5m]",
        "rate(caimi_ready[5m])",
        "delta(caimi_steps_total[5m])",
        "rate(caimi_steps_total)",
        'caimi_ready{lane="x"} == 0',
        'caimi_ready{process~"x"} == 0',
        "sum by (lane) (caimi_ready)",
        "sum by (process (caimi_ready)",
        "histogram_quantile(0.9, sum by (validator) (rate(caimi_relay_signature_seconds_bucket[5m])))",
        "histogram_quantile(0.9)",
        "caimi_relay_signature_seconds > 1",
        "caimi_ready == 0)",
        "(caimi_ready == 0",
        "caimi_ready and 1",
        "caimi_ready and on (lane) caimi_lane_height",
        "average(caimi_ready)",
        "caimi_ready ==",
        "caimi_ready % 2",
        "",
    ],
)
def test_rejects_what_is_no_query_over_the_table(query: str) -> None:
    with pytest.raises(NoQuery):
        metrics_of(query)
