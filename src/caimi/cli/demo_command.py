"""`caimi demo`: everything once, on a network of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from caimi.cli.output import JsonOption, Terminal, run_command

__all__ = ["demo"]


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the network running and its files in place.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish two models and an abort on a network of its own, infer on each ledger, and show every step.

    Starts real ledgers in a temporary folder, publishes a trained digits classifier (home Fabric, mirror Ethereum), a
    ResNet-50 with GENERATED weights (home Ethereum, mirror Fabric) and one publication that must abort, asks both
    models on both ledgers, compares the answers with onnxruntime here and every outcome with what has to come out,
    verifies the receipts, and removes all processes and files. Exit code 2 if anything differs.
    """
    from caimi.apps.demo.run import DemoOutcome, run_demo
    from caimi.cli.waterfall import short_lane, waterfall

    terminal, outcome = Terminal(as_json=as_json), DemoOutcome()

    async def act() -> None:
        await run_demo(outcome, keep=keep, tell=lambda phase, text: terminal.say(f"{phase:<8} {text}"))

    run_command(terminal, act)
    report = outcome.report
    if not as_json:
        for trace in outcome.traces:
            for line in waterfall(trace):
                typer.echo(line)
            typer.echo("")
    lines = [
        f"{'as expected' if p.is_as_expected else 'DIFFERS':<12} {p.name}: "
        + ", ".join(f"{short_lane(lane)} {state}" for lane, state in p.states.items())
        for p in report.publications
    ]
    lines.append("deposits balance" if report.balances_match else "DEPOSITS DO NOT BALANCE")
    for model in report.models:
        accuracy = "" if model.accuracy is None else f", accuracy {model.accuracy:.1%} on held-out images"
        lines.append(f"{'matches' if model.matches_local else 'DIFFERS':<12} {model.name}{accuracy}")
    lines += [
        f"{'holds' if r.verified else 'BROKEN':<12} receipt 0x{r.id.hex()} of a request on {r.requested_on}"
        for r in report.receipts
    ]
    lines.append("Hosts are UNATTESTED: whoever runs a host can read the models that it serves.")
    terminal.result(report.to_json(), *lines)
    if report.home:
        terminal.hint(f"Kept: `caimi status --home {report.home}`, and later `caimi down --home {report.home} --wipe`")
    if not report.is_as_expected:
        raise typer.Exit(2)
