"""Every command in the documentation and in the hints of errors is parsed by the real command line."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import caimi
from caimi.cli.app import app
from caimi.sdk.bundles import read_bundle
from caimi.sdk.tensor_files import read_arrays
from caimi.types.failure import CaimiError

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = sorted([_ROOT / "README.md", _ROOT / "SECURITY.md", *(_ROOT / "docs" / "guide").glob("*.md")])
_FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(caimi (?:[a-z-]+)(?: [^`]*)?)`")


def parse_command(words: list[str]) -> None:
    """Parse a whole command line without running anything.

    Raises:
        Exception: typer's usage error.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("caimi", list(words), resilient_parsing=False)
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def _console_commands(text: str) -> Iterator[str]:
    for block in _FENCE.findall(text):
        for line in block.splitlines():
            if line.startswith("$ caimi"):
                yield line.removeprefix("$ caimi").strip()


def _documented() -> list[tuple[str, str]]:
    return [(p.name, c) for p in _PAGES for c in _console_commands(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "command"), _documented())
def test_a_documented_command_is_parsed(page: str, command: str) -> None:
    parse_command(shlex.split(command))


def test_rejects_a_command_that_does_not_exist() -> None:
    for wrong in ("fly", "publish model.onnx", "publish m.onnx --name a --home f --mirror e --gas 3", "up now"):
        with pytest.raises(Exception, match=r"."):
            parse_command(shlex.split(wrong))


def _programs() -> list[tuple[str, str]]:
    return [(p.name, code) for p in _PAGES for code in _PYTHON.findall(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "program"), _programs())
def test_a_documented_program_names_what_exists(page: str, program: str) -> None:
    module = ast.parse(program, page)
    imports = [node for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert imports
    exec(compile(ast.Module(body=list(imports), type_ignores=[]), page, "exec"), {})


def test_the_model_of_the_first_steps_can_be_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = (code for page, code in _programs() if page == "first-steps.md" and "train_digits" in code)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "first-steps.md", "exec"), {})
    (taken,) = read_bundle(tmp_path / "digits.onnx").manifest.signature.inputs  # type: ignore[union-attr]
    arrays = read_arrays([str(tmp_path / "images.npz")])
    assert {name: array.shape[1:] for name, array in arrays.items()} == {taken.name: (64,)}


def _errors() -> Iterator[type[CaimiError]]:
    for module in pkgutil.walk_packages(caimi.__path__, "caimi."):
        if module.name.rsplit(".", 1)[-1] == "errors":
            importlib.import_module(module.name)
    left = [CaimiError]
    while left:
        found = left.pop()
        left += found.__subclasses__()
        yield found


def test_every_command_named_in_a_hint_or_in_prose_exists() -> None:
    group: Any = typer.main.get_command(app)
    texts = [(error.__name__, error.hint) for error in _errors()]
    texts += [(page.name, _FENCE.sub("", page.read_text(encoding="utf-8"))) for page in _PAGES]
    named = [(where, span) for where, text in texts for span in _SPAN.findall(text)]
    assert len(named) > 10
    for where, span in named:
        words = [word for word in span.split()[1:] if not word.startswith("-")]
        options = [word for word in span.split()[1:] if word.startswith("--")]
        if span.split()[1] == "--home":
            words = words[1:]
        command = group.commands.get(words[0]) if words else group
        assert command is not None, f"{where}: {span}"
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        known |= {name for inner in getattr(command, "commands", {}).values() for p in inner.params for name in p.opts}
        known |= {"--home"}
        assert set(options) <= known, f"{where}: {span}"
