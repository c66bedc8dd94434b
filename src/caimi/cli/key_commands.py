"""`caimi keys`: how the validators' key came to be, from the ledger, and how each validator stands (spec 41)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from caimi.sdk.connections import Connections
    from caimi.sdk.key_audit import AuditedAttempt
    from caimi.sdk.network_keys import HeldKey

__all__ = ["keys_app"]

keys_app = typer.Typer(
    help="How the validators' key came to be, and who holds shares of it.", no_args_is_help=True, rich_markup_mode=None
)
_NO_KEY: Final = 3


@keys_app.command("audit")
def audit(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Verify from the ledger alone how the key was made: who signed what, who dealt, and who is to blame for what.

    Asks no validator: reads the Fabric blocks, verifies every signature and proof, and computes the key again.
    Exit code 0 if it is the key of network.json, 2 if it is another, 3 if there is none yet.
    """
    from caimi.sdk.network_keys import audit_network

    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        connections = _open(home)
        try:
            attempts = await audit_network(connections)
        finally:
            await connections.close()
        lines = [line for attempt in attempts for line in _attempt_lines(attempt)]
        rows = [_attempt_json(attempt) for attempt in attempts]
        terminal.result({"epoch": int(connections.network.epoch), "attempts": rows}, *lines)
        if all(attempt.key is None for attempt in attempts):
            raise typer.Exit(_NO_KEY)

    run_command(terminal, act)


@keys_app.command("status")
def key_status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show which validators hold a share of the key, and what those wait for that do not."""
    from caimi.sdk.network_keys import held_keys

    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        connections = _open(home)
        try:
            held = await held_keys(connections)
        finally:
            await connections.close()
        terminal.result({"validators": [_held_json(one) for one in held]}, *map(_held_line, held))

    run_command(terminal, act)


def _open(home: Path | None) -> Connections:
    from caimi.apps.devnet.running import check_running
    from caimi.sdk.connections import Connections
    from caimi.sdk.network import default_home, read_network

    folder = home or default_home()
    network = read_network(folder)
    check_running(folder)
    return Connections(network, token=None)


def _attempt_json(attempt: AuditedAttempt) -> dict[str, Any]:
    from caimi.sdk.json_fields import hex_text

    return {
        "attempt": attempt.attempt,
        "outcome": attempt.outcome.value,
        "phase": attempt.phase.name.lower(),
        "waits_for": list(attempt.waits_for),
        "failure": None if attempt.failure is None else type(attempt.failure).__name__,
        "messages": attempt.messages,
        "receivers": list(attempt.receivers),
        "qualified": list(attempt.qualified),
        "faults": [
            {
                "seat": fault.culprit,
                "error": type(fault).__name__,
                "certainty": fault.certainty.value,
                "text": str(fault),
            }
            for fault in attempt.faults
        ],
        "transcript": hex_text(attempt.transcript),
        "group_key": None if attempt.key is None else hex_text(attempt.key.group_key.encode()),
    }


def _attempt_lines(attempt: AuditedAttempt) -> list[str]:
    lines = [f"attempt {attempt.attempt}: {attempt.outcome.value}, {attempt.messages} messages, all signed"]
    if attempt.failure is not None:
        lines.append(f"  failed      {attempt.failure}")
    if attempt.waits_for:
        lines.append(f"  open        {attempt.phase.name.lower()}, waits for {_seats(attempt.waits_for)}")
    if attempt.key is not None:
        lines += [
            f"  group key   0x{attempt.key.group_key.encode().hex()}, {attempt.key.threshold} shares open",
            f"  dealt by    {_seats(attempt.qualified)}",
            f"  shares to   {_seats(attempt.receivers)}",
            f"  transcript  0x{attempt.transcript.hex()}",
        ]
    return lines + [f"  {fault.certainty.value:<11} {type(fault).__name__}: {fault}" for fault in attempt.faults]


def _seats(seats: tuple[int, ...]) -> str:
    return ", ".join(map(str, seats))


def _held_json(one: HeldKey) -> dict[str, Any]:
    from caimi.sdk.json_fields import hex_text

    return {
        "index": one.index,
        "answers": one.answers,
        "attempt": one.attempt,
        "phase": one.phase,
        "waits_for": list(one.waits_for),
        "fault": one.fault,
        "group_key": None if one.group_key is None else hex_text(one.group_key),
    }


def _held_line(one: HeldKey) -> str:
    if not one.answers:
        return f"validator {one.index}  does not answer"
    told = "holds its share" if one.group_key is not None else f"attempt {one.attempt}, {one.phase}"
    waits = f", waits for {_seats(one.waits_for)}" if one.waits_for else ""
    return f"validator {one.index}  {told}{waits}" + (f"; {one.fault}" if one.fault else "")
