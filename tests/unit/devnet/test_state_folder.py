"""The state folder: made once, read again, and never taken for something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.devnet.folder import StateFolder, load_or_make_plan
from caimi.apps.devnet.keys import make_keys
from caimi.apps.devnet.running import is_running
from caimi.crypto.quorum import ValidatorSet
from caimi.sdk.errors import KeyFileError, MalformedFile, OtherFormat


def test_a_plan_is_made_once(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder)
    token, password = folder.token.read_text(), folder.password.read_text()
    assert load_or_make_plan(folder) == plan
    assert (folder.token.read_text(), folder.password.read_text()) == (token, password)
    assert token != password


def test_all_ports_differ_and_the_numbers_are_lawful(tmp_path: Path) -> None:
    plan = load_or_make_plan(StateFolder.at(tmp_path / "home"))
    own = (plan.ethereum_port, plan.content_port, plan.relay_port, plan.host_port)
    ports = [*plan.fabric_ports, *plan.validator_ports, *own]
    assert len(set(ports)) == len(ports)
    keys = make_keys(StateFolder.at(tmp_path / "home"), plan)
    validators = ValidatorSet(validators=keys.validators, f=plan.f, t=plan.t)
    assert (validators.n, validators.q) == (4, 3)


def test_two_folders_are_two_networks(tmp_path: Path) -> None:
    one, two = (load_or_make_plan(StateFolder.at(tmp_path / name)) for name in ("a", "b"))
    assert one.nonce != two.nonce
    assert one.chain_id != two.chain_id


def test_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    make_keys(folder, load_or_make_plan(folder))
    assert folder.root.stat().st_mode & 0o077 == 0
    for path in (folder.token, folder.password, folder.plan, *folder.root.glob("*/*.key")):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_keys_are_made_once_and_read_again(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder)
    first = make_keys(folder, plan)
    (folder.root / "keys" / "validator-3.key").unlink()
    second = make_keys(folder, plan)
    same = [a == b for a, b in zip(first.validators, second.validators, strict=True)]
    assert same == [True, True, False, True]
    assert (first.operator, first.accounts) == (second.operator, second.accounts)


def test_rejects_keys_under_another_password(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder)
    make_keys(folder, plan)
    folder.password.unlink()
    load_or_make_plan(folder)  # makes a new password, as after a loss
    with pytest.raises(KeyFileError):
        make_keys(folder, plan)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 2}, OtherFormat),
        ({"format": None}, OtherFormat),
        ({"chain_id": "7"}, MalformedFile),
        ({"nonce": "0x00"}, MalformedFile),
        ({"surprise": 1}, MalformedFile),
    ],
)
def test_rejects_a_plan_that_this_version_did_not_make(
    tmp_path: Path, change: dict[str, Any], expected: type[Exception]
) -> None:
    folder = StateFolder.at(tmp_path / "home")
    load_or_make_plan(folder)
    folder.plan.write_text(json.dumps(json.loads(folder.plan.read_text()) | change))
    before = folder.plan.read_text()
    with pytest.raises(expected):
        load_or_make_plan(folder)
    assert folder.plan.read_text() == before


def test_rejects_a_folder_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(MalformedFile):
        load_or_make_plan(StateFolder.at(tmp_path))
    with pytest.raises(MalformedFile):
        StateFolder.at(tmp_path).wipe()
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_wiped_folder_is_gone(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    load_or_make_plan(folder)
    folder.wipe()
    assert not folder.root.exists()
    folder.wipe()


def test_a_folder_without_a_supervisor_does_not_run(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    (tmp_path / "supervisor.lock").touch()
    assert not is_running(tmp_path)
