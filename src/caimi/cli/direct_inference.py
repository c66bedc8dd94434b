"""`caimi infer --direct`: one call at the host, or one for each of many inputs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from caimi.cli.inference_commands import show_answer, write_answer
from caimi.cli.output import Terminal, run_command

if TYPE_CHECKING:
    from caimi.crypto.ecdsa import SigningKey
    from caimi.sdk.client import Client
    from caimi.sdk.direct import DirectInference
    from caimi.sdk.models import Model
    from caimi.types.failure import CaimiError

__all__ = ["DirectQuestion", "ask_directly"]

_TELL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectQuestion:
    """What is asked of which model, by whom."""

    model: str
    words: Sequence[str]
    """Of `--input`."""
    account: str
    deadline_s: int | None
    home: Path | None


def ask_directly(
    terminal: Terminal, question: DirectQuestion, *, output: Path | None, receipt: Path | None, each: bool
) -> None:
    """Ask, write what comes, and print it."""

    async def act() -> None:
        from caimi.cli.opening import open_client
        from caimi.sdk.accounts import find_account
        from caimi.sdk.client import DIRECT_S
        from caimi.sdk.network import default_home

        folder = question.home or default_home()
        async with open_client(folder, terminal) as client:
            key, deadline_s = find_account(folder, question.account), question.deadline_s or DIRECT_S
            if each:
                many = _Many(terminal, question.words, output or Path("answers"))
                found = await client.find_model(question.model)
                await many.ask(client, found, key, deadline_s)
            else:
                await _ask_once(terminal, client, question, key, deadline_s, output=output, receipt=receipt)

    run_command(terminal, act)


async def _ask_once(
    terminal: Terminal,
    client: Client,
    question: DirectQuestion,
    key: SigningKey,
    deadline_s: int,
    *,
    output: Path | None,
    receipt: Path | None,
) -> None:
    from caimi.sdk.tensor_files import check_writable, read_arrays

    output, receipt = output or Path("answer.npz"), receipt or Path("receipt.json")
    arrays = read_arrays(question.words)
    check_writable(output, tensors=True)
    check_writable(receipt, tensors=False)
    found = await client.find_model(question.model)
    terminal.say(f"{found.name}@{found.version}: ask the host")
    answered = await client.infer_direct(found.id, arrays, account=key, deadline_s=deadline_s)
    write_answer(answered, output, receipt)
    show_answer(terminal, answered, output, receipt)
    terminal.hint(f"Next: `caimi verify {receipt}`")


class _Many:
    # Many inputs: each has an answer and a receipt in one folder, or an error, whatever becomes of the others.

    def __init__(self, terminal: Terminal, words: Sequence[str], folder: Path) -> None:
        from caimi.sdk.errors import OutputRefused
        from caimi.sdk.tensor_files import read_arrays

        self._terminal = terminal
        self._words = words
        # All are read before one is asked: a file that cannot be read is no reason to ask for the others.
        self._inputs = [read_arrays([word]) for word in words]
        self._names = [Path(word.partition("=")[2] or word).stem for word in words]
        if len(set(self._names)) != len(self._names):
            raise OutputRefused("two inputs have one name, and so would their answers")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputRefused(f"cannot make {folder}: {error.strerror}") from error
        self._folder = folder
        self._rows: list[dict[str, Any]] = [{} for _ in words]
        self._errors: list[CaimiError] = []
        self._done = 0
        self._told = 0.0

    async def ask(self, client: Client, found: Model, key: SigningKey, deadline_s: int) -> None:
        self._terminal.say(f"{found.name}@{found.version}: ask the host for {len(self._inputs)} answers")
        began = time.monotonic()
        await client.infer_each(found.id, self._inputs, self._take, account=key, deadline_s=deadline_s)
        self._show(time.monotonic() - began)

    def _take(self, place: int, found: DirectInference | CaimiError) -> None:
        row: dict[str, Any] = {"input": self._words[place]}
        if isinstance(found, Exception):
            self._errors.append(found)
            text = str(found).removeprefix(f"{type(found).__name__}: ")
            row |= {"ok": False, "error": type(found).__name__, "text": text, "retry": found.retry.value}
        else:
            name = self._names[place]
            output, receipt = self._folder / f"{name}.npz", self._folder / f"{name}.receipt.json"
            write_answer(found, output, receipt)
            row |= {"ok": True, "request": f"0x{found.file.receipt.request.hex()}"}
            row |= {"output_file": str(output), "receipt_file": str(receipt)}
        self._rows[place] = row
        self._done += 1
        if time.monotonic() - self._told > _TELL_S or self._done == len(self._rows):
            self._told = time.monotonic()
            self._terminal.say(f"{self._done} of {len(self._rows)} done, {len(self._errors)} without an answer")

    def _show(self, seconds: float) -> None:
        answered = len(self._rows) - len(self._errors)
        failed = [f"{row['input']}: {row['error']}: {row['text']}" for row in self._rows if not row["ok"]]
        self._terminal.result(
            {
                "ok": not failed,
                "answered": answered,
                "seconds": round(seconds, 3),
                "folder": str(self._folder),
                "answers": self._rows,
                "attestation": "UNATTESTED",
            },
            *failed,
            f"{answered} of {len(self._rows)} answers in {seconds:.1f} s, with their receipts in {self._folder}",
        )
        if self._errors:
            self._terminal.hint(self._errors[0].hint)
            raise typer.Exit(max(error.retry.exit_code for error in self._errors))
