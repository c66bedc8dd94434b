"""Every panel of the dashboard, in rows: title, unit, queries with their legends, and what a reader looks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ROWS", "Panel", "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart."""

    title: str
    about: str
    """What a reader looks for."""
    queries: tuple[tuple[str, str], ...]
    """PromQL and legend."""
    unit: str = "short"
    """One of Grafana's: s, short, bytes, reqps, bool, none."""
    is_number: bool = False
    """One large number instead of a chart over time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels about one subject."""

    title: str
    panels: tuple[Panel, ...]


def _quantiles(metric: str, label: str) -> tuple[tuple[str, str], ...]:
    by = f"le, {label}" if label else "le"
    legend = f"{{{{{label}}}}} " if label else ""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket[$__rate_interval])))",
            f"{legend}p{round(q * 100)}",
        )
        for q in (0.5, 0.99)
    )


_HEALTH: Final = Row(
    title="Health",
    panels=(
        Panel(
            title="Ready",
            about="1 for each process that can do its work.",
            queries=(("caimi_ready", "{{process}}"),),
            unit="bool",
        ),
        Panel(
            title="Stalled workflows",
            about="0. `caimi status` lists them with what and whom they wait for.",
            queries=(("sum(caimi_relay_workflows_stalled)", "stalled"),),
            is_number=True,
        ),
        Panel(
            title="Age of the last progress",
            about="Grows only while nothing is open.",
            queries=(
                ("caimi_relay_last_progress_seconds", "any progress"),
                ("caimi_relay_workflow_idle_seconds", "the one that waits for the longest"),
            ),
            unit="s",
        ),
        Panel(
            title="Processes",
            about="1 while a child of the supervisor runs; steps up are restarts.",
            queries=(
                ("caimi_supervisor_child_up", "{{child}} up"),
                ("caimi_supervisor_child_ready", "{{child}} ready"),
                ("caimi_supervisor_child_restarts", "{{child}} restarts"),
            ),
        ),
    ),
)
_WORKFLOWS: Final = Row(
    title="Workflows",
    panels=(
        Panel(
            title="Open workflows",
            about="Publications, requests and other calls under way.",
            queries=(("sum by (kind) (caimi_relay_workflows_open)", "{{kind}}"),),
        ),
        Panel(
            title="Undecided publications by home",
            about="A number that stays is stuck.",
            queries=(("caimi_relay_publications_undecided", "{{lane}}"),),
        ),
        Panel(
            title="Undelivered events",
            about="The lag, and what is certified and not final at its destination.",
            queries=(
                ("caimi_relay_undelivered_events", "{{source}} to {{destination}}"),
                ("caimi_relay_lag_events", "{{source}} to {{destination}}, without a certificate"),
            ),
        ),
        Panel(
            title="Age of the oldest undelivered run",
            about="Under a few blocks of the destination.",
            queries=(("caimi_relay_undelivered_seconds", "{{source}} to {{destination}}"),),
            unit="s",
        ),
        Panel(
            title="Durable steps",
            about="Per second and process: what is being done.",
            queries=(("sum by (process, step) (rate(caimi_steps_total[$__rate_interval]))", "{{process}} {{step}}"),),
            unit="ops",
        ),
    ),
)
_LANES: Final = Row(
    title="Lanes",
    panels=(
        Panel(
            title="Height",
            about="All processes see the same tip.",
            queries=(
                ("caimi_lane_height", "{{process}} {{lane}}"),
                ("caimi_lane_final_height", "{{process}} {{lane}} final"),
            ),
        ),
        Panel(
            title="Events",
            about="All processes have read the same events.",
            queries=(("caimi_lane_last_sequence", "{{process}} {{lane}}"),),
        ),
        Panel(
            title="Time since a lane was read",
            about="Below a second.",
            queries=(("caimi_lane_read_age_seconds", "{{process}} {{lane}}"),),
            unit="s",
        ),
        Panel(
            title="Clock of the process minus that of the lane",
            about="A ledger without traffic stands still; else within seconds.",
            queries=(("caimi_lane_clock_offset_seconds", "{{process}} {{lane}}"),),
            unit="s",
        ),
    ),
)
_CERTIFICATES: Final = Row(
    title="Certificates",
    panels=(
        Panel(
            title="Signature latency by validator",
            about="One line above the others is a validator that slows all.",
            queries=_quantiles("caimi_relay_signature_seconds", "validator"),
            unit="s",
        ),
        Panel(
            title="Certificate latency",
            about="Time to a quorum.",
            queries=_quantiles("caimi_relay_certificate_seconds", "source"),
            unit="s",
        ),
        Panel(
            title="Answers of validators",
            about="NotYet is waiting for finality; other names are refusals.",
            queries=(
                (
                    "sum by (validator, answer) (rate(caimi_relay_validator_answers_total[$__rate_interval]))",
                    "{{validator}} {{answer}}",
                ),
                ("increase(caimi_relay_validator_dissents_total[1h])", "{{validator}} dissents"),
                ("sum by (part) (rate(caimi_relay_not_yet_total[$__rate_interval]))", "{{part}} waits for finality"),
            ),
        ),
        Panel(
            title="Events per certified call",
            about="Grows with the load.",
            queries=_quantiles("caimi_relay_run_events", "destination"),
        ),
    ),
)
_SENDING: Final = Row(
    title="Sending",
    panels=(
        Panel(
            title="Calls by state",
            about="queued and uncertified wait; bound are in a transaction.",
            queries=(
                ('caimi_relay_calls{state!~"done|elsewhere|split"}', "{{lane}} {{state}}"),
                ("caimi_relay_transactions_in_flight", "{{lane}} transactions in flight"),
            ),
        ),
        Panel(
            title="Transactions",
            about="Per second by the state they came into; and those outbid.",
            queries=(
                ("sum by (lane, state) (rate(caimi_relay_transactions_total[$__rate_interval]))", "{{lane}} {{state}}"),
                ("increase(caimi_relay_transaction_replacements_total[15m])", "{{lane}} replaced in 15 min"),
            ),
        ),
        Panel(
            title="Time from signing to the final block",
            about="By the finality rule of the lane.",
            queries=_quantiles("caimi_relay_transaction_seconds", "lane"),
            unit="s",
        ),
        Panel(
            title="Calls per transaction",
            about="Batch sizes.",
            queries=_quantiles("caimi_relay_batch_calls", "lane"),
        ),
        Panel(
            title="Balance of the paying account",
            about="In the chain's smallest unit; Fabric has none.",
            queries=(("caimi_relay_sender_balance", "{{lane}}"), ("caimi_relay_sender_trouble", "{{lane}} trouble")),
        ),
        Panel(
            title="Failures",
            about="Refusals by class, and turns that an error ended.",
            queries=(
                (
                    "sum by (lane, refusal, next) (increase(caimi_relay_call_failures_total[5m]))",
                    "{{lane}} {{refusal}}, {{next}}",
                ),
                ("sum by (part, error) (increase(caimi_relay_turns_failed_total[5m]))", "{{part}} {{error}}"),
            ),
        ),
    ),
)
_VALIDATORS: Final = Row(
    title="Validators",
    panels=(
        Panel(
            title="Condition of lanes",
            about="following; halted needs a decision of the validators.",
            queries=(("caimi_validator_lane_condition == 1", "{{process}} {{lane}} {{condition}}"),),
        ),
        Panel(
            title="Checkpoints",
            about="Signed and refused per second.",
            queries=(
                (
                    "sum by (process, lane) (rate(caimi_validator_checkpoints_signed_total[$__rate_interval]))",
                    "{{process}} {{lane}} signed",
                ),
                (
                    "sum by (process, cause) (rate(caimi_validator_checkpoints_refused_total[$__rate_interval]))",
                    "{{process}} {{cause}}",
                ),
                ("increase(caimi_validator_finality_alarms_total[1h])", "{{process}} {{lane}} alarms"),
            ),
        ),
        Panel(
            title="Time to check and sign",
            about="Mostly the chain's reads.",
            queries=_quantiles("caimi_validator_signing_seconds", "process"),
            unit="s",
        ),
        Panel(
            title="Key releases",
            about="By result, with the time of one; and whether the share is there.",
            queries=(
                ("sum by (result) (increase(caimi_validator_releases_total[5m]))", "{{result}}"),
                *_quantiles("caimi_validator_release_seconds", ""),
                ("caimi_validator_has_group_key", "{{process}} has a share"),
            ),
        ),
    ),
)
_HOST: Final = Row(
    title="Host (UNATTESTED)",
    panels=(
        Panel(
            title="Requests",
            about="Waiting and busy, and by state of the store.",
            queries=(
                ("caimi_host_requests_waiting", "waiting"),
                ("caimi_host_requests_busy", "busy"),
                ("caimi_host_requests", "{{state}}"),
                ("sum by (error, next) (increase(caimi_host_request_failures_total[5m]))", "{{error}}, {{next}}"),
            ),
        ),
        Panel(
            title="Direct calls",
            about="By result, and those that are here.",
            queries=(
                ("sum by (result) (rate(caimi_host_direct_calls_total[$__rate_interval]))", "{{result}}"),
                ("caimi_host_direct_in_flight", "in flight"),
            ),
        ),
        Panel(
            title="Latency",
            about="Of direct calls, and of one run in the runner.",
            queries=(
                *_quantiles("caimi_host_direct_seconds", ""),
                *((query, f"runner {legend}") for query, legend in _quantiles("caimi_host_inference_seconds", "")),
            ),
            unit="s",
        ),
        Panel(
            title="Requests per run",
            about="Batch sizes.",
            queries=_quantiles("caimi_host_batch_requests", ""),
        ),
        Panel(
            title="Lease cache",
            about="Lookups by what was missing; what is left of leases and keys.",
            queries=(
                ("sum by (found) (rate(caimi_host_lease_lookups_total[$__rate_interval]))", "{{found}}"),
                ("caimi_host_leases", "leases"),
                ("caimi_host_lease_calls_left", "calls left"),
                ("caimi_host_lease_seconds_left", "seconds left"),
                ("caimi_host_keys_seconds_left", "seconds left of the host's keys"),
            ),
        ),
        Panel(
            title="Loading a model",
            about="Time of each stage.",
            queries=_quantiles("caimi_host_load_seconds", "stage"),
            unit="s",
        ),
    ),
)
_STORE: Final = Row(
    title="Content store and processes",
    panels=(
        Panel(
            title="Content calls",
            about="By result.",
            queries=(
                ("sum by (call, result) (rate(caimi_content_requests_total[$__rate_interval]))", "{{call}} {{result}}"),
            ),
        ),
        Panel(
            title="Content bytes",
            about="In and out.",
            queries=(("sum by (direction) (rate(caimi_content_bytes_total[$__rate_interval]))", "{{direction}}"),),
            unit="Bps",
        ),
        Panel(
            title="Running since",
            about="Falls when a process was started again; and numbers that were dropped.",
            queries=(
                ("time() - caimi_start_time_seconds", "{{process}}"),
                ("increase(caimi_metric_series_refused_total[1h])", "{{process}} {{metric}} dropped"),
            ),
            unit="s",
        ),
        Panel(
            title="Version",
            about="One.",
            queries=(("count by (version) (caimi_build_info)", "{{version}}"),),
        ),
    ),
)
ROWS: Final = (_HEALTH, _WORKFLOWS, _LANES, _CERTIFICATES, _SENDING, _VALIDATORS, _HOST, _STORE)
