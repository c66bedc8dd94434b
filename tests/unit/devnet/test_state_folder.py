"""The state folder: made once, read again, and never taken for something else."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.devnet import bringup
from caimi.apps.devnet.errors import KuboMissing, NoStateFolder, NotRunning, OtherProfile, StateNotWritable
from caimi.apps.devnet.folder import VERSIONS, StateFolder, check_choice, check_state, load_or_make_plan
from caimi.apps.devnet.keys import make_keys
from caimi.apps.devnet.profiles import Choice
from caimi.apps.devnet.progress import Progress
from caimi.apps.devnet.running import check_running, is_running
from caimi.apps.devnet.services import ONE_NODE
from caimi.apps.devnet.status import DevnetStatus
from caimi.crypto.quorum import ValidatorSet
from caimi.devnet.ethereum.anvil import anvil_process
from caimi.devnet.fabric.network import Ordering
from caimi.devnet.toolchain import load_toolchain
from caimi.sdk.errors import KeyFileError, MalformedFile, OtherFormat
from caimi.sdk.network import FORMAT, network_to_json, read_network
from caimi.types.failure import Blame, CaimiError, Retry
from tests.unit.sdk.network_fixture import a_network


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
        ({"format": 1}, OtherFormat),
        ({"format": FORMAT + 1}, OtherFormat),
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


@pytest.mark.parametrize("name", ["thesis.txt", "logs", "supervisor.json"])
def test_rejects_a_folder_with_something_else_in_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    for act in (load_or_make_plan, check_state, StateFolder.wipe):
        with pytest.raises(NoStateFolder):
            act(StateFolder.at(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_a_killed_start_left_is_used_and_wiped(tmp_path: Path) -> None:
    for name in ("supervisor.lock", "children.lock", "up.jsonl", "token.new"):
        (tmp_path / name).touch()
    (tmp_path / "logs").mkdir()
    check_state(StateFolder.at(tmp_path))
    StateFolder.at(tmp_path).wipe()
    assert not tmp_path.exists()


def test_a_folder_is_claimed_before_anything_is_in_it(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    folder.claim()
    folder.log("supervisor").touch()
    folder.claim()
    check_state(folder)
    load_or_make_plan(folder)
    folder.claim()
    with pytest.raises(StateNotWritable):
        StateFolder.at(folder.plan / "home").claim()


def test_checking_writes_nothing(tmp_path: Path) -> None:
    check_state(StateFolder.at(tmp_path / "home"))
    assert not list(tmp_path.iterdir())


def _described(folder: StateFolder, change: dict[str, Any]) -> None:
    load_or_make_plan(folder)
    network = replace(a_network(folder.root), versions={"caimi": "0.0.1", **VERSIONS})
    folder.network.write_text(json.dumps(network_to_json(network) | change))


def test_another_version_of_this_program_goes_on_with_the_state(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    _described(folder, {})
    check_state(folder)


@pytest.mark.parametrize(
    ("change", "expected", "told"),
    [
        ({"format": 1}, OtherFormat, "network.json has format 1, this version reads 2"),
        ({"versions": {"caimi": "0.1.0", "fabric": "2.5.0", "registry": "2"}}, OtherFormat, "fabric 2.5.0"),
        ({"versions": {"caimi": "0.1.0", "fabric": "3.1.1", "registry": "1"}}, OtherFormat, "registry 1"),
        ({"versions": {"caimi": "0.1.0"}}, OtherFormat, "fabric None"),
        ({"network": "0x" + "00" * 32}, MalformedFile, "network id"),
    ],
)
def test_rejects_a_network_that_this_version_cannot_go_on_with(
    tmp_path: Path, change: dict[str, Any], expected: type[CaimiError], told: str
) -> None:
    folder = StateFolder.at(tmp_path / "home")
    _described(folder, change)
    for act in (check_state, load_or_make_plan):
        with pytest.raises(expected, match=told) as caught:
            act(folder)
        assert "caimi down --wipe" in caught.value.hint


def test_the_folder_is_its_owners_alone_whoever_made_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    StateFolder.at(home).log("supervisor")
    assert home.stat().st_mode & 0o777 == 0o700
    StateFolder.at(tmp_path / "new").process("relay")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_rejects_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    folder = StateFolder.at(tmp_path / "file" / "home")
    for act in (folder.make, lambda: folder.log("relay"), lambda: folder.process("relay")):
        with pytest.raises(StateNotWritable, match="Not a directory"):
            act()


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
    assert not is_running(tmp_path / "supervisor.lock" / "home")


def test_whether_it_runs_is_known_without_the_right_to_write(tmp_path: Path) -> None:
    lock = tmp_path / "supervisor.lock"
    lock.touch(mode=0o400)
    held = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_running(tmp_path)
    finally:
        os.close(held)
    assert not is_running(tmp_path)


def test_rejects_to_wait_for_what_nobody_has_started(tmp_path: Path) -> None:
    check_running(tmp_path)  # nothing is there: whoever asks for the network says so
    load_or_make_plan(StateFolder.at(tmp_path / "home"))
    with pytest.raises(NotRunning):
        check_running(tmp_path / "home")


_LIGHT = Choice(profile="light", storage="kubo")


def test_a_profile_is_chosen_once_and_kept(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder, _LIGHT)
    assert (plan.profile, plan.storage) == ("light", "kubo")
    for again in (None, Choice(), Choice(profile="light"), Choice(storage="kubo"), _LIGHT):
        assert load_or_make_plan(folder, again) == plan
    kubo = plan.kubo(folder)
    assert kubo is not None
    assert kubo.folder.is_relative_to(folder.root)
    assert kubo.port in plan.ports
    assert len(set(plan.ports)) == len(plan.ports)


def test_ethereum_has_the_blocks_and_the_finality_that_are_chosen(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder, Choice(block_time_ms=250, finality_depth=3))
    assert plan.finality_depth == 3
    argv = anvil_process(plan.anvil(folder), anvil=Path("/a"), log=tmp_path).argv
    assert argv[argv.index("--block-time") + 1] == "0.25"
    assert load_or_make_plan(folder) == plan


def test_without_a_choice_a_network_is_full_and_keeps_its_own_blocks(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder)
    assert (plan.profile, plan.storage, plan.kubo(folder)) == ("full", "embedded", None)
    assert (len(plan.fabric().ports.orderers), len(plan.fabric().ports.peers)) == (4, 4)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(profile="light"), "made with profile full, not light"),
        (Choice(storage="kubo"), "made with storage embedded, not kubo"),
        (Choice(block_time_ms=250), "made with block_time_ms 1000, not 250"),
        (Choice(finality_depth=1), "made with finality_depth 2, not 1"),
    ],
)
def test_rejects_another_profile_over_a_network(tmp_path: Path, choice: Choice, words: str) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder)
    for refused in (check_choice, load_or_make_plan):
        with pytest.raises(OtherProfile, match=words) as caught:
            refused(folder, choice)
        assert (caught.value.blame, caught.value.retry) == (Blame.CALLER, Retry.AFTER)
        assert "caimi down --wipe" in caught.value.hint
    assert load_or_make_plan(folder) == plan


def test_a_plan_of_before_there_were_profiles_is_full(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path / "home")
    plan = load_or_make_plan(folder)
    older = json.loads(folder.plan.read_text())
    for name in ("profile", "storage", "kubo_port"):
        del older[name]
    folder.plan.write_text(json.dumps(older))
    assert load_or_make_plan(folder) == plan


def test_light_endorses_by_one_more_organisation_than_may_lie(tmp_path: Path) -> None:
    plan = load_or_make_plan(StateFolder.at(tmp_path / "home"), Choice(profile="light"))
    fabric = plan.fabric()
    assert (len(fabric.ports.orderers), fabric.ordering) == (1, Ordering.RAFT)
    assert len(fabric.ports.peers) == fabric.endorsements == plan.f + 1
    assert fabric.collection.maximum_peers == 1


def test_kubo_that_was_not_built_is_named_before_a_plan_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = replace(load_toolchain(), kubo=None)
    monkeypatch.setattr(bringup, "load_toolchain", lambda: without)
    folder = StateFolder.at(tmp_path / "home")
    progress = Progress(tell=lambda step: None, file=tmp_path / "up.jsonl")
    with pytest.raises(KuboMissing) as caught:
        bringup.prepare(folder, progress, Choice(storage="kubo"))
    assert "setup --kubo" in caught.value.hint
    assert not folder.plan.exists()


def test_status_says_what_a_profile_does_not_show(tmp_path: Path) -> None:
    def notes(profile: str) -> tuple[str, ...]:
        network = replace(a_network(tmp_path), profile=profile)
        return DevnetStatus(network=network, processes=(), lanes={}, host={}, stalled=(), problems=()).notes

    assert notes("full") == (ONE_NODE,)
    assert notes("light")[0] == ONE_NODE
    assert "one raft orderer decides the order alone" in notes("light")[1]


def test_the_description_names_profile_and_storage(tmp_path: Path) -> None:
    light = replace(a_network(tmp_path), profile="light", storage="kubo")
    described = network_to_json(light)
    path = tmp_path / "network.json"
    path.write_text(json.dumps(described))
    assert read_network(tmp_path) == light
    del described["profile"], described["storage"]
    path.write_text(json.dumps(described))
    assert (read_network(tmp_path).profile, read_network(tmp_path).storage) == ("full", "embedded")
