"""The text that Prometheus reads: by its grammar, exact, and bounded whatever the labels are."""

from __future__ import annotations

import io
import math
import re

import pytest

from caimi.apps.json_observer import JsonObserver
from caimi.apps.metric_book import MetricBook
from caimi.ports.metrics import (
    CALL_FAILURES,
    CERTIFICATE_SECONDS,
    LANE_HEIGHT,
    METRICS,
    REFUSED_SERIES,
    SENDER_BALANCE,
    WORKFLOW_IDLE,
    Counter,
    Gauge,
    Histogram,
    MetricMisused,
)
from tests.unit.apps.exposition import NotExposition, read_exposition

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_IDS = {"id", "publication", "request", "lease", "key", "transaction", "hash", "account", "address"}
_NASTY = 'a "quoted" \\ back\nslash'


def _filled() -> MetricBook:
    # Every metric with one sample whose labels hold all that has to be escaped.
    book = MetricBook()
    for metric in METRICS:
        labels = dict.fromkeys(metric.labels, _NASTY)
        if isinstance(metric, Gauge):
            book.set(metric, 1.5, labels)
        elif isinstance(metric, Counter):
            book.add(metric, 2, labels)
        else:
            assert isinstance(metric, Histogram)
            book.observe(metric, 0.3, labels)
    return book


def test_every_metric_is_written_by_the_grammar_with_its_help_and_comes_back_as_it_was() -> None:
    families = read_exposition(_filled().text())
    assert list(families) == [metric.full_name for metric in METRICS]
    for metric in METRICS:
        family = families[metric.full_name]
        assert family.kind == type(metric).__name__.lower()
        assert family.help == metric.help
        for _, labels in family.samples:
            assert {name: value for name, value in labels if name != "le"} == dict.fromkeys(metric.labels, _NASTY)


@pytest.mark.parametrize(
    "text",
    [
        "caimi_a 1",
        "caimi_a 1\n",
        "# HELP caimi_a A.\n# TYPE caimi_a gauge\ncaimi_b 1\n",
        "# HELP caimi_a A.\n# TYPE caimi_a gauge\ncaimi_a{x=1} 1\n",
        '# HELP caimi_a A.\n# TYPE caimi_a gauge\ncaimi_a{x="a"b"} 1\n',
        '# HELP caimi_a A.\n# TYPE caimi_a gauge\ncaimi_a{x="1",x="2"} 1\n',
        "# HELP caimi_a A.\n# TYPE caimi_a gauge\ncaimi_a 1\ncaimi_a 2\n",
        "# HELP caimi_a A.\n# TYPE caimi_a gauge\ncaimi_a one\n",
        "# TYPE caimi_a gauge\ncaimi_a 1\n",
        '# HELP caimi_a A.\n# TYPE caimi_a histogram\ncaimi_a_bucket{le="1"} 1\ncaimi_a_sum 1\ncaimi_a_count 1\n',
        '# HELP caimi_a A.\n# TYPE caimi_a histogram\ncaimi_a_bucket{le="+Inf"} 2\ncaimi_a_sum 1\ncaimi_a_count 1\n',
    ],
)
def test_the_reader_of_these_tests_refuses_what_is_no_exposition(text: str) -> None:
    with pytest.raises(NotExposition):
        read_exposition(text)


def test_names_are_unique_lower_case_and_end_with_their_unit() -> None:
    names = [metric.full_name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert _NAME.fullmatch(metric.name), metric.name
        assert metric.name.endswith("_total") is False
        assert metric.help.endswith("."), metric.name
        if isinstance(metric, Histogram):
            assert list(metric.buckets) == sorted(set(metric.buckets)) and math.inf not in metric.buckets


def test_no_label_is_an_id() -> None:
    for metric in METRICS:
        assert not set(metric.labels) & _IDS, f"{metric.name}: an id as a label makes a series for each id"


def test_a_histogram_counts_each_observation_in_the_lowest_bucket_that_holds_it() -> None:
    book = MetricBook()
    for value in (0.0, 0.001, 0.0011, 10.0, 10.1):
        book.observe(CERTIFICATE_SECONDS, value, {"source": "fabric"})
    lines = book.text().splitlines()
    assert 'caimi_relay_certificate_seconds_bucket{source="fabric",le="0.001"} 2' in lines
    assert 'caimi_relay_certificate_seconds_bucket{source="fabric",le="0.0025"} 3' in lines
    assert 'caimi_relay_certificate_seconds_bucket{source="fabric",le="10"} 4' in lines
    assert 'caimi_relay_certificate_seconds_bucket{source="fabric",le="+Inf"} 5' in lines
    assert 'caimi_relay_certificate_seconds_count{source="fabric"} 5' in lines
    assert read_exposition(book.text())["caimi_relay_certificate_seconds"].kind == "histogram"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (123_456_789, "123456789"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (10**19 + 1, "1e+19"),
        (True, "1"),
    ],
)
def test_numbers_keep_their_digits(value: float, shown: str) -> None:
    book = MetricBook()
    book.set(SENDER_BALANCE, value, {"lane": "ethereum"})
    assert f'caimi_relay_sender_balance{{lane="ethereum"}} {shown}\n' in book.text()
    read_exposition(book.text())


def test_counters_add_and_gauges_replace() -> None:
    observer = JsonObserver("test", io.StringIO())
    observer.gauge(LANE_HEIGHT, 7, lane="fabric")
    observer.gauge(LANE_HEIGHT, 6, lane="fabric")
    observer.count(CALL_FAILURES, lane="a", refusal="b", next="c")
    observer.count(CALL_FAILURES, 3, lane="a", refusal="b", next="c")
    families = read_exposition(observer.metrics())
    assert families["caimi_lane_height"].value(lane="fabric") == 6
    assert families["caimi_relay_call_failures_total"].value(lane="a", refusal="b", next="c") == 4


@pytest.mark.parametrize("labels", [{}, {"lane": "a", "more": "b"}, {"line": "a"}])
def test_rejects_labels_that_are_not_declared(labels: dict[str, str]) -> None:
    with pytest.raises(MetricMisused, match="lane_height has the labels"):
        MetricBook().set(LANE_HEIGHT, 1, labels)


def test_more_label_values_than_allowed_are_dropped_and_counted_and_known_ones_go_on() -> None:
    book = MetricBook()
    for number in range(LANE_HEIGHT.most_series + 5):
        book.set(LANE_HEIGHT, number, {"lane": str(number)})
    book.set(LANE_HEIGHT, 99, {"lane": "0"})
    families = read_exposition(book.text())
    assert len(families["caimi_lane_height"].samples) == LANE_HEIGHT.most_series
    assert families["caimi_lane_height"].value(lane="0") == 99
    assert families[REFUSED_SERIES.full_name].value(metric="caimi_lane_height") == 5


def test_a_histogram_has_a_bound_of_series_too() -> None:
    book = MetricBook()
    for number in range(CERTIFICATE_SECONDS.most_series + 1):
        book.observe(CERTIFICATE_SECONDS, 1.0, {"source": str(number)})
    refused = read_exposition(book.text())[REFUSED_SERIES.full_name]
    assert refused.value(metric="caimi_relay_certificate_seconds") == 1


def test_collectors_run_before_each_answer() -> None:
    observer, ages = JsonObserver("test", io.StringIO()), iter((1, 2))
    observer.collect(lambda: observer.gauge(WORKFLOW_IDLE, next(ages)))
    assert [read_exposition(observer.metrics())["caimi_relay_workflow_idle_seconds"].value() for _ in range(2)] == [
        1,
        2,
    ]
