"""A light network: chosen once, kept, as careful as a full one. The last tests break its Ethereum lane and heal it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from caimi.apps.demo.digits import train_digits
from caimi.apps.validator_client import ValidatorClient
from caimi.ports.validators import Abstains
from caimi.sdk.connections import Connections
from caimi.sdk.network import read_network
from caimi.types.primitives import Generation, Sequence
from tests.e2e.own_network import OwnNetwork, own_network

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]

_DEPTH = 2


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnNetwork]:
    with own_network(tmp_path_factory.mktemp("light"), "--profile", "light") as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    path.write_bytes(train_digits(seed=1).onnx)
    return path


# --- the profile


def test_it_says_what_it_is(network: OwnNetwork) -> None:
    status = network.status()
    assert (status["profile"], status["storage"]) == ("light", "embedded")
    assert any("one raft orderer decides the order alone" in note for note in status["notes"])
    names = {process["name"] for process in status["processes"] if process["name"].startswith("fabric-")}
    assert names == {"fabric-orderer1", "fabric-peer1", "fabric-peer2"}
    assert json.loads((network.home / "network.json").read_text())["profile"] == "light"


def test_another_profile_over_it_is_refused(network: OwnNetwork, model: Path) -> None:
    pid = network.pid("relay")
    refused = network.caimi("up", "--profile", "full", code=3)
    assert refused["problem"]["error"] == "OtherProfile"
    assert "caimi down --wipe" in refused["problem"]["hint"]
    assert network.caimi("up", "--storage", "kubo", code=3)["problem"]["error"] == "OtherProfile"
    assert network.pid("relay") == pid


@pytest.mark.slow
def test_it_commits_and_stays_light_after_a_restart(network: OwnNetwork, model: Path) -> None:
    network.publish(model, "first")
    network.caimi("down")
    assert network.caimi("up", "--profile", "full", code=3)["problem"]["error"] == "OtherProfile"
    assert network.caimi("up")["profile"] == "light"
    assert [m["name"] for m in network.caimi("models")["models"]] == ["first"]
    assert network.caimi("doctor")["findings"] == []


# --- what does not heal by itself


@pytest.mark.slow
def test_deeper_reorganisation_halts_its_lane_only_and_nothing_of_it_is_certified(
    network: OwnNetwork, model: Path
) -> None:
    identifier = network.publish(model, "signed", home="ethereum", mirror="fabric")
    signed = asyncio.run(_last_event(network))
    blocks = [int(s["height"]) for s in network.caimi("trace", identifier)["steps"] if s["lane"] == "ethereum"]
    network.ethereum("anvil_reorg", network.height - min(blocks) + 1, [])
    network.wait(lambda: network.conditions("ethereum") == {"halted"})
    status = network.status()
    assert not status["healthy"]
    said = [problem for problem in status["problems"] if "lane ethereum: HALTED" in problem]
    assert len(said) == 4
    assert all("caimi govern resume-lane" in problem for problem in said)
    assert network.conditions("fabric") == {"following"}
    findings = network.caimi("doctor", code=3)["findings"]
    assert [f["check"] for f in findings if f["severity"] == "broken"] == ["lanes"]

    # The new branch goes on; nobody signs any of it, and Fabric takes no outcome from there.
    network.wait_blocks(_DEPTH + 3)

    asyncio.run(_all_abstain(network, {1, max(1, signed)}))
    words = ("--name", "late", "--home", "fabric", "--mirror", "ethereum", "--deadline", "3600", "--no-wait")
    pending = network.caimi("publish", str(model), *words)
    network.wait(lambda: network.caimi("trace", pending["id"])["states"].get("fabric") == "LOCKED")
    network.wait_blocks(_DEPTH + 3)
    assert network.caimi("trace", pending["id"])["states"]["fabric"] == "LOCKED"
    # The halt is durable: a validator that is killed does not forget it.
    network.kill("validator-1")
    network.wait(lambda: network.conditions("ethereum") == {"halted"})


@pytest.mark.slow
def test_resumed_lane_goes_on_under_its_next_generation(network: OwnNetwork, model: Path) -> None:
    assert network.conditions("ethereum") == {"halted"}, "the test before this one breaks the lane"
    shown = network.caimi("govern", "resume-lane", "ethereum", "--dry-run")
    assert (shown["order"]["generation"], shown["needed"], shown["signers"]) == (2, 3, [])
    assert network.caimi("govern", "show")["lanes"]["ethereum"]["version"] == 0
    assert network.conditions("ethereum") == {"halted"}

    resumed = network.caimi("govern", "resume-lane", "ethereum")
    assert resumed["signers"] == [1, 2, 3, 4]
    assert resumed["order"] == shown["order"]
    network.wait(lambda: network.conditions("ethereum") == {"following"})
    assert network.caimi("govern", "show")["lanes"]["ethereum"]["generation"] == 2

    # What waited for the lane ends, what the chain had lost is there again, and new publications go both ways.
    committed = {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
    for name in ("late", "signed"):
        identifier = next(m["id"] for m in network.caimi("models")["models"] if m["name"] == name)
        network.wait(lambda i=identifier: network.caimi("trace", i)["states"] == committed)
    network.publish(model, "after", home="ethereum", mirror="fabric")
    assert network.status()["healthy"]


async def _last_event(network: OwnNetwork) -> int:
    # How many final events the registry on Ethereum has.
    connections = Connections(read_network(network.home), token=None)
    try:
        reader, first = connections.reader("ethereum"), 1
        while events := await reader.events(Sequence(first), 100):
            first += len(events)
        return first - 1
    finally:
        await connections.close()


async def _all_abstain(network: OwnNetwork, sequences: set[int]) -> None:
    known = read_network(network.home)
    lane = known.lane("ethereum").lane
    async with httpx2.AsyncClient() as client:
        for site in known.validators:
            validator = ValidatorClient(site.url, client)
            for last in sequences:
                with pytest.raises(Abstains, match="halted"):
                    await validator.checkpoint(lane, Generation(1), Sequence(1), Sequence(last))
