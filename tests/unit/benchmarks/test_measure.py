"""Samples become one number, the same one whoever computes it."""

from __future__ import annotations

import math

import pytest

from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic, reduce_samples


@pytest.mark.parametrize(
    ("statistic", "samples", "expected"),
    [
        (Statistic.MEDIAN, (3.0, 1.0, 2.0), 2.0),
        (Statistic.MEDIAN, (4.0, 1.0, 2.0, 3.0), 2.5),
        (Statistic.P99, tuple(float(n) for n in range(1, 201)), 198.0),
        (Statistic.P99, (1.0, 9.0, 2.0), 9.0),
        (Statistic.MEAN, (1.0, 2.0, 6.0), 3.0),
        (Statistic.RATE, (0.5, 4.0, 2.0, 1.0), 1.0),
        (Statistic.SUM, (1.0, 2.5), 3.5),
    ],
)
def test_statistics(statistic: Statistic, samples: tuple[float, ...], expected: float) -> None:
    assert reduce_samples(statistic, samples) == expected


@pytest.mark.parametrize("samples", [(), (1.0, math.nan), (math.inf,)])
def test_rejects_samples_that_have_no_number(samples: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"no samples|not finite"):
        reduce_samples(Statistic.MEAN, samples)


def _measure(
    *,
    better: Better = Better.HIGHER,
    aim: Aim | None = None,
    peer: str | None = "it",
    peers: tuple[float, ...] = (4.0,),
) -> Measure:
    return Measure(
        name="speed",
        unit="1/s",
        statistic=Statistic.MEDIAN,
        better=better,
        samples=(3.0,),
        peer=peer,
        peer_samples=peers,
        aim=aim,
    )


@pytest.mark.parametrize(
    ("better", "of", "bound", "is_met"),
    [
        (Better.HIGHER, Quantity.RATIO, 0.75, True),
        (Better.HIGHER, Quantity.RATIO, 0.76, False),
        (Better.LOWER, Quantity.RATIO, 0.75, True),
        (Better.LOWER, Quantity.RATIO, 0.74, False),
        (Better.HIGHER, Quantity.VALUE, 3.0, True),
        (Better.LOWER, Quantity.VALUE, 2.9, False),
    ],
)
def test_an_aim_is_met_at_its_bound_and_on_the_good_side(
    better: Better, of: Quantity, bound: float, is_met: bool
) -> None:
    assert _measure(better=better, aim=Aim(of=of, bound=bound)).is_met is is_met


def test_an_aim_about_a_ratio_says_nothing_without_a_peer() -> None:
    assert _measure(aim=Aim(of=Quantity.RATIO, bound=1.0), peer=None, peers=()).is_met is None


@pytest.mark.parametrize(("peer", "peers"), [(None, (1.0,)), ("it", ())])
def test_rejects_a_peer_without_samples_and_samples_without_a_peer(peer: str | None, peers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="without"):
        _measure(peer=peer, peers=peers)


def test_what_is_kept_is_what_is_computed_with() -> None:
    kept = Measure(name="n", unit="s", statistic=Statistic.MEAN, better=Better.LOWER, samples=(1 / 3, 2 / 3))
    assert kept.samples == (0.333333, 0.666667)
    assert kept.value == reduce_samples(Statistic.MEAN, kept.samples)
