"""`caimi publish-batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caimi.cli.output import JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from caimi.crypto.ecdsa import SigningKey
    from caimi.sdk.batches import BatchEntry, PublishedBatch
    from caimi.sdk.client import Client
    from caimi.sdk.publishing import PublishStep
    from caimi.sdk.tracing import Trace

__all__ = ["publish_batch"]

_PATIENCE_S: Final = 300
"""How long the outcome may take after the deadline."""
_YEAR_S: Final = 365 * 86_400


def publish_batch(
    models: Annotated[
        list[str], typer.Argument(metavar="NAME[@VERSION]=PATH...", help="Models: ONNX files, or folders with one.")
    ],
    home: Annotated[str, typer.Option(metavar="LANE", help="Lane that decides and holds the deposits.")],
    mirror: Annotated[list[str], typer.Option(metavar="LANE", help="Lane on which they shall also be; repeatable.")],
    account: Annotated[str, typer.Option(help="Account of the state folder, or a key file.")] = "publisher",
    deposit: Annotated[
        int | None,
        typer.Option(
            min=1, max=2**128 - 1, help="Of each. Default: the least that the home lane takes.", show_default=False
        ),
    ] = None,
    deadline: Annotated[
        int, typer.Option(min=1, max=_YEAR_S, help="Seconds until home aborts what is not committed.")
    ] = 600,
    wait: Annotated[bool, typer.Option(help="Wait until every ledger has the outcome.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Encrypt several models and publish them as one batch: one lock, one decision, at a fraction of the cost.

    All of them are locked, or none; the error names the one that is to blame. An interrupted batch goes on where it
    stopped when the command is repeated. A model of a batch gets its own record when it is first used. The state folder
    is named before the command: `caimi --home FOLDER publish-batch ...`. Exit code 3 if home did not commit it.
    """
    entries = [_entry(text) for text in models]
    terminal = Terminal(
        as_json=as_json, resume="repeat the same command: it goes on where it stopped, nothing is published twice"
    )
    terms: dict[str, Any] = {"home": home, "mirrors": mirror, "deposit": deposit, "deadline_s": deadline}

    async def act() -> None:
        from caimi.cli.opening import open_client
        from caimi.sdk.accounts import find_account
        from caimi.sdk.network import default_home

        folder = default_home()
        async with open_client(folder, terminal) as client:
            key = find_account(folder, account)
            await _publish(terminal, client, entries, key, folder, terms, wait=wait)

    run_command(terminal, act)


def _entry(text: str) -> tuple[str, int, Path]:
    named, separator, path = text.partition("=")
    name, at, version = named.partition("@")
    if not separator or not path or not name or (at and not (version.isascii() and version.isdigit())):
        raise typer.BadParameter(f"{text[:80]!r} is not NAME=PATH or NAME@VERSION=PATH", param_hint="MODELS")
    return name, int(version or 1), Path(path)


async def _publish(
    terminal: Terminal,
    client: Client,
    entries: list[tuple[str, int, Path]],
    key: SigningKey,
    folder: Path,
    terms: dict[str, Any],
    *,
    wait: bool,
) -> None:
    from caimi.sdk.accounts import password_of
    from caimi.sdk.batches import BatchEntry
    from caimi.sdk.drafts import DraftFolder

    listed: list[BatchEntry] = [BatchEntry(name=n, version=v, path=path) for n, v, path in entries]

    def tell(index: int, step: PublishStep) -> None:
        label = f"{listed[index].name} ({index + 1} of {len(listed)})"
        if step.total:
            terminal.bar(f"encrypt and upload {label}", step.done, step.total)
        elif step.name == "inspect":
            terminal.say(f"hash and inspect {label}")

    drafts = DraftFolder(folder / "drafts", password_of(folder))
    batch = await client.publish_batch(listed, account=key, drafts=drafts, progress=tell, **terms)
    for mirror in batch.unknown_mirrors:
        terminal.say(f"the relay does not serve {mirror}: unless another one does, home does not commit the batch")
    result = _result(batch, listed)
    if not wait:
        terminal.result(result | {"settled": False}, *_lines(batch, listed))
        terminal.hint(f"Next: `caimi trace 0x{batch.root.hex()} --follow`")
        return
    trace = await client.wait_settled(
        batch.root, timeout_s=terms["deadline_s"] + _PATIENCE_S, progress=lambda found: terminal.say(_summary(found))
    )
    for draft in batch.drafts:
        drafts.drop(draft)
    committed = trace.outcome == "COMMITTED"
    terminal.result(result | {"ok": committed, "settled": True, "trace": trace.to_json()}, *_lines(batch, listed))
    if not committed:
        terminal.hint(
            f"{trace.outcome}: the deposits come back one by one. See `caimi trace 0x{batch.root.hex()}`, and of each "
            "model that still had time `caimi trace ID`: it goes on alone"
        )
        raise typer.Exit(3)
    terminal.hint(f"Next: `caimi infer 0x{batch.ids[0].hex()} --input FILE.npz`, or `caimi models`")


def _result(batch: PublishedBatch, entries: list[BatchEntry]) -> dict[str, Any]:
    shown = [
        {"id": f"0x{identifier.hex()}", "name": entry.name, "version": entry.version}
        for identifier, entry in zip(batch.ids, entries, strict=True)
    ]
    return {"ok": True, "root": f"0x{batch.root.hex()}", "publications": shown}


def _lines(batch: PublishedBatch, entries: list[BatchEntry]) -> list[str]:
    return [
        f"0x{identifier.hex()}  {entry.name}@{entry.version}"
        for identifier, entry in zip(batch.ids, entries, strict=True)
    ]


def _summary(found: Trace) -> str:
    return f"{', '.join(f'{lane} {state}' for lane, state in found.states.items())}; waits for {found.waits_for}"
