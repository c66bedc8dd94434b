"""What a simulation is asked for, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from caimi.apps.simulation.fault_kinds import FaultKind
from caimi.protocol.audit import Finding
from caimi.simulators.actors import Trace

__all__ = ["Plan", "Result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to simulate. The defaults are the protocol; the switches at the end are what it must not be."""

    n: int = 4
    f: int = 1
    publications: int = 5
    batches: int = 1
    """In seeds without inference, beside the publications."""
    relays: int = 2
    inference_every: int = 4
    """Every so many seeds there are key holders, hosts and consumers too; 1 for all seeds, 0 for none."""
    jobs: int = 6
    """Answers that consumers want, in a seed with hosts."""
    pauses: float = 0.3
    """Probability that operators pause a registry, and that they do so once more."""
    revokes: float = 0.12
    """Probability that a publisher takes back a publication."""
    drops: float = 0.2
    """Probability that operators drop a lane that stands still; else they resume it."""
    takes_back: bool = True
    """Whether a chain may take back final blocks, against what every lane assumes (spec 35 §3)."""
    ambushes: int = 8
    """Named steps at which a fault waits, beside those that are seldom reached."""
    direct_jobs: int = 4
    """Answers that consumers want without a ledger, in a seed with hosts."""
    calm_at: float = 90.0
    """Virtual second after which no fault happens any more."""
    end_at: float = 420.0
    """Virtual second by which all must have ended."""
    mirrors_have_timers: bool = False
    """PLANTED FAULT: a mirror aborts by itself once the deadline has passed (as the paper's refund on timeout)."""
    hosts_mix_up_outputs: bool = False
    """PLANTED FAULT: a host answers with what the model gave for another request."""

    def turn(self, seed: int) -> int:
        """The place of that seed among those of its sort, with hosts or without."""
        with_hosts = 0 if self.inference_every < 1 else -(-seed // self.inference_every)
        return with_hosts if self.has_inference(seed) else seed - with_hosts

    def has_inference(self, seed: int) -> bool:
        """Whether that seed has key holders, hosts and consumers."""
        return self.inference_every > 0 and seed % self.inference_every == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run showed."""

    seed: int
    findings: tuple[Finding, ...]
    states: dict[str, dict[str, str]]
    """By ledger, of each publication."""
    requests: dict[str, dict[str, str]]
    """By ledger, of each inference request there: ANSWERED, or the state that the host which could read it gives it."""
    direct: dict[str, int]
    """How many direct calls were ANSWERED, and how often which error was the answer; empty without hosts."""
    struck: frozenset[tuple[FaultKind, str]]
    """Faults that struck at a named step, and that step."""
    trace: Trace = field(repr=False)
