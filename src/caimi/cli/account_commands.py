"""`caimi account`: key files of publishers and consumers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

__all__ = ["account_app"]

account_app = typer.Typer(help="Key files of publishers and consumers.", no_args_is_help=True, rich_markup_mode=None)


@account_app.command("new")
def new(
    file: Annotated[Path, typer.Argument(help="Key file to write; must not exist.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account. It is encrypted with the password in CAIMI_PASSWORD_FILE, else that of the state folder."""
    from caimi.crypto.ecdsa import SigningKey
    from caimi.sdk.accounts import password_of, store_account
    from caimi.sdk.json_fields import hex_text
    from caimi.sdk.network import default_home
    from caimi.types.primitives import Bytes32

    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        key = SigningKey.from_entropy(Bytes32(os.urandom(32)))
        store_account(file, key, password_of(home or default_home()))
        terminal.result({"account": hex_text(key.address), "file": str(file)}, hex_text(key.address))

    run_command(terminal, act)


@account_app.command("list")
def list_accounts(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the accounts of the state folder and their balances at both registries."""
    from caimi.cli.opening import open_client
    from caimi.sdk.accounts import account_files, find_account
    from caimi.sdk.json_fields import hex_text
    from caimi.sdk.network import default_home

    terminal, folder = Terminal(as_json=as_json), home or default_home()

    async def act() -> None:
        rows: list[dict[str, object]] = []
        async with open_client(folder, terminal) as client:
            for name in account_files(folder):
                address = find_account(folder, name).address
                balances = {lane: str(await client.balance(lane, address)) for lane in client.network.lanes}
                rows.append({"name": name, "account": hex_text(address), "balances": balances})
        lines = [
            f"{row['name']:<12} {row['account']}  {', '.join(f'{k} {v}' for k, v in dict(row['balances']).items())}"  # type: ignore[call-overload]
            for row in rows
        ]
        terminal.result({"accounts": rows}, *lines)

    run_command(terminal, act)
