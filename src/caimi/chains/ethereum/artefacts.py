"""The compiled contracts that are committed with the sources and shipped in the wheel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from caimi.chains.ethereum.errors import BadArtefact
from caimi.types.json_text import load_json

__all__ = ["EPOCHS", "REGISTRY", "TOKEN", "Artefact", "artefact_folder", "load_artefact"]

REGISTRY: Final = "CaimiRegistry"
TOKEN: Final = "CaimiToken"
EPOCHS: Final = "CaimiEpochs"
"""Code that every registry runs for the change of its validator set (spec 42)."""
_MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One compiled contract."""

    name: str
    bytecode: bytes = field(repr=False)
    """Creation code, to which the constructor's arguments are appended."""
    abi: tuple[dict[str, Any], ...] = field(repr=False)


def artefact_folder() -> Path:
    """Where the artefacts are: inside an installed package, else in the source tree around it.

    Raises:
        BadArtefact: Neither exists.
    """
    package = Path(__file__).parents[2]  # `import caimi` would name the whole library, adapters of other chains too
    for folder in (package / "artefacts" / "ethereum", package.parents[1] / "onchain" / "ethereum" / "abi"):
        if folder.is_dir():
            return folder
    raise BadArtefact("the compiled contracts are neither in the package nor in a source tree around it")


def load_artefact(folder: Path, name: str) -> Artefact:
    """Read `name`.json as tools/gen_abi.py writes it.

    Raises:
        BadArtefact: It is missing, larger than 4 MiB, or not such a file.
    """
    path = folder / f"{name}.json"
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadArtefact(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise BadArtefact(f"{path} is larger than {_MAX_BYTES} bytes")
    try:
        fields = cast("dict[str, Any]", load_json(data))
        bytecode, abi = bytes.fromhex(fields["bytecode"].removeprefix("0x")), tuple(fields["abi"])
        contract = fields["contract"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadArtefact(f"{path} is no compiled contract") from error
    if contract != name or not bytecode:
        raise BadArtefact(f"{path} holds {contract!r} with {len(bytecode)} bytes of code")
    return Artefact(name=name, bytecode=bytecode, abi=abi)
