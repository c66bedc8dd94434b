"""Latency on real networks, computed from their rules of finality."""

from __future__ import annotations

from typing import Final

from benchmarks.finality import ETHEREUM, FABRIC, Case, LedgerRules, htlc_seconds, publication_seconds
from benchmarks.measure import Better, Measure, Statistic
from benchmarks.scenario import Findings, Scenario, Stage

__all__ = ["SCENARIOS"]


async def _computed(stage: Stage) -> Findings:
    stage.tell("computing; nothing is run")
    pairs = ((FABRIC, ETHEREUM), (ETHEREUM, FABRIC))
    return Findings(
        measures=tuple(_measure(home, mirror, case) for home, mirror in pairs for case in Case),
        conditions={
            "COMPUTED": "from the rules below, not measured; add the time of processes and lines, which publish_single"
            " measures",
            "Ethereum": "slots of 12 s, none missed, room in the next block; final at the end of the epoch after the"
            " next one, 65 to 96 slots after the block",
            "Fabric": "blocks after at most 2 s; what is committed is final",
            "peer": "hash time-locks with the same rules",
        },
    )


def _measure(home: LedgerRules, mirror: LedgerRules, case: Case) -> Measure:
    return Measure(
        name=f"home {home.name}, {case.value}",
        unit="s",
        statistic=Statistic.MEAN,
        better=Better.LOWER,
        samples=(publication_seconds(home, mirror, case),),
        peer="HTLC, computed",
        peer_samples=(htlc_seconds(home, mirror, case),),
    )


SCENARIOS: Final = (
    Scenario(
        name="publish_real_networks",
        summary="seconds of a publication on Fabric and the main network of Ethereum, COMPUTED from their rules",
        minutes=0.1,
        run=_computed,
    ),
)
"""Computed, not measured."""
