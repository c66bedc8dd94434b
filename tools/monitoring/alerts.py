"""Every alert: when, for how long, how urgent, and the sentence that whoever is on duty reads first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ALERTS", "Alert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule; its runbook is docs/runbooks/NAME.md."""

    name: str
    expr: str
    """PromQL over `caimi.ports.metrics`, and Prometheus' own `up`."""
    lasting: str
    """How long it has to hold: Prometheus' `for`."""
    severity: str
    """page: somebody is waited for or proof of a fault exists; ticket: within a day."""
    summary: str
    """One sentence with the alert's labels."""


ALERTS: Final = (
    Alert(
        name="ProcessDown",
        expr='up{job="caimi"} == 0 or caimi_supervisor_child_up == 0',
        lasting="1m",
        severity="page",
        summary="{{ $labels.process }} {{ $labels.child }} does not run",
    ),
    Alert(
        name="ProcessNotReady",
        expr="caimi_ready == 0",
        lasting="2m",
        severity="page",
        summary="{{ $labels.process }} lives and cannot do its work",
    ),
    Alert(
        name="ProcessRestarts",
        expr="delta(caimi_supervisor_child_restarts[15m]) > 3",
        lasting="0m",
        severity="ticket",
        summary="{{ $labels.child }} ends again and again by itself",
    ),
    Alert(
        name="WorkflowStalled",
        expr="caimi_relay_workflows_stalled > 0",
        lasting="3m",
        severity="page",
        summary="{{ $value }} workflows make no progress",
    ),
    Alert(
        name="NoProgress",
        expr="caimi_relay_last_progress_seconds > 120 "
        "and on (instance) sum by (instance) (caimi_relay_workflows_open) > 0",
        lasting="1m",
        severity="page",
        summary="nothing at all progresses, and something is open",
    ),
    Alert(
        name="Undelivered",
        expr="caimi_relay_undelivered_seconds > 120",
        lasting="1m",
        severity="page",
        summary="certified events of {{ $labels.source }} do not arrive at {{ $labels.destination }}",
    ),
    Alert(
        name="LagGrows",
        expr="caimi_relay_lag_events > 100 and delta(caimi_relay_lag_events[10m]) > 0",
        lasting="5m",
        severity="ticket",
        summary="events of {{ $labels.source }} come quicker than certificates for {{ $labels.destination }}",
    ),
    Alert(
        name="LaneNotRead",
        expr="caimi_lane_read_age_seconds > 30",
        lasting="1m",
        severity="page",
        summary="{{ $labels.process }} cannot read {{ $labels.lane }}",
    ),
    Alert(
        name="LaneHalted",
        expr='caimi_validator_lane_condition{condition="halted"} == 1',
        lasting="0m",
        severity="page",
        summary="{{ $labels.process }} has halted {{ $labels.lane }}: a final block was replaced",
    ),
    Alert(
        name="FinalityAlarm",
        expr="increase(caimi_validator_finality_alarms_total[10m]) > 0",
        lasting="0m",
        severity="page",
        summary="{{ $labels.lane }} contradicts what {{ $labels.process }} has signed, or is below it",
    ),
    Alert(
        name="ClockOff",
        expr="abs(caimi_lane_clock_offset_seconds) > 60 and changes(caimi_lane_height[5m]) > 0",
        lasting="2m",
        severity="ticket",
        summary="the clocks of {{ $labels.process }} and {{ $labels.lane }} differ by {{ $value }} s",
    ),
    Alert(
        name="ValidatorUnhelpful",
        expr='sum by (validator) (increase(caimi_relay_validator_answers_total{answer!~"signed|NotYet"}[10m])) > 10',
        lasting="0m",
        severity="ticket",
        summary="validator {{ $labels.validator }} does not sign what it is asked for",
    ),
    Alert(
        name="ValidatorDissents",
        expr="increase(caimi_relay_validator_dissents_total[1h]) > 0",
        lasting="0m",
        severity="page",
        summary="validator {{ $labels.validator }} signed another checkpoint than the quorum",
    ),
    Alert(
        name="SignaturesSlow",
        expr="histogram_quantile(0.9, sum by (le, validator) (rate(caimi_relay_signature_seconds_bucket[10m]))) > 2",
        lasting="10m",
        severity="ticket",
        summary="validator {{ $labels.validator }} signs slowly",
    ),
    Alert(
        name="GroupKeyMissing",
        expr="caimi_validator_has_group_key == 0",
        lasting="10m",
        severity="page",
        summary="{{ $labels.process }} holds no share of the group key",
    ),
    Alert(
        name="SenderTrouble",
        expr="caimi_relay_sender_trouble == 1",
        lasting="2m",
        severity="page",
        summary="the relay cannot send on {{ $labels.lane }}",
    ),
    Alert(
        name="SenderBalanceLow",
        expr="caimi_relay_sender_balance < 2e17",
        lasting="5m",
        severity="ticket",
        summary="the account that pays on {{ $labels.lane }} has {{ $value }} left",
    ),
    Alert(
        name="TransactionsReplaced",
        expr="increase(caimi_relay_transaction_replacements_total[15m]) > 10",
        lasting="0m",
        severity="ticket",
        summary="transactions on {{ $labels.lane }} are included only at higher fees",
    ),
    Alert(
        name="CallsRefused",
        expr='increase(caimi_relay_call_failures_total{next="refused"}[15m]) > 5',
        lasting="0m",
        severity="ticket",
        summary="{{ $labels.lane }} refuses calls for good with {{ $labels.refusal }}",
    ),
    Alert(
        name="HostFails",
        expr='sum by (error) (increase(caimi_host_request_failures_total{error!="InputMismatch"}[15m])) > 5',
        lasting="0m",
        severity="ticket",
        summary="the host fails to answer with {{ $labels.error }}",
    ),
    Alert(
        name="HostFull",
        expr='sum(rate(caimi_host_direct_calls_total{result=~"HostBusy|DeadlineUnmeetable"}[5m])) '
        "> 0.2 * sum(rate(caimi_host_direct_calls_total[5m]))",
        lasting="5m",
        severity="ticket",
        summary="a fifth of the direct calls is sent away",
    ),
    Alert(
        name="HostKeysEnd",
        expr="caimi_host_keys_seconds_left < 3600",
        lasting="0m",
        severity="ticket",
        summary="the keys of this start of the host end in {{ $value }} s",
    ),
    Alert(
        name="SeriesRefused",
        expr="increase(caimi_metric_series_refused_total[1h]) > 0",
        lasting="0m",
        severity="ticket",
        summary="{{ $labels.metric }} of {{ $labels.process }} has too many label values: numbers are missing",
    ),
)
