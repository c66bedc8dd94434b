"""The network's files: timers, loopback, TLS, clock window, package id, and states that are refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caimi.devnet.fabric.chaincode_package import build_package, package_id
from caimi.devnet.fabric.configtx import PROFILE, channel_config
from caimi.devnet.fabric.crypto_material import cryptogen_config
from caimi.devnet.fabric.errors import BadFabricPlan, FabricStateUnusable, FabricToolFailed
from caimi.devnet.fabric.generate import generate_network, load_network, network_exists
from caimi.devnet.fabric.network import (
    CollectionPlan,
    FabricBinaries,
    FabricNetwork,
    FabricPlan,
    FabricPorts,
    Ordering,
    orderer_nodes,
    peer_nodes,
)
from caimi.devnet.fabric.processes import fabric_processes

_PORTS = FabricPorts.from_list(range(20_000, 20_000 + FabricPorts.COUNT))
_BINARIES = FabricBinaries.in_folder(Path("/nowhere"))


def test_partials_live_as_long_as_the_spec_says() -> None:
    text = (Path(__file__).parents[3] / "spec" / "30-publication.md").read_text(encoding="utf-8")
    found = re.search(r"purge it (\d+) blocks after it was written \(`blockToLive`\)", text)
    assert found is not None
    made = CollectionPlan()
    assert (made.name, made.block_to_live, made.required_peers) == ("partials", int(found[1]), 1)


def _orderer_section() -> dict[str, Any]:
    config: Any = channel_config(
        orderer_nodes(Path("/c"), _PORTS), peer_nodes(Path("/c"), _PORTS), batch_interval_ms=50
    )
    return config["Profiles"][PROFILE]["Orderer"]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _strings(item)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _strings(item)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, str):
        yield value


def test_the_view_change_timers_are_the_measured_ones() -> None:
    timers = _orderer_section()["SmartBFT"]
    assert timers == {
        "RequestBatchMaxInterval": "50ms",
        "RequestForwardTimeout": "500ms",
        "RequestComplainTimeout": "2s",
        "RequestAutoRemoveTimeout": "3m",
        "ViewChangeResendInterval": "1s",
        "ViewChangeTimeout": "3s",
        "LeaderHeartbeatTimeout": "3s",
        "LeaderHeartbeatCount": 10,
        "CollectTimeout": "500ms",
        "IncomingMessageBufferSize": 200,
        "RequestPoolSize": 100_000,
    }


def test_every_orderer_stands_for_an_organisation_of_its_own() -> None:
    section = _orderer_section()
    organisations = [organisation["ID"] for organisation in section["Organizations"]]
    consenters = section["ConsenterMapping"]
    assert [consenter["MSPID"] for consenter in consenters] == organisations
    assert len(set(organisations)) == 4
    assert len({consenter["Identity"] for consenter in consenters}) == 4
    assert section["OrdererType"] == "BFT"


def _configs(tmp_path: Path) -> dict[str, Any]:
    network = FabricNetwork(root=tmp_path, plan=FabricPlan(ports=_PORTS), package_id="x")
    specs = fabric_processes(network, _BINARIES, logs=tmp_path / "logs")
    return {
        spec.name: json.loads(next(path for path in spec.cwd.iterdir() if path.suffix == ".yaml").read_text())
        for spec in specs
    }


def test_peers_check_the_time_of_proposals_within_30_seconds(tmp_path: Path) -> None:
    for name, config in _configs(tmp_path).items():
        if "peer" in name:
            assert {"name": "TimeWindowCheck"} in config["peer"]["handlers"]["authFilters"]
            assert config["peer"]["authentication"] == {"timewindow": "30s"}


def test_everything_listens_on_the_loopback_with_tls_and_at_its_own_port(tmp_path: Path) -> None:
    configs = _configs(tmp_path)
    assert len(configs) == 8
    used: set[int] = set()
    for config in configs.values():
        for text in _strings(config):
            host, colon, port = text.rpartition(":")
            if colon and port.isdigit():
                assert host == "127.0.0.1"
                used.add(int(port))
        if "General" in config:
            general = config["General"]
            assert general["TLS"]["Enabled"] is True
            assert config["Admin"]["TLS"]["ClientAuthRequired"] is True
            assert {general["ListenAddress"], general["Cluster"]["ListenAddress"]} == {"127.0.0.1"}
            used |= {general["ListenPort"], general["Cluster"]["ListenPort"]}
        else:
            assert config["peer"]["tls"]["enabled"] is True
    assert used == set(_PORTS.to_list())


def test_processes_write_below_the_root_only(tmp_path: Path) -> None:
    network = FabricNetwork(root=tmp_path, plan=FabricPlan(ports=_PORTS), package_id="x")
    for spec in fabric_processes(network, _BINARIES, logs=tmp_path / "logs"):
        assert {Path(spec.env["TMPDIR"]).is_relative_to(tmp_path), spec.cwd.is_relative_to(tmp_path)} == {True}
        assert spec.health_url is not None
        assert (spec.env["GOGC"], spec.env["GOMEMLIMIT"]) == ("50", "150MiB")


@pytest.mark.parametrize(
    "ports",
    [
        range(20_000, 20_000 + FabricPorts.COUNT - 1),
        range(20_000, 20_000 + FabricPorts.COUNT + 1),
        [20_000] * FabricPorts.COUNT,
        range(FabricPorts.COUNT),
        range(65_536 - FabricPorts.COUNT + 1, 65_537),
    ],
    ids=["too few", "too many", "repeated", "zero", "too high"],
)
def test_ports_that_cannot_work_are_refused(ports: list[int]) -> None:
    with pytest.raises(BadFabricPlan):
        FabricPorts.from_list(ports)


def test_ports_keep_their_order() -> None:
    assert FabricPorts.from_list(_PORTS.to_list()) == _PORTS


_LIGHT_PORTS = FabricPorts.from_list(range(20_000, 20_010), orderers=1, peers=2)


def _light(**changes: Any) -> FabricPlan:
    plan = FabricPlan(ports=_LIGHT_PORTS, ordering=Ordering.RAFT, collection=CollectionPlan(maximum_peers=1))
    return replace(plan, **changes)


def test_a_smaller_network_is_ordered_by_raft(tmp_path: Path) -> None:
    orderers, peers = orderer_nodes(Path("/c"), _LIGHT_PORTS), peer_nodes(Path("/c"), _LIGHT_PORTS)
    made: Any = channel_config(orderers, peers, batch_interval_ms=50, ordering=Ordering.RAFT)
    section = made["Profiles"][PROFILE]["Orderer"]
    assert (section["OrdererType"], section["BatchTimeout"]) == ("etcdraft", "50ms")
    assert [c["Port"] for c in section["EtcdRaft"]["Consenters"]] == [orderers[0].cluster_port]
    assert not {"SmartBFT", "ConsenterMapping"} & set(section)
    assert [o["ID"] for o in made["Profiles"][PROFILE]["Application"]["Organizations"]] == ["Org1MSP", "Org2MSP"]
    network = FabricNetwork(root=tmp_path, plan=_light(), package_id="x")
    names = [spec.name for spec in fabric_processes(network, _BINARIES, logs=tmp_path / "logs")]
    assert names == ["fabric-orderer1", "fabric-peer1", "fabric-peer2"]


def test_plans_of_every_size_come_back_from_their_description() -> None:
    for plan in (_light(), FabricPlan(ports=_PORTS)):
        assert FabricPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    older = FabricPlan(ports=_PORTS).to_json()
    for name in ("orderers", "peers", "ordering"):
        del older[name]
    assert FabricPlan.from_json(older) == FabricPlan(ports=_PORTS)


@pytest.mark.parametrize(
    "changes",
    [{"endorsements": 3}, {"endorsements": 0}, {"collection": CollectionPlan(maximum_peers=2)}],
    ids=["more endorsements than peers", "no endorsement", "more copies than other peers"],
)
def test_plans_that_their_peers_cannot_fulfil_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadFabricPlan):
        _light(**changes)


@pytest.mark.parametrize(("orderers", "peers"), [(0, 2), (1, 0)])
def test_networks_without_a_node_are_refused(orderers: int, peers: int) -> None:
    ports = range(20_000, 20_000 + FabricPorts.count(orderers=orderers, peers=peers))
    with pytest.raises(BadFabricPlan):
        FabricPorts.from_list(ports, orderers=orderers, peers=peers)


def test_certificates_are_valid_for_the_loopback() -> None:
    crypto = Path("/c")
    config: Any = cryptogen_config(
        orderer_nodes(crypto, _PORTS), peer_nodes(crypto, _PORTS), clients_per_organisation=3
    )
    for organisation in (*config["OrdererOrgs"], *config["PeerOrgs"]):
        assert "127.0.0.1" in organisation["Specs"][0]["SANS"]
    assert [organisation["Users"]["Count"] for organisation in config["PeerOrgs"]] == [3] * 4


def test_the_package_id_covers_the_binary_and_nothing_else() -> None:
    first, again = build_package(b"binary", label="caimi_1"), build_package(b"binary", label="caimi_1")
    assert first == again
    assert build_package(b"binarY", label="caimi_1") != first
    assert package_id(first, label="caimi_1") == f"caimi_1:{hashlib.sha256(first).hexdigest()}"


def test_the_package_holds_what_the_builder_expects() -> None:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(build_package(b"binary", label="l")))) as outer:
        metadata: Any = outer.extractfile("metadata.json")
        assert json.load(metadata) == {"type": "caimi-binary", "label": "l"}
        code: Any = outer.extractfile("code.tar.gz")
        with tarfile.open(fileobj=code) as inner:
            binary: Any = inner.extractfile("chaincode")
            assert binary.read() == b"binary"


def _network_folder(root: Path, content: bytes) -> None:
    (root / "network").mkdir()
    (root / "network" / "network.json").write_bytes(content)


def _description(**changes: object) -> bytes:
    return json.dumps(
        {"format": 1, "package_id": "caimi_1:00", "plan": FabricPlan(ports=_PORTS).to_json(), **changes}
    ).encode()


def test_a_network_is_read_back(tmp_path: Path) -> None:
    _network_folder(tmp_path, _description())
    network = load_network(tmp_path)
    assert network.plan == FabricPlan(ports=_PORTS)
    assert network.package_id == "caimi_1:00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        _description(format=2),
        _description(plan=None),
        _description(plan={**FabricPlan(ports=_PORTS).to_json(), "surprise": 1}),
        _description(plan={**FabricPlan(ports=_PORTS).to_json(), "ports": [1, 2]}),
    ],
)
def test_state_of_another_version_is_refused(tmp_path: Path, content: bytes) -> None:
    _network_folder(tmp_path, content)
    with pytest.raises(FabricStateUnusable):
        load_network(tmp_path)


def test_a_missing_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FabricStateUnusable, match="cannot read"):
        load_network(tmp_path)


def test_a_network_is_never_made_over_another(tmp_path: Path) -> None:
    _network_folder(tmp_path, _description())
    with pytest.raises(FabricStateUnusable, match="already"):
        generate_network(tmp_path, FabricPlan(ports=_PORTS), binaries=_BINARIES, chaincode=Path(__file__))
    assert (tmp_path / "network" / "network.json").read_bytes() == _description()


def test_a_failed_generation_leaves_no_network(tmp_path: Path) -> None:
    with pytest.raises(FabricToolFailed):
        generate_network(tmp_path, FabricPlan(ports=_PORTS), binaries=_BINARIES, chaincode=Path(__file__))
    assert not network_exists(tmp_path)


def test_a_missing_chaincode_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadFabricPlan, match="cannot read the chaincode"):
        generate_network(tmp_path / "root", FabricPlan(ports=_PORTS), binaries=_BINARIES, chaincode=tmp_path / "absent")
    assert not (tmp_path / "root").exists()
