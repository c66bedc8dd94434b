"""`caimi brake` and `caimi govern`: what operators of validators order together (docs/guide/brakes.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from caimi.ports.chain import BrakesView
    from caimi.sdk.network import Network
    from caimi.sdk.orders import Order, OrderDesk

__all__ = ["brake_app", "govern_app"]

brake_app = typer.Typer(
    help="Stop what a registry begins, and let it begin again.", no_args_is_help=True, rich_markup_mode=None
)
govern_app = typer.Typer(
    help="Decide about a lane whose chain broke its finality.", no_args_is_help=True, rich_markup_mode=None
)
_TIMEOUT_S: Final = 120
LaneArgument = Annotated[str, typer.Argument(help="Name of the lane, see `caimi status`.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the order; nobody is asked to sign it.")]
TimeoutOption = Annotated[int, typer.Option(min=1, help="Seconds to wait until the registry took it.")]


@brake_app.command("pause")
def pause(
    lane: LaneArgument,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = _TIMEOUT_S,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a registry: nothing new begins there, what has begun ends. Takes f+1 validators."""
    _order(lambda desk: desk.next_pause(lane), dry_run=dry_run, timeout=timeout, home=home, as_json=as_json)


@brake_app.command("resume")
def resume(
    lane: LaneArgument,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = _TIMEOUT_S,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a pause, not before the registry's delay is over. Takes a quorum of validators."""
    _order(lambda desk: desk.next_resume(lane), dry_run=dry_run, timeout=timeout, home=home, as_json=as_json)


@brake_app.command("status")
def brake_status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show which registries are paused, since when, and what their caps have left."""

    async def show(network: Network, desk: OrderDesk, terminal: Terminal) -> None:
        found = {name: await desk.brakes(name) for name in network.lanes}
        values = {name: {field: getattr(brakes, field) for field in brakes.__slots__} for name, brakes in found.items()}
        terminal.result(
            {"lanes": values},
            *(
                f"{name:<12} {'PAUSED' if brakes.paused else 'running'}, order {brakes.counter}, {_bounds(brakes)}"
                for name, brakes in found.items()
            ),
        )

    _with_desk(show, home=home, as_json=as_json)


@govern_app.command("resume-lane")
def resume_lane(
    lane: LaneArgument,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = _TIMEOUT_S,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resume a halted lane under its next generation, from the last block that all can keep. Takes a quorum."""
    _order(lambda desk: desk.next_resumption(lane), dry_run=dry_run, timeout=timeout, home=home, as_json=as_json)


@govern_app.command("drop-lane")
def drop_lane(
    lane: LaneArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: it is for good.")] = False,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = _TIMEOUT_S,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop a lane for good: no registry takes anything from it any more. Takes a quorum of validators."""
    from caimi.apps.devnet.errors import NotConfirmed

    terminal = Terminal(as_json=as_json)
    asked = terminal.can_ask and not dry_run
    if not (dry_run or yes or (asked and typer.confirm(f"Drop {lane} for good?"))):
        terminal.fail(NotConfirmed(f"{lane} is left as it is"))
    _order(lambda desk: desk.next_drop(lane), dry_run=dry_run, timeout=timeout, home=home, as_json=as_json)


@govern_app.command("show")
def show_governance(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what the root registry has decided about each lane."""
    from caimi.sdk.json_fields import hex_text

    async def show(network: Network, desk: OrderDesk, terminal: Terminal) -> None:
        rows: dict[str, dict[str, Any]] = {}
        for name in network.lanes:
            last = await desk.governed(name)
            rows[name] = {
                "version": last.version,
                "generation": last.generation,
                "height": last.height,
                "block_hash": hex_text(last.block_hash),
                "dropped": last.dropped,
            }
        lines = [
            f"{name:<12} {'DROPPED' if row['dropped'] else 'generation ' + str(row['generation'])}"
            + (
                f", decision {row['version']}, keeps block {row['height']}"
                if row["version"]
                else ", never decided about"
            )
            for name, row in rows.items()
        ]
        terminal.result({"root": network.root, "lanes": rows}, *lines)

    _with_desk(show, home=home, as_json=as_json)


def _order(
    make: Callable[[OrderDesk], Awaitable[Order]], *, dry_run: bool, timeout: int, home: Path | None, as_json: bool
) -> None:
    # Makes an order, has it signed, hands it over.
    async def act(network: Network, desk: OrderDesk, terminal: Terminal) -> None:
        order = await make(desk)
        needed, name = desk.needed(order), network.lane_name(order.at)
        value = {"order": _shown(order), "at": name, "needed": needed, "dry_run": dry_run}
        text = f"{type(order).__name__} at {name}: {', '.join(f'{k} {v}' for k, v in _shown(order).items())}"
        if dry_run:
            terminal.result(
                value | {"signers": []}, text, f"It takes {needed} of {len(network.validators)} validators."
            )
            return
        terminal.say(text)
        signed = await desk.sign(order)
        signers = [signature.signer + 1 for signature in signed.signatures]
        for index, said in sorted(signed.said.items()):
            terminal.say(f"validator {index} did not sign: {said}")
        await desk.send(signed, seconds=timeout, tell=terminal.say)
        terminal.result(
            value | {"signers": signers},
            f"{name} took it; signed by validators {', '.join(str(signer) for signer in signers)}.",
        )

    _with_desk(act, home=home, as_json=as_json)


def _with_desk(
    act: Callable[[Network, OrderDesk, Terminal], Awaitable[None]], *, home: Path | None, as_json: bool
) -> None:
    from caimi.apps.devnet.running import check_running
    from caimi.sdk.connections import Connections, home_token
    from caimi.sdk.network import default_home, read_network
    from caimi.sdk.orders import OrderDesk

    terminal, folder = Terminal(as_json=as_json), home or default_home()

    async def run() -> None:
        network = read_network(folder)
        check_running(folder)
        connections = Connections(network, token=home_token(folder))
        try:
            await act(network, OrderDesk(connections), terminal)
        finally:
            await connections.close()

    run_command(terminal, run)


def _bounds(brakes: BrakesView) -> str:
    cap = f"{brakes.withdrawn} of {brakes.withdrawal_cap} withdrawn" if brakes.withdrawal_cap else "no cap"
    return f"resume delay {brakes.resume_delay} s, {cap}"


def _shown(order: Order) -> dict[str, Any]:
    from caimi.sdk.json_fields import hex_text
    from caimi.types.records import Governance, GovernanceAction

    if not isinstance(order, Governance):
        return {"kind": type(order).__name__.lower(), "epoch": order.epoch, "counter": order.counter}
    return {
        "kind": GovernanceAction(order.action).name,
        "epoch": order.epoch,
        "chain": hex_text(order.lane.chain),
        "registry": hex_text(order.lane.registry),
        "version": order.version,
        "generation": order.generation,
        "height": order.height,
        "block_hash": hex_text(order.block_hash),
    }
