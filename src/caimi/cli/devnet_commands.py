"""`caimi up`, `down`, `status`, `fund`: the network on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from caimi.apps.devnet.progress import Step
    from caimi.apps.devnet.status import DevnetStatus

__all__ = ["down", "fund", "status", "up"]

_READY: Final = {True: "yes", False: "no", None: ""}


def up(
    home: HomeOption = None,
    foreground: Annotated[bool, typer.Option(help="Stay in the foreground and stop with Ctrl-C.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait until everything works.")] = 600,
    profile: Annotated[
        Literal["full", "light"] | None,
        typer.Option(help="Of a new network: full, or light with 1 raft orderer and 2 peers for small machines."),
    ] = None,
    storage: Annotated[
        Literal["embedded", "kubo"] | None,
        typer.Option(help="Of a new network: who keeps the blocks, the content store itself or a Kubo node."),
    ] = None,
    block_time_ms: Annotated[
        int | None,
        typer.Option(min=100, max=60_000, help="Of a new network: milliseconds between Ethereum's blocks (1000)."),
    ] = None,
    finality_depth: Annotated[
        int | None,
        typer.Option(min=1, max=1_000, help="Of a new network: how far below Ethereum's tip a block is final (2)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a network on this machine, or start it again.

    Real Hyperledger Fabric (4 orderers, 4 peers), an Ethereum development node, a content store, 4 validators, a relay
    and a host, each its own process, listening on the loopback only. All state is in one folder and is kept. What is
    said of a new network is chosen once, when it is made. A killed Ethereum node may lose its last block: keep the
    finality depth above 1.
    """
    from caimi.apps.devnet.background import follow_background, run_foreground, start_background
    from caimi.apps.devnet.folder import StateFolder, check_choice
    from caimi.apps.devnet.profiles import Choice
    from caimi.apps.devnet.progress import unfinished_step
    from caimi.apps.devnet.running import is_running
    from caimi.apps.devnet.status import read_status
    from caimi.sdk.network import default_home

    choice = Choice(profile=profile, storage=storage, block_time_ms=block_time_ms, finality_depth=finality_depth)
    resume = "it goes on in the background: `caimi up` waits for it again, `caimi down` stops it"
    terminal, folder = Terminal(as_json=as_json, resume=resume), home or default_home()

    def tell(step: Step) -> None:
        terminal.say(f"{step.name:<11} {step.detail}")

    async def act() -> None:
        if foreground:

            def ready() -> None:
                terminal.say("it is up; Ctrl-C stops it")

            await run_foreground(folder, choice=choice, tell=tell, ready=ready)
            terminal.result({"home": str(folder), "stopped": True}, f"The network of {folder} stopped.")
            return
        if is_running(folder):
            check_choice(StateFolder.at(folder), choice)
            if unfinished_step(StateFolder.at(folder).progress) is None:
                terminal.say("it runs already")
            else:
                terminal.say("it was started already")
                await follow_background(folder, tell=tell, timeout_s=timeout)
        else:
            await start_background(folder, tell=tell, timeout_s=timeout, choice=choice)
        found = await read_status(folder)
        terminal.result(
            found.to_json(),
            f"The network of {folder} is up: lanes {', '.join(found.lanes)}; hosts are UNATTESTED.",
            *(f"PROBLEM     {problem}" for problem in found.problems),
        )
        terminal.hint("Next: `caimi publish MODEL.onnx --name NAME --home fabric --mirror ethereum`, or `caimi status`")

    run_command(terminal, act)


