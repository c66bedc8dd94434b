"""`caimi publish`, `models`, `trace`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from caimi.crypto.ecdsa import SigningKey
    from caimi.sdk.client import Client
    from caimi.sdk.publishing import PublishStep
    from caimi.sdk.tracing import Trace

__all__ = ["models", "publish", "trace"]

_PATIENCE_S: Final = 300
"""How long the outcome may take after the deadline."""
_YEAR_S: Final = 365 * 86_400
_STEPS: Final = {
    "again": "takes up the publication of before: it is signed already",
    "inspect": "hash the files, inspect the model",
    "sign": "seal the key to the validators, sign",
    "relay": "hand it to the relay",
}


def publish(
    path: Annotated[Path, typer.Argument(help="An ONNX file, or a folder with exactly one.")],
    name: Annotated[str, typer.Option(help="1 to 64 of a-z 0-9 . _ -")],
    home: Annotated[str, typer.Option(metavar="LANE", help="Lane that decides and holds the deposit.")],
    mirror: Annotated[list[str], typer.Option(metavar="LANE", help="Lane on which it shall also be; repeatable.")],
    version: Annotated[int, typer.Option(min=1, max=2**64 - 1, help="A higher one supersedes a lower one.")] = 1,
    account: Annotated[str, typer.Option(help="Account of the state folder, or a key file.")] = "publisher",
    deposit: Annotated[
        int | None,
        typer.Option(min=1, max=2**128 - 1, help="Default: the least that the home lane takes.", show_default=False),
    ] = None,
    deadline: Annotated[
        int, typer.Option(min=1, max=_YEAR_S, help="Seconds until home aborts what is not committed.")
    ] = 600,
    wait: Annotated[bool, typer.Option(help="Wait until every ledger has the outcome.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything; upload and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Encrypt a model and publish it on several ledgers: on all of them, or on none.

    An interrupted publication goes on where it stopped when the command is repeated. The state folder is named before
    the command here: `caimi --home FOLDER publish ...`, or with CAIMI_HOME. Exit code 3 if home aborted it.
    """
    _check_lane(home)
    terminal = Terminal(
        as_json=as_json, resume="repeat the same command: it goes on where it stopped, nothing is published twice"
    )
    terms: dict[str, Any] = {"name": name, "version": version, "home": home, "mirrors": mirror, "deadline_s": deadline}
    terms["deposit"] = deposit

    async def act() -> None:
        from caimi.cli.opening import open_client
        from caimi.sdk.accounts import find_account
        from caimi.sdk.network import default_home

        folder = default_home()
        async with open_client(folder, terminal) as client:
            key = find_account(folder, account)
            if dry_run:
                bundle = await client.check_publication(path, account=key, **terms)
                size = bundle.manifest.content_bytes
                terminal.result(
                    {"ok": True, "dry_run": True, "files": len(bundle.paths), "bytes": size},
                    f"{path}: {len(bundle.paths)} files, {size} bytes; nothing was sent.",
                )
                return
            await _publish(terminal, client, path, key, folder, terms, wait=wait)

    run_command(terminal, act)


def _check_lane(home: str) -> None:
    if os.sep in home:
        raise typer.BadParameter(
            "names a lane here, such as fabric; the state folder comes before the command, or from CAIMI_HOME",
            param_hint="'--home'",
        )


async def _publish(
    terminal: Terminal, client: Client, path: Path, key: SigningKey, folder: Path, terms: dict[str, Any], *, wait: bool
) -> None:
    from caimi.sdk.accounts import password_of
    from caimi.sdk.drafts import DraftFolder
    from caimi.sdk.errors import RefusedByRegistry

    def tell(step: PublishStep) -> None:
        if step.total:
            terminal.bar("encrypt and upload", step.done, step.total)
        else:
            terminal.say(_STEPS[step.name])

    drafts = DraftFolder(folder / "drafts", password_of(folder))
    published = await client.publish(path, account=key, drafts=drafts, progress=tell, **terms)
    identifier = f"0x{published.id.hex()}"
    for mirror in published.unknown_mirrors:
        terminal.say(f"the relay does not serve {mirror}: unless another one does, home aborts after the deadline")
    result = {"ok": True, "id": identifier, "name": terms["name"], "version": terms["version"]}
    if not wait:
        terminal.result(result | {"settled": False}, identifier)
        terminal.hint(f"Next: `caimi trace {identifier} --follow`")
        return
    patience = terms["deadline_s"] + _PATIENCE_S
    try:
        trace = await client.wait_settled(
            published.id, timeout_s=patience, progress=lambda found: terminal.say(_summary(found))
        )
    except RefusedByRegistry:
        drafts.drop(published.draft)
        raise
    drafts.drop(published.draft)
    committed = trace.outcome == "COMMITTED"
    terminal.result(result | {"ok": committed, "settled": True, "trace": trace.to_json()}, identifier)
    if not committed:
        terminal.hint(
            f"{trace.outcome}: the deposit is back in the balance. See `caimi trace {identifier}`; the name is used "
            "up with this version, so publish it with a higher --version"
        )
        raise typer.Exit(3)
    terminal.hint(f"Next: `caimi infer {identifier} --input FILE.npz`, or `caimi trace {identifier}`")


def models(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 100,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List publications with their state on every ledger, asked of the ledgers themselves."""
    from caimi.cli.opening import open_client
    from caimi.cli.waterfall import short_lane
    from caimi.sdk.network import default_home

    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        async with open_client(home or default_home(), terminal) as client:
            found = await client.models(limit=limit)
        lines = [
            f"0x{model.id.hex()}  {model.name}@{model.version}  "
            + ", ".join(f"{short_lane(lane)} {state}" for lane, state in model.states.items())
            for model in found
        ]
        terminal.result({"models": [model.to_json() for model in found]}, *(lines or ["No publications yet."]))

    run_command(terminal, act)


def trace(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of a publication or an inference request.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until it is settled.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to follow it.")] = 600,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every step of a publication or a request on every chain, who signed it, and what and whom it waits for.

    With --follow each step is printed when it happens, with --json as one object per line. Then the exit code is 0 if
    it is committed or answered, 3 if it was aborted or nobody answered in time.
    """
    from caimi.cli.following import Follower, finish
    from caimi.cli.opening import open_client
    from caimi.cli.waterfall import waterfall
    from caimi.sdk.network import default_home

    terminal = Terminal(as_json=as_json, indent=None if follow else 1)

    async def act() -> None:
        from caimi.sdk.tracing import parse_id

        wanted = parse_id(identifier)
        async with open_client(home or default_home(), terminal) as client:
            if not follow:
                found = await client.trace(wanted)
                terminal.result(found.to_json(), *waterfall(found))
                return
            follower = Follower(terminal)
            finish(terminal, await client.wait_settled(wanted, timeout_s=timeout, progress=follower.show))

    run_command(terminal, act)


def _summary(found: Trace) -> str:
    return f"{', '.join(f'{lane} {state}' for lane, state in found.states.items())}; waits for {found.waits_for}"
