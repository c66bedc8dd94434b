"""All commands by name."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from caimi.cli.account_commands import account_app
from caimi.cli.batch_command import publish_batch
from caimi.cli.demo_command import demo
from caimi.cli.devnet_commands import down, fund, status, up
from caimi.cli.doctor_command import doctor
from caimi.cli.inference_commands import infer, verify
from caimi.cli.key_commands import keys_app
from caimi.cli.model_commands import models, publish, trace
from caimi.cli.order_commands import brake_app, govern_app
from caimi.cli.output import HomeOption
from caimi.cli.words import CommandGroup

__all__ = ["app"]

app = typer.Typer(
    name="caimi",
    cls=CommandGroup,
    help="Publish an AI model on several ledgers at once, and get signed answers from it.",
    epilog="Exit codes: 0 done; 2 never repeat it; 3 repeat it after something else has changed; 4 safe to repeat; 130 "
    "interrupted; 1 a defect of CAIMI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (up, down, status, doctor, demo, publish, publish_batch, models, infer, trace, verify, fund):
    app.command()(command)
app.add_typer(account_app, name="account")
app.add_typer(keys_app, name="keys")
app.add_typer(brake_app, name="brake")
app.add_typer(govern_app, name="govern")


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"caimi {metadata.version('caimi')}")
        raise typer.Exit


@app.callback()
def options(
    home: HomeOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Publish an AI model on several ledgers at once, and get signed answers from it."""
    del version
    if home is not None:
        # Commands look where $CAIMI_HOME says.
        os.environ["CAIMI_HOME"] = str(home)
