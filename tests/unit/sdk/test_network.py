"""network.json: what is written is read again, and what was changed is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caimi.sdk.errors import MalformedFile, NoNetwork, OtherFormat, UnknownName
from caimi.sdk.network import default_home, network_to_json, read_network, write_json
from caimi.types.primitives import Bytes32
from caimi.types.records import Lane
from tests.unit.sdk.network_fixture import a_network


def _write(home: Path, change: Callable[[dict[str, Any]], object] | None = None) -> None:
    value = network_to_json(a_network(home))
    if change:
        change(value)
    write_json(home / "network.json", value)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    _write(tmp_path)
    assert read_network(tmp_path) == a_network(tmp_path)


def test_the_file_is_readable_by_its_owner_only_and_holds_no_absolute_path(tmp_path: Path) -> None:
    _write(tmp_path)
    assert (tmp_path / "network.json").stat().st_mode & 0o777 == 0o600
    assert str(tmp_path) not in (tmp_path / "network.json").read_text()


def test_an_absent_file_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(NoNetwork):
        read_network(tmp_path)


def test_another_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    _write(tmp_path, lambda value: value.update(format=3))
    with pytest.raises(OtherFormat) as caught:
        read_network(tmp_path)
    assert "wipe" in caught.value.hint


_GONE = object()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("network", "0x" + "00" * 32),
        ("genesis.nonce", "0x" + "03" * 32),
        ("genesis.attestation", "PERHAPS"),
        ("validators", []),
        ("lanes.fabric.kind", "corda"),
        ("lanes.ethereum.contract", _GONE),
        ("lanes.ethereum.contract", "0x01"),
        ("lanes.ethereum.chain_id", -1),
        ("lanes.ethereum.chain_id", True),
        ("group_key", "0x02"),
        ("group_key", "02" * 33),
        ("lanes", 7),
        ("relay", _GONE),
    ],
)
def test_rejects_a_changed_file(tmp_path: Path, place: str, value: object) -> None:
    def change(document: dict[str, Any]) -> None:
        *outer, name = place.split(".")
        for step in outer:
            document = document[step]
        document.pop(name)
        if value is not _GONE:
            document[name] = value

    _write(tmp_path, change)
    with pytest.raises(MalformedFile):
        read_network(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}'])
def test_rejects_what_is_no_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(MalformedFile):
        read_network(tmp_path)


def test_rejects_a_file_that_is_too_large(tmp_path: Path) -> None:
    _write(tmp_path, lambda value: value.update(padding="x" * (5 << 20)))
    with pytest.raises(MalformedFile):
        read_network(tmp_path)


def test_lanes_are_found_by_name_and_by_identifiers(tmp_path: Path) -> None:
    network = a_network(tmp_path)
    lane = network.lane("ethereum").lane
    assert network.lane_name(lane) == "ethereum"
    foreign = Lane(chain=lane.chain, registry=Bytes32(b"\x05" * 32))
    assert network.lane_name(foreign) == f"0x{lane.chain.hex()}/0x{'05' * 32}"
    with pytest.raises(UnknownName):
        network.lane("polkadot")


def test_the_state_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAIMI_HOME", str(tmp_path / "a"))
    assert default_home() == tmp_path / "a"
    monkeypatch.delenv("CAIMI_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
    assert default_home() == tmp_path / "b" / "caimi"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home() == tmp_path / ".local" / "state" / "caimi"


def test_json_is_what_it_seems(tmp_path: Path) -> None:
    _write(tmp_path)
    value = json.loads((tmp_path / "network.json").read_text())
    assert (value["n"], value["f"], value["q"], value["t"]) == (4, 1, 3, 2)
    assert value["lanes"]["ethereum"]["finality"] == {"rule": "depth below the tip", "depth": 2}
