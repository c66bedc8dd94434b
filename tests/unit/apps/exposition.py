"""A strict reader of Prometheus' text format 0.0.4, by its grammar: what a scraper stumbles over fails."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

__all__ = ["Family", "NotExposition", "read_exposition"]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\[\\n])*)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|Inf|NaN)")
_UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Labels = frozenset[tuple[str, str]]


class NotExposition(AssertionError):
    """The text is not what a scraper reads."""


@dataclass
class Family:
    """One metric with all its samples."""

    kind: str
    help: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict[tuple[str, Labels], float])

    def value(self, **labels: str) -> float:
        """The only sample with exactly these labels."""
        (found,) = [value for (_, shown), value in self.samples.items() if shown == frozenset(labels.items())]
        return found


def read_exposition(text: str) -> dict[str, Family]:
    """The families by name.

    Raises:
        NotExposition: A line, an order or a histogram is not what the format says.
    """
    if text and not text.endswith("\n"):
        raise NotExposition("the last line does not end")
    families: dict[str, Family] = {}
    helps: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if told := _HELP.fullmatch(line):
            if told[1] in helps:
                raise NotExposition(f"HELP twice: {line}")
            helps[told[1]] = told[2]
        elif typed := _TYPE.fullmatch(line):
            current = typed[1]
            if current in families or current not in helps:
                raise NotExposition(f"TYPE twice, or before HELP: {line}")
            families[current] = Family(typed[2], helps[current])
        else:
            _sample(families.get(current), current, line)
    for name, family in families.items():
        if family.kind == "histogram":
            _check_histogram(name, family)
    return families


def _sample(family: Family | None, name: str, line: str) -> None:
    found = _SAMPLE.fullmatch(line)
    if found is None or family is None or not _NUMBER.fullmatch(found[3]):
        raise NotExposition(f"no sample: {line!r}")
    suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
    if found[1] not in [name + suffix for suffix in suffixes]:
        raise NotExposition(f"a sample of another family than {name}: {line}")
    pairs = _PAIR.findall(found[2] or "")
    if len({label for label, _ in pairs}) != len(pairs):
        raise NotExposition(f"a label twice: {line}")
    labels = frozenset((label, re.sub(r'\\[\\"n]', lambda m: _UNESCAPED[m[0]], value)) for label, value in pairs)
    if (found[1], labels) in family.samples:
        raise NotExposition(f"a sample twice: {line}")
    family.samples[found[1], labels] = float(found[3])


def _check_histogram(name: str, family: Family) -> None:
    series: dict[Labels, dict[float, float]] = {}
    for (sample, labels), value in family.samples.items():
        if sample == f"{name}_bucket":
            bound = dict(labels)["le"]
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, {})[float(bound)] = value
    for labels, buckets in series.items():
        bounds = sorted(buckets)
        counts = [buckets[bound] for bound in bounds]
        if bounds[-1] != math.inf or counts != sorted(counts):
            raise NotExposition(f"{name}: buckets are not cumulative up to infinity")
        if family.samples.get((f"{name}_count", labels)) != counts[-1] or (f"{name}_sum", labels) not in family.samples:
            raise NotExposition(f"{name}: count or sum does not fit the buckets")
