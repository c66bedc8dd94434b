"""`caimi doctor`: what is missing or broken, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from caimi.apps.doctor.findings import Report

__all__ = ["doctor"]


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for everything that is missing or broken, and say which command mends it. Changes nothing.

    Exit code 0 if nothing keeps a network from working, 4 if it heals by itself, 3 if something has to be done.
    """
    from caimi.apps.doctor.examine import examine
    from caimi.apps.doctor.machine import this_machine
    from caimi.sdk.network import default_home

    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        report = await examine(home or default_home(), this_machine())
        terminal.result(report.to_json(), *_shown(report))
        if report.exit_code:
            raise typer.Exit(report.exit_code)

    run_command(terminal, act)


def _shown(report: Report) -> list[str]:
    found = {finding.check for finding in report.findings}
    lines = [f"state    {report.home}", f"fine     {', '.join(name for name in report.checks if name not in found)}"]
    for finding in report.findings:
        lines += [
            "",
            f"{finding.severity.value.upper():<8} {finding.check}: {finding.text}",
            f"         {finding.mend}",
        ]
    return lines
