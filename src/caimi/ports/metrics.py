"""Every number that CAIMI's processes show: its name, what it means, its labels. This is the one table of them.

docs/operations/metrics.md is made from it; dashboards, alert rules and runbooks may name nothing else. Labels are
lanes, validators, states and names of error classes, never ids: how many series there are is bounded by the
deployment, not by the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "METRICS",
    "Counter",
    "Gauge",
    "Histogram",
    "Metric",
    "MetricMisused",
    "Series",
]

PREFIX: Final = "caimi_"
Series = tuple[str, ...]
"""The values of a metric's labels, in the order of its `labels`."""


class MetricMisused(ValueError):
    """The labels are not those of the metric's declaration: a defect of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """One number, or one number for each combination of label values."""

    name: str
    """Without the prefix `caimi_` and, for counters, without the suffix `_total`; a base unit ends it."""
    help: str
    """One sentence."""
    labels: tuple[str, ...] = ()
    most_series: int = 256
    """How many combinations of label values are kept; what comes later is counted as refused."""

    @property
    def full_name(self) -> str:
        """As Prometheus sees it."""
        return PREFIX + self.name

    def series(self, labels: Mapping[str, str]) -> Series:
        """The label values in order.

        Raises:
            MetricMisused: Other labels than the declared ones.
        """
        if set(labels) != set(self.labels):
            raise MetricMisused(f"{self.name} has the labels {self.labels}, got {tuple(labels)}")
        return tuple(labels[name] for name in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gauge(Metric):
    """A number as it is now."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counter(Metric):
    """How often something happened since the process began."""

    @property
    def full_name(self) -> str:
        """As Prometheus sees it."""
        # Not by `super()`: a slotted dataclass is another class than the one that the body was written in.
        return f"{PREFIX}{self.name}_total"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram(Metric):
    """How many observations were at most so large."""

    buckets: tuple[float, ...]
    """Upper bounds, ascending, without infinity."""
    most_series: int = field(default=64)


_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_COUNTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

# --- every process

BUILD: Final = Gauge(name="build_info", help="Always 1; the label tells the version.", labels=("version",))
STARTED: Final = Gauge(name="start_time_seconds", help="When the process began, Unix time by its clock.")
READY: Final = Gauge(name="ready", help="1 if /readyz says that the process can do its work, else 0.")
STEPS: Final = Counter(name="steps", help="Durable steps of the process by name.", labels=("step",))
REFUSED_SERIES: Final = Counter(
    name="metric_series_refused",
    help="Observations that were dropped because the metric has too many label values.",
    labels=("metric",),
)

# --- lanes, in relays, validators and hosts

LANE_HEIGHT: Final = Gauge(name="lane_height", help="Height of the lane's tip when it was last read.", labels=("lane",))
LANE_FINAL_HEIGHT: Final = Gauge(name="lane_final_height", help="Highest final block of the lane.", labels=("lane",))
LANE_SEQUENCE: Final = Gauge(
    name="lane_last_sequence", help="Sequence number of the last final event that was read.", labels=("lane",)
)
LANE_READ_AGE: Final = Gauge(
    name="lane_read_age_seconds", help="Time since the lane was last read without an error.", labels=("lane",)
)
LANE_CLOCK_OFFSET: Final = Gauge(
    name="lane_clock_offset_seconds",
    help="The process's clock minus the clock of the lane's tip; a ledger without traffic may stand still.",
    labels=("lane",),
)

# --- relay: workflows

