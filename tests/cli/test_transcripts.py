"""The transcripts that need no network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from caimi.apps.devnet.folder import VERSIONS, StateFolder, load_or_make_plan
from caimi.sdk.network import FORMAT, network_to_json
from caimi.sdk.receipts import receipt_to_json
from caimi.types.primitives import UnixSeconds
from tests.cli.transcript import parse, play
from tests.unit.sdk.network_fixture import a_network
from tests.unit.sdk.receipt_fixture import receipt_file

_FOLDER = Path(__file__).parent / "transcripts"


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("CAIMI_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    other = tmp_path / "other"
    other.mkdir()
    (other / "plan.json").write_text(json.dumps({"format": 99}))
    (other / "network.json").write_text(json.dumps({"format": 99}))
    stopped, newer, ledgers = (tmp_path / name for name in ("stopped", "newer", "ledgers"))
    for folder in (stopped, newer, ledgers):
        load_or_make_plan(StateFolder.at(folder))
        network = replace(a_network(folder), versions={"caimi": "0", **VERSIONS})
        if folder is ledgers:
            network = replace(network, versions=dict(network.versions) | {"fabric": "2.5"})
        described = network_to_json(network) | ({"format": FORMAT + 1} if folder is newer else {})
        (folder / "network.json").write_text(json.dumps(described))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    receipt, forged = tmp_path / "sound.json", tmp_path / "forged.json"
    sound = receipt_file()
    receipt.write_text(json.dumps(receipt_to_json(sound)))
    cut = tmp_path / "cut.json"
    cut.write_text(receipt.read_text()[:300])
    later = replace(sound.receipt, time=UnixSeconds(sound.receipt.time + 1))
    forged.write_text(json.dumps(receipt_to_json(replace(sound, receipt=later))))
    return {
        "HOME": str(home),
        "OTHER": str(other),
        "PRECIOUS": str(precious),
        "TMP": str(tmp_path),
        "RECEIPT": str(receipt),
        "FORGED": str(forged),
        "CUT": str(cut),
        "STOPPED": str(stopped),
        "NEWER": str(newer),
        "LEDGERS": str(ledgers),
    }


@pytest.mark.parametrize("path", sorted(_FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Else typer asks which shell has started us, and a service has none.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    play(path, variables)
    assert Path(variables["PRECIOUS"], "thesis.txt").is_file()
    for name in ("OTHER", "STOPPED", "NEWER", "LEDGERS"):
        assert Path(variables[name], "plan.json").is_file()
    assert [path.name for path in Path(variables["PRECIOUS"]).iterdir()] == ["thesis.txt"]


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    for wrong in ("stdout 'no such words'", "! stdout .", "exit 1"):
        path = tmp_path / "wrong.txt"
        path.write_text(f"caimi --version\n{wrong}\n")
        with pytest.raises(AssertionError):
            play(path, {})
    with pytest.raises(ValueError, match="line 1"):
        parse("expect something")
