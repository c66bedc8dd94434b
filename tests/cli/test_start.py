"""`caimi --help` is quick: it loads nothing heavy, and no command does before it runs."""

from __future__ import annotations

import resource
import subprocess
import sys

_HEAVY = (
    "asyncio",
    "coincurve",
    "cryptography",
    "eth_abi",
    "fastapi",
    "granian",
    "grpc",
    "httpx2",
    "numpy",
    "onnx",
    "onnxruntime",
    "pydantic",
    "rich",
    "safetensors",
    "sklearn",
    "sqlite3",
)
_PROGRAM = """
import sys
from caimi.cli import main
sys.argv = ["caimi", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write("\\n".join(sorted(sys.modules)))
"""


def _modules(arguments: list[str]) -> set[str]:
    program = _PROGRAM.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout
    return set(done.stderr.splitlines())


def test_help_imports_no_heavy_library() -> None:
    loaded = _modules(["--help"])
    assert not loaded.intersection(_HEAVY)
    own = {name for name in loaded if name.startswith("caimi.")}
    assert all(name.startswith("caimi.cli") for name in own), own


def test_help_of_every_command_imports_no_heavy_library() -> None:
    ours = set(_HEAVY) - {"pydantic"}  # typer itself uses it to convert what a command is given
    for command in ("up", "down", "status", "demo", "publish", "models", "infer", "trace", "verify", "fund", "account"):
        assert not _modules([command, "--help"]).intersection(ours), command


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    # Processor time: the machine may be busy with other things.
    subprocess.run([sys.executable, "-m", "caimi.cli", "--help"], capture_output=True, check=True, timeout=60)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "caimi.cli", "--help"], capture_output=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 0.5
