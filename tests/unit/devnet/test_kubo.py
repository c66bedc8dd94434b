"""Kubo's repository: made once and whole, closed to everybody but this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caimi.devnet.kubo import KuboPlan, KuboUnusable, kubo_process, prepare_kubo

_CONFIG = {
    "Identity": {"PeerID": "12D3"},
    "Addresses": {
        "API": "/ip4/127.0.0.1/tcp/5001",
        "Swarm": ["/ip4/0.0.0.0/tcp/4001"],
        "Gateway": "/ip4/0.0.0.0/tcp/1",
    },
    "Bootstrap": ["auto"],
    "AutoConf": {},
    "Routing": {"Type": "auto"},
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Stands for `ipfs init`."""
    path = tmp_path / "ipfs"
    path.write_text(
        f"#!/bin/sh\n[ \"$1 $2\" = 'init --empty-repo' ] || exit 9\necho '{json.dumps(_CONFIG)}' > $IPFS_PATH/config\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def plan(tmp_path: Path) -> KuboPlan:
    return KuboPlan(port=23_456, folder=tmp_path / "home" / "kubo")


def _config(plan: KuboPlan) -> dict[str, Any]:
    return json.loads((plan.folder / "config").read_text())


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _strings(item)
    else:
        yield str(value)


def test_repository_is_made_once_and_kept(plan: KuboPlan, program: Path) -> None:
    prepare_kubo(plan, program=program)
    (plan.folder / "blocks").mkdir()
    program.unlink()
    prepare_kubo(plan, program=program)
    assert (plan.folder / "blocks").is_dir()
    assert _config(plan)["Identity"] == {"PeerID": "12D3"}


def test_node_talks_to_this_machine_only(plan: KuboPlan, program: Path) -> None:
    prepare_kubo(plan, program=program)
    config = _config(plan)
    assert config["Addresses"]["API"] == "/ip4/127.0.0.1/tcp/23456"
    assert config["Addresses"]["Swarm"] == config["Addresses"]["Gateway"] == config["Bootstrap"] == []
    assert config["Routing"]["Type"] == "none"
    assert config["AutoConf"] == {"Enabled": False}
    assert not config["Discovery"]["MDNS"]["Enabled"]
    assert not any("0.0.0.0" in text or "auto" in text for text in _strings(config))
    spec = kubo_process(plan, program=program, log=plan.folder / "log")
    assert "--offline" in spec.argv
    assert (spec.env["IPFS_PATH"], spec.health_url) == (str(plan.folder), "tcp://127.0.0.1:23456")


def test_addresses_are_written_at_every_start(plan: KuboPlan, program: Path) -> None:
    prepare_kubo(plan, program=program)
    opened = _config(plan) | {"Addresses": {"API": "/ip4/0.0.0.0/tcp/1"}}
    (plan.folder / "config").write_text(json.dumps(opened))
    prepare_kubo(plan, program=program)
    assert _config(plan)["Addresses"]["API"] == "/ip4/127.0.0.1/tcp/23456"
    assert os.stat(plan.folder / "config").st_mode & 0o077 == 0


def test_rejects_a_program_that_fails_and_leaves_nothing(plan: KuboPlan, program: Path) -> None:
    program.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    with pytest.raises(KuboUnusable, match="no room"):
        prepare_kubo(plan, program=program)
    assert not plan.folder.exists()


def test_rejects_a_missing_program(plan: KuboPlan, tmp_path: Path) -> None:
    with pytest.raises(KuboUnusable):
        prepare_kubo(plan, program=tmp_path / "nothing")


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_rejects_a_damaged_repository(plan: KuboPlan, program: Path, content: str) -> None:
    prepare_kubo(plan, program=program)
    (plan.folder / "config").write_text(content)
    with pytest.raises(KuboUnusable) as caught:
        prepare_kubo(plan, program=program)
    assert "--wipe" in caught.value.hint


def test_repository_that_was_cut_short_is_made_again(plan: KuboPlan, program: Path) -> None:
    half = plan.folder.with_name("kubo.new")
    half.mkdir(parents=True)
    (half / "config").write_text("{")
    prepare_kubo(plan, program=program)
    assert _config(plan)["Identity"]
    assert not half.exists()
