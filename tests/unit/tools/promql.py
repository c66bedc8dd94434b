"""A reader of the part of PromQL that the rules and the dashboard use: grammar, metrics, labels, what may be rated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from caimi.ports.metrics import METRICS, Counter, Gauge, Histogram, Metric

__all__ = ["NoQuery", "metrics_of"]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>[0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?(?![a-zA-Z_]))"""
    r"""|(?P<range>\[(?:[0-9]+[smhd]|\$__rate_interval)\])"""
    r"""|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<sign>==|!=|>=|<=|=~|!~|[-+*/<>=(){},]))"""
)
_AGGREGATES: Final = frozenset({"sum", "max", "min", "count", "avg"})
_RATES: Final = {"rate": Counter, "increase": Counter, "delta": Gauge, "changes": Gauge}
_FUNCTIONS: Final = {"abs": 1, "time": 0, "histogram_quantile": 2}
_COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})
_BINARY: Final = frozenset({"+", "-", "*", "/", "and", "or", "unless"}) | _COMPARISONS
_GIVEN: Final = frozenset({"job", "instance", "process"})
_SUFFIXES: Final = ("_bucket", "_sum", "_count")


class NoQuery(AssertionError):
    """The text is no query over the table of metrics."""


@dataclass(frozen=True, slots=True)
class _Known:
    metric: Metric | None
    labels: frozenset[str]
    is_counter: bool


def _known(name: str) -> _Known:
    # Prometheus' own `up` has the labels of its targets only; the supervisor's alert names a child too.
    if name == "up":
        return _Known(None, _GIVEN, is_counter=False)
    for metric in METRICS:
        labels = frozenset(metric.labels) | _GIVEN
        if isinstance(metric, Histogram):
            if name in {metric.full_name + suffix for suffix in _SUFFIXES}:
                return _Known(
                    metric, labels | ({"le"} if name.endswith("_bucket") else frozenset[str]()), is_counter=True
                )
        elif name == metric.full_name:
            return _Known(metric, labels, is_counter=isinstance(metric, Counter))
    raise NoQuery(f"no metric is called {name}")


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self.metrics: set[Metric] = set()

    def whole(self) -> None:
        self._expression()
        if self._place != len(self._tokens):
            raise NoQuery(f"something is left: {self._tokens[self._place :]}")

    # --- tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        found = self._peek()
        self._place += 1
        return found

    def _expect(self, text: str) -> None:
        found = self._next()[1]
        if found != text:
            raise NoQuery(f"expected {text}, found {found!r}")

    # --- grammar; gives the labels that a result has, None for a number

    def _expression(self) -> frozenset[str] | None:
        left = self._operand()
        while self._peek()[1] in _BINARY:
            operator = self._next()[1]
            by = self._names() if self._peek()[1] in ("on", "ignoring") and self._next() else None
            right = self._operand()
            if operator in ("and", "or", "unless") and (left is None or right is None):
                raise NoQuery(f"{operator} joins sets of series only")
            if by is not None and not (left is not None and right is not None and by <= left & right):
                raise NoQuery(f"both sides of {operator} have no label {sorted(by)}")
            left = right if left is None else left
        return left

    def _operand(self) -> frozenset[str] | None:
        kind, text = self._next()
        if kind == "number":
            return None
        if text == "(":
            found = self._expression()
            self._expect(")")
            return found
        if kind != "name":
            raise NoQuery(f"{text!r} begins no operand")
        if text in _AGGREGATES:
            return self._aggregate()
        if text in _RATES or text in _FUNCTIONS:
            return self._function(text)
        return self._selector(text, ranged=None)

    def _aggregate(self) -> frozenset[str]:
        by: frozenset[str] = self._names() if self._peek()[1] == "by" and self._next() else frozenset()
        self._expect("(")
        inner = self._expression()
        self._expect(")")
        if inner is None or not by <= inner:
            raise NoQuery(f"what is aggregated has no labels {sorted(by - (inner or frozenset()))}")
        return by

    def _function(self, name: str) -> frozenset[str] | None:
        self._expect("(")
        found: frozenset[str] | None = None
        if name in _RATES:
            found = self._selector(self._next()[1], ranged=name)
        else:
            for place in range(_FUNCTIONS[name]):
                if place:
                    self._expect(",")
                found = self._expression()
        self._expect(")")
        if name == "histogram_quantile":
            if found is None or "le" not in found:
                raise NoQuery("a quantile needs the label le")
            found -= {"le"}
        return found

    def _selector(self, name: str, *, ranged: str | None) -> frozenset[str]:
        known = _known(name)
        if known.metric is not None:
            self.metrics.add(known.metric)
        if self._peek()[1] == "{":
            self._matchers(known)
        has_range = self._peek()[0] == "range" and bool(self._next())
        if has_range != (ranged is not None):
            raise NoQuery(f"{name}: a range belongs to rates, and only to them")
        if ranged is not None and (_RATES[ranged] is Counter) != known.is_counter:
            raise NoQuery(f"{ranged} of {name}, which is {'a' if known.is_counter else 'no'} counter")
        return known.labels

    def _matchers(self, known: _Known) -> None:
        self._expect("{")
        while True:
            label, operator, value = self._next()[1], self._next()[1], self._next()
            if label not in known.labels or operator not in ("=", "!=", "=~", "!~") or value[0] != "string":
                raise NoQuery(f"{label} {operator} {value[1]} selects nothing")
            if operator in ("=~", "!~"):
                re.compile(value[1][1:-1])
            if self._next()[1] == "}":
                return

    def _names(self) -> frozenset[str]:
        self._expect("(")
        names = [self._next()[1]]
        while self._peek()[1] == ",":
            self._next()
            names.append(self._next()[1])
        self._expect(")")
        return frozenset(names)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            raise NoQuery(f"cannot read {text[place:]!r}")
        yield found.lastgroup or "", found[found.lastgroup or 0]
        place = found.end()


def metrics_of(query: str) -> set[Metric]:
    """The metrics that a query reads.

    Raises:
        NoQuery: Its grammar, a metric, a label or a function is not right.
    """
    reader = _Reader(query)
    reader.whole()
    return reader.metrics