WORKFLOWS_OPEN: Final = Gauge(
    name="relay_workflows_open", help="Publications, requests and other calls that are under way.", labels=("kind",)
)
WORKFLOWS_STALLED: Final = Gauge(
    name="relay_workflows_stalled", help="Open workflows that made no progress for longer than the relay's bound."
)
WORKFLOW_IDLE: Final = Gauge(
    name="relay_workflow_idle_seconds",
    help="Time without progress of the open workflow that waits for the longest; 0 if none is open.",
)
LAST_PROGRESS: Final = Gauge(
    name="relay_last_progress_seconds", help="Time since any workflow progressed, or since the start."
)
UNDECIDED: Final = Gauge(
    name="relay_publications_undecided", help="Publications whose home has not decided finally.", labels=("lane",)
)
_PAIR: Final = ("source", "destination")
LAG: Final = Gauge(
    name="relay_lag_events",
    help="Final events of the source that the cursor of the destination has not passed: they await a certificate.",
    labels=_PAIR,
)
UNDELIVERED: Final = Gauge(
    name="relay_undelivered_events",
    help="The lag, and the certified events that are not known to be final at the destination.",
    labels=_PAIR,
)
UNDELIVERED_AGE: Final = Gauge(
    name="relay_undelivered_seconds",
    help="Time since the oldest certified run was queued that is not final at the destination; 0 if there is none.",
    labels=_PAIR,
)

# --- relay: certificates

SIGNATURE_SECONDS: Final = Histogram(
    name="relay_signature_seconds",
    help="Time until a validator's sound signature of a range came back.",
    labels=("validator",),
    buckets=_QUICK,
)
CERTIFICATE_SECONDS: Final = Histogram(
    name="relay_certificate_seconds",
    help="Time until a quorum's signatures of a range were there.",
    labels=("source",),
    buckets=_QUICK,
)
VALIDATOR_ANSWERS: Final = Counter(
    name="relay_validator_answers",
    help="Answers of validators to a range: signed, or the name of what they said instead.",
    labels=("validator", "answer"),
)
DISSENTS: Final = Counter(
    name="relay_validator_dissents",
    help="Signatures under another checkpoint than the quorum's: proof against their validator.",
    labels=("validator",),
)
RUN_EVENTS: Final = Histogram(
    name="relay_run_events", help="Events that one certified call carries.", labels=_PAIR, buckets=_COUNTS
)

# --- relay: sending

CALLS: Final = Gauge(name="relay_calls", help="Calls of the outbox by state.", labels=("lane", "state"))
IN_FLIGHT: Final = Gauge(
    name="relay_transactions_in_flight", help="Transactions of this relay that are not final.", labels=("lane",)
)
TRANSACTIONS: Final = Counter(
    name="relay_transactions", help="Transactions that came into a state.", labels=("lane", "state")
)
TRANSACTION_SECONDS: Final = Histogram(
    name="relay_transaction_seconds",
    help="Time from the signing of a transaction to its final block.",
    labels=("lane",),
    buckets=_SLOW,
)
BATCH_CALLS: Final = Histogram(
    name="relay_batch_calls", help="Calls that one transaction holds.", labels=("lane",), buckets=_COUNTS
)
CALL_FAILURES: Final = Counter(
    name="relay_call_failures",
    help="Attempts that failed, by the refusal's class and by what follows: retried or refused for good.",
    labels=("lane", "refusal", "next"),
)
REPLACEMENTS: Final = Counter(
    name="relay_transaction_replacements",
    help="Transactions that were replaced at a higher fee because nobody included them.",
    labels=("lane",),
)
SENDER_BALANCE: Final = Gauge(
    name="relay_sender_balance",
    help="What the account that pays for transactions has, in the chain's smallest unit.",
    labels=("lane",),
)
SENDER_TROUBLE: Final = Gauge(
    name="relay_sender_trouble", help="1 while the ledger or its node says something against sending.", labels=("lane",)
)
TURNS_FAILED: Final = Counter(
    name="relay_turns_failed", help="Turns of a part of the relay that an error ended.", labels=("part", "error")
)
NOT_YET: Final = Counter(
    name="relay_not_yet", help="Turns that ended because a range is not final for enough validators.", labels=("part",)
)

# --- validator