def down(
    home: HomeOption = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove the state folder and everything in it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop the network on this machine; its state stays for the next `caimi up` unless it is wiped."""
    from caimi.apps.devnet.background import stop_background
    from caimi.apps.devnet.errors import NotConfirmed
    from caimi.apps.devnet.folder import StateFolder
    from caimi.apps.devnet.running import is_running
    from caimi.sdk.errors import NoNetwork
    from caimi.sdk.network import default_home

    resume = "it goes on stopping: `caimi down` waits for it again"
    terminal, folder = Terminal(as_json=as_json, resume=resume), home or default_home()
    state = StateFolder(folder)

    async def act() -> None:
        state.check_own()
        was_running = is_running(folder)
        if not was_running and not wipe and not state.exists():
            raise NoNetwork(f"there is no network in {folder}")
        # Asked before anything is stopped: whoever says no keeps all of it.
        wiped = wipe and folder.exists()
        if wiped and not yes and not (terminal.can_ask and _confirmed(f"Remove {folder} with all keys and ledgers?")):
            raise NotConfirmed(f"{folder} is left as it is")
        if was_running:
            await stop_background(folder)
        if wiped:
            state.wipe()
        told = "stopped" if was_running else "was not running"
        terminal.result(
            {"home": str(folder), "stopped": was_running, "wiped": wiped},
            f"The network of {folder} {told}{' and is wiped' if wiped else ''}.",
        )

    run_command(terminal, act)


def _confirmed(question: str) -> bool:
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every process and lane of the network, and what is wrong. Exit code 3 if something is."""
    from caimi.apps.devnet.status import read_status
    from caimi.sdk.network import default_home

    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        found = await read_status(home or default_home())
        terminal.result(found.to_json(), *_shown(found))
        if not found.is_healthy:
            raise typer.Exit(3)

    run_command(terminal, act)


def fund(
    account: Annotated[str, typer.Argument(help="Name of an account of the state folder, or its key file.")],
    lane: Annotated[str, typer.Option(help="Lane on which to fund it.")],
    amount: Annotated[
        int, typer.Option(min=1, max=2**127, help="In the smallest unit of the lane's test token.")
    ] = 1_000_000,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give test tokens to an account, in its balance at a registry. Only on a network of this machine."""
    from caimi.apps.devnet.faucet import fund_account
    from caimi.sdk.accounts import find_account
    from caimi.sdk.json_fields import hex_text
    from caimi.sdk.network import default_home, read_network

    terminal, folder = Terminal(as_json=as_json), home or default_home()

    async def act() -> None:
        read_network(folder)
        key = find_account(folder, account)
        balance = await fund_account(folder, lane, key, amount)
        terminal.result(
            {"account": hex_text(key.address), "lane": lane, "balance": str(balance)},
            f"{hex_text(key.address)} has {balance} on {lane}.",
        )

    run_command(terminal, act)


def _shown(found: DevnetStatus) -> list[str]:
    network = found.network
    n, genesis = len(network.validators), network.genesis
    lines = [
        f"network     0x{network.id.hex()}",
        f"state       {network.home}",
        f"validators  {n} of epoch {network.epoch}: f {genesis.f}, {network.q} certify, {genesis.t} decrypt",
        "group key   " + ("none yet" if network.group_key is None else f"0x{network.group_key.hex()}"),
        f"host        {found.host['attestation']}: whoever runs it can read the models that it serves"
        + (f"; {found.host['models']} loaded" if "models" in found.host else ""),
        f"made as     profile {network.profile}, storage {network.storage}",
        *(f"note        {note}" for note in found.notes),
        "",
        "lane        height   final  events  calls waiting  validators",
    ]
    for name, lane in found.lanes.items():
        waiting = sum(int(v) for k, v in lane.get("calls", {}).items() if k not in ("done", "refused", "split"))
        conditions = " ".join(f"{i}:{v['condition']}" for i, v in sorted(lane["validators"].items()))
        lines.append(
            f"{name:<10} {lane.get('height', '?'):>7} {lane.get('final_height', '?'):>7} {lane.get('events', '?'):>7} "
            f"{waiting:>14}  {conditions}"
        )
        lag = ", ".join(f"{n} events behind at {to}" for to, n in lane.get("lag", {}).items() if n)
        if lag:
            lines.append(f"{'':<10} {lag}")
    lines += ["", "process            pid  restarts  memory  ready"]
    for process in found.processes:
        memory = "" if process.pss_mb is None else f"{process.pss_mb:.0f} MB"
        lines.append(
            f"{process.name:<16} {process.pid or 'down':>5} {process.restarts:>9}  {memory:>6}  {_READY[process.ready]}"
        )
    lines += ["", *(_stalled_line(workflow) for workflow in found.stalled)]
    lines += [f"PROBLEM     {problem}" for problem in found.problems]
    if found.is_healthy:
        lines.append("All is well.")
    return lines


def _stalled_line(workflow: Mapping[str, Any]) -> str:
    whom = f" [{', '.join(workflow['waits_on'])}]" if workflow["waits_on"] else ""
    return (
        f"STALLED     {workflow['kind']} {workflow['id']}: nothing for {workflow['idle']} s; "
        f"waits for {workflow['waits_for']}{whom}"
    )
