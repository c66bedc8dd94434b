"""The devnet's Anvil as files and a command line; the compiled contracts as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caimi.chains.ethereum.artefacts import EPOCHS, REGISTRY, TOKEN, artefact_folder, load_artefact
from caimi.chains.ethereum.errors import BadArtefact
from caimi.devnet.ethereum.anvil import AnvilPlan, anvil_process, write_first_state
from caimi.ports.registry_views import VIEWS
from caimi.types.primitives import Address
from caimi.wire.codec import abi_type
from caimi.wire.functions import FUNCTIONS

_ACCOUNT = Address(bytes(range(20)))
_LEASES = {"fund", "mint", "openLease", "postPartial", "lease", "leaseCap", "partials"}
_CEREMONIES = {"postBoard", "board", "proposeSet"}
_FABRIC_ONLY = _LEASES | _CEREMONIES


def _plan(folder: Path, block_time_ms: int = 1_000) -> AnvilPlan:
    return AnvilPlan(port=20_001, chain_id=777, folder=folder / "eth", block_time_ms=block_time_ms)


def test_first_state_funds_only_the_named_accounts(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    write_first_state(plan, balances={_ACCOUNT: 12_345}, time=1_800_000_000)
    state = json.loads(plan.state.read_text())
    assert list(state["accounts"]) == ["0x" + _ACCOUNT.hex()]
    assert int(state["accounts"]["0x" + _ACCOUNT.hex()]["balance"], 16) == 12_345
    assert int(state["block"]["timestamp"], 16) == 1_800_000_000


def test_rejects_a_second_first_state(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    write_first_state(plan, balances={_ACCOUNT: 1}, time=1)
    with pytest.raises(FileExistsError):
        write_first_state(plan, balances={_ACCOUNT: 2}, time=1)
    assert '"0x1"' in plan.state.read_text()


def test_process_listens_on_the_loopback_under_osaka_rules_and_keeps_its_state(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    spec = anvil_process(plan, anvil=Path("/bin/anvil"), log=tmp_path / "log")
    words = list(spec.argv)
    assert words[0] == "/bin/anvil"
    pairs = {"--host": "127.0.0.1", "--port": "20001", "--chain-id": "777", "--hardfork": "osaka"}
    pairs |= {"--accounts": "0", "--state": str(plan.state), "--state-interval": "10", "--block-time": "1"}
    assert {option: words[words.index(option) + 1] for option in pairs} == pairs
    assert "--enable-tx-gas-limit" in words
    assert "--no-cors" in words
    assert spec.health_url == "tcp://127.0.0.1:20001"
    assert "--block-time" not in anvil_process(_plan(tmp_path, block_time_ms=0), anvil=Path("/a"), log=tmp_path).argv


@pytest.mark.parametrize("name", [REGISTRY, EPOCHS, TOKEN])
def test_committed_artefacts_are_read(name: str) -> None:
    artefact = load_artefact(artefact_folder(), name)
    assert artefact.name == name
    assert len(artefact.bytecode) > 1_000


def _signatures(abi: tuple[dict[str, Any], ...]) -> dict[str, tuple[str, ...]]:
    def canonical(part: dict[str, Any]) -> str:
        kind: str = part["type"]
        if not kind.startswith("tuple"):
            return kind
        return "(" + ",".join(canonical(inner) for inner in part["components"]) + ")" + kind[5:]

    return {f["name"]: tuple(canonical(i) for i in f["inputs"]) for f in abi if f["type"] == "function"}


def test_contract_has_the_functions_and_views_that_are_called() -> None:
    there = _signatures(load_artefact(artefact_folder(), REGISTRY).abi)
    wanted = dict(FUNCTIONS) | {name: arguments for name, (arguments, _) in VIEWS.items()}
    for name in wanted.keys() - _FABRIC_ONLY:
        assert there[name] == tuple(abi_type(kind) for kind in wanted[name]), name


_BAD: dict[str, bytes] = {
    "no JSON": b"{",
    "no object": b"[]",
    "no code": b'{"contract": "X", "abi": []}',
    "no abi": b'{"contract": "X", "bytecode": "0x60"}',
    "odd code": b'{"contract": "X", "bytecode": "0x6", "abi": []}',
    "empty code": b'{"contract": "X", "bytecode": "0x", "abi": []}',
    "code as number": b'{"contract": "X", "bytecode": 60, "abi": []}',
    "another contract": b'{"contract": "Y", "bytecode": "0x60", "abi": []}',
    "too large": b" " * (4 * 1024 * 1024 + 1),
}


@pytest.mark.parametrize("content", _BAD.values(), ids=_BAD)
def test_rejects_bad_artefacts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "X.json").write_bytes(content)
    with pytest.raises(BadArtefact):
        load_artefact(tmp_path, "X")


def test_rejects_a_missing_artefact(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact):
        load_artefact(tmp_path, "X")