LANE_CONDITION: Final = Gauge(
    name="validator_lane_condition",
    help="1 for the condition in which the lane is, 0 for the others.",
    labels=("lane", "condition"),
)
FINALITY_ALARMS: Final = Counter(
    name="validator_finality_alarms",
    help="Times that a chain contradicted, or was below, what this validator had signed.",
    labels=("lane",),
)
CHECKPOINTS_SIGNED: Final = Counter(name="validator_checkpoints_signed", help="Ranges signed.", labels=("lane",))
CHECKPOINTS_REFUSED: Final = Counter(
    name="validator_checkpoints_refused",
    help="Ranges not signed: by the lane's condition if it abstains, else by the name of the answer.",
    labels=("lane", "cause"),
)
SIGNING_SECONDS: Final = Histogram(
    name="validator_signing_seconds",
    help="Time to check a range on the chain and sign it.",
    labels=("lane",),
    buckets=_QUICK,
)
GROUP_KEY: Final = Gauge(name="validator_has_group_key", help="1 if the epoch's key share is stored here, else 0.")
RELEASES: Final = Counter(
    name="validator_releases",
    help="Requests for a partial, by result: released, or the name of the refusal.",
    labels=("result",),
)
RELEASE_SECONDS: Final = Histogram(
    name="validator_release_seconds", help="Time to check a lease and put the partial on the board.", buckets=_QUICK
)

# --- host

HOST_REQUESTS: Final = Gauge(name="host_requests", help="Requests of the host's store by state.", labels=("state",))
HOST_WAITING: Final = Gauge(name="host_requests_waiting", help="Open requests that nobody works on.")
HOST_BUSY: Final = Gauge(name="host_requests_busy", help="Requests that are being worked on.")
DIRECT_CALLS: Final = Counter(
    name="host_direct_calls", help="Direct calls by result: answered, or the name of the refusal.", labels=("result",)
)
DIRECT_SECONDS: Final = Histogram(
    name="host_direct_seconds",
    help="Time of a direct call that was answered, from its bytes to its reply.",
    buckets=_QUICK,
)
DIRECT_IN_FLIGHT: Final = Gauge(name="host_direct_in_flight", help="Direct calls that wait or are being worked on.")
HOST_FAILURES: Final = Counter(
    name="host_request_failures",
    help="Attempts to answer that failed, by error and by what follows: retried or ended.",
    labels=("error", "next"),
)
HOST_BATCH: Final = Histogram(
    name="host_batch_requests", help="Requests that one run of a model answers.", buckets=_COUNTS
)
INFERENCE_SECONDS: Final = Histogram(
    name="host_inference_seconds", help="Time of one run of a model in its runner.", buckets=_QUICK
)
LOAD_SECONDS: Final = Histogram(
    name="host_load_seconds",
    help="Time of each stage of loading a model: lease, key, open (read and decrypt), start (the runner).",
    labels=("stage",),
    buckets=_SLOW,
)
LEASE_LOOKUPS: Final = Counter(
    name="host_lease_lookups",
    help="Uses of a model by what was there: held, or what was missing first: model, lease, key.",
    labels=("found",),
)
LEASES: Final = Gauge(name="host_leases", help="Leases held whose model is loaded.")
LEASE_CALLS: Final = Gauge(
    name="host_lease_calls_left", help="Calls left under the lease that has the fewest; 0 without a lease."
)
LEASE_SECONDS: Final = Gauge(
    name="host_lease_seconds_left", help="Time left of the lease that ends first; 0 without a lease."
)
KEYS_SECONDS: Final = Gauge(name="host_keys_seconds_left", help="Time left of the keys of this start.")

# --- content store

CONTENT_REQUESTS: Final = Counter(
    name="content_requests", help="Calls of the content store by result: ok, or the error.", labels=("call", "result")
)
CONTENT_BYTES: Final = Counter(
    name="content_bytes", help="Bytes of blocks taken in and given out.", labels=("direction",)
)

# --- supervisor

CHILD_UP: Final = Gauge(name="supervisor_child_up", help="1 while the process runs, else 0.", labels=("child",))
CHILD_READY: Final = Gauge(
    name="supervisor_child_ready", help="1 if the process's /readyz said so when it was last asked.", labels=("child",)
)
CHILD_RESTARTS: Final = Gauge(
    name="supervisor_child_restarts",
    help="How often the process was started again after it had ended by itself.",
    labels=("child",),
)

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All of them, in the order of this file."""
