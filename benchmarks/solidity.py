"""Compiling a single contract of the benchmarks, with the compiler and settings of the product's contracts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final, cast

from caimi.devnet.toolchain import named_programs

__all__ = ["CompilationFailed", "compile_contract"]

_SETTINGS: Final[dict[str, Any]] = {
    "optimizer": {"enabled": True, "runs": 10_000},
    "evmVersion": "osaka",
    "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
}


class CompilationFailed(Exception):
    """The compiler refuses a contract; the text is what it says."""


def compile_contract(source: Path, name: str) -> bytes:
    """The creation code of contract `name` in a file without imports.

    Raises:
        CompilationFailed: It does not compile.
    """
    text = source.read_text(encoding="utf-8")
    given = {"language": "Solidity", "sources": {source.name: {"content": text}}, "settings": _SETTINGS}
    command = [str(named_programs()["solc"]), "--standard-json"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    answer = cast("dict[str, Any]", json.loads(done.stdout))
    wrong = [entry["formattedMessage"] for entry in answer.get("errors", []) if entry["severity"] == "error"]
    if wrong:
        raise CompilationFailed("\n".join(wrong))
    return bytes.fromhex(answer["contracts"][source.name][name]["evm"]["bytecode"]["object"])
