"""`caimi doctor` on a network that runs: what it makes of what the processes say."""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.devnet.errors import StillStarting
from caimi.apps.devnet.status import DevnetStatus, ProcessStatus
from caimi.apps.doctor import examine, network
from caimi.apps.doctor.findings import Finding, Severity, Subject
from caimi.apps.process_config import DepthRule, EthereumLane
from caimi.chains.ethereum.blocks import Block
from caimi.chains.ethereum.errors import MalformedAnswer
from caimi.chains.ethereum.fees import TX_GAS_CAP
from caimi.types.primitives import Bytes32, UnixSeconds
from tests.cli.test_docs import parse_command
from tests.unit.apps.doctor_subject import a_subject
from tests.unit.sdk.network_fixture import a_network

NOW = 1_800_000_000
_GWEI = 10**9
_LANE = EthereumLane(
    kind="ethereum",
    name="ethereum",
    caip2="eip155:31337",
    registry=Bytes32(bytes(12) + b"\3" * 20),
    endpoints=("http://127.0.0.1:8545",),
    finality=DepthRule(kind="depth", depth=2),
)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    made = a_subject(tmp_path)
    return replace(made, machine=replace(made.machine, now=lambda: NOW))


def _yes(home: Path) -> bool:
    return True


def _seen(condition: str = "following", cause: str = "") -> dict[str, Any]:
    return {"condition": condition, "cause": cause}


def _status(subject: Subject, **changes: Any) -> DevnetStatus:
    validators = {str(i): _seen() for i in range(1, 5)}
    lanes: dict[str, dict[str, Any]] = {n: {"validators": dict(validators), "hint": ""} for n in ("fabric", "ethereum")}
    sound = DevnetStatus(
        network=a_network(subject.folder.root),
        processes=(_process(),),
        lanes=lanes,
        host={"attestation": "UNATTESTED"},
        problems=(),
        stalled=(),
    )
    return replace(sound, **changes)


def _process(**changes: Any) -> ProcessStatus:
    up = ProcessStatus(
        name="relay",
        pid=7,
        restarts=0,
        exit_code=None,
        log="/logs/relay.log",
        pss_mb=1.0,
        ready=True,
        missing=(),
    )
    return replace(up, **changes)


def _judged(subject: Subject, status: DevnetStatus) -> list[Finding]:
    judges = (network.judge_processes, network.judge_services, network.judge_lanes)
    return [finding for judge in judges for finding in judge(subject, status)]


def _lane(subject: Subject, **changes: Any) -> DevnetStatus:
    status = _status(subject)
    lanes = {name: dict(lane) for name, lane in status.lanes.items()}
    lanes["ethereum"] |= changes
    return replace(status, lanes=lanes)


def _block(base_fee: int = _GWEI, time: int = NOW) -> Block:
    return Block(
        number=9,
        hash=Bytes32(bytes(32)),
        parent=Bytes32(bytes(32)),
        time=UnixSeconds(time),
        base_fee=base_fee,
        gas_limit=60_000_000,
    )


def test_sound_network_has_no_finding(subject: Subject) -> None:
    assert _judged(subject, _status(subject)) == []


def test_finds_a_dead_child(subject: Subject) -> None:
    (finding,) = _judged(subject, _status(subject, processes=(_process(pid=None, exit_code=-9),)))
    assert (finding.check, finding.severity) == ("processes", Severity.BROKEN)
    assert "relay is down, it ended with -9" in finding.text
    assert finding.mend == "tail -n 50 /logs/relay.log"


def test_notes_a_child_that_dies_again_and_again(subject: Subject) -> None:
    (finding,) = _judged(subject, _status(subject, processes=(_process(restarts=3, exit_code=1),)))
    assert (finding.severity, "3 times" in finding.text) == (Severity.NOTE, True)
    assert _judged(subject, _status(subject, processes=(_process(restarts=2, exit_code=1),))) == []


@pytest.mark.parametrize(
    "problem",
    [
        "relay: no answer within 10 s",
        "host: Unreachable: x",
        "content store: no answer within 10 s",
        "validator 3: no answer within 10 s",
        "validator 2, key generation: it waits for 3",
    ],
)
def test_finds_a_service_that_does_not_answer(subject: Subject, problem: str) -> None:
    (finding,) = _judged(subject, _status(subject, problems=(problem, "lane ethereum: said by the lanes")))
    assert (finding.check, finding.severity, finding.text) == ("services", Severity.PASSING, problem)
    assert "down" in finding.mend


def test_finds_a_halted_lane_once_for_all_validators(subject: Subject) -> None:
    cause = "block 9: 0xaa was signed, 0xbb is there now"
    seen = {"1": _seen("halted", cause), "2": _seen("halted", cause), "3": _seen("starting"), "4": _seen()}
    (finding,) = _judged(subject, _lane(subject, validators=seen))
    assert finding.severity is Severity.BROKEN
    assert "lane ethereum at validators 1, 2: HALTED: block 9" in finding.text
    assert "caimi govern resume-lane" in finding.text


@pytest.mark.parametrize("condition", ["unreachable", "abstaining", "stalled"])
def test_finds_a_lane_that_waits(subject: Subject, condition: str) -> None:
    (finding,) = _judged(subject, _lane(subject, validators={"2": _seen(condition, "because"), "3": _seen()}))
    assert finding.severity is Severity.PASSING
    assert f"{condition.upper()}: because" in finding.text


def test_finds_what_keeps_the_relay_from_sending(subject: Subject) -> None:
    (finding,) = _judged(subject, _lane(subject, hint="FeeBoundReached: the base fee is 9 wei per gas"))
    assert (finding.check, finding.severity) == ("lanes", Severity.PASSING)
    assert "max_fee_per_gas" in finding.mend
    (finding,) = _judged(subject, _lane(subject, hint="ChainUnavailable: no answer"))
    assert finding.mend.endswith("status")
    assert _judged(subject, _lane(subject, hint="SenderUnfunded: told with the balance")) == []


@pytest.mark.parametrize("base_fee", [_GWEI, 100 * _GWEI])
def test_finds_an_account_that_cannot_pay_the_largest_transaction(base_fee: int) -> None:
    needed = TX_GAS_CAP * (2 * base_fee + 1_000_000)
    assert list(network.judge_money(_LANE, "0xabc", _block(base_fee), needed, cast="/bin/cast")) == []
    (finding,) = network.judge_money(_LANE, "0xabc", _block(base_fee), needed - 5, cast="/bin/cast")
    assert (finding.check, finding.severity) == ("balances", Severity.BROKEN)
    assert f"0xabc on ethereum has {needed - 5} wei" in finding.text
    assert finding.text.endswith("5 are missing")
    words = shlex.split(finding.mend)
    assert words[:5] == ["/bin/cast", "rpc", "--rpc-url", "http://127.0.0.1:8545", "anvil_setBalance"]
    assert int(words[6], 16) >= 2 * needed


def test_leaves_a_chain_above_the_bound_to_its_lane() -> None:
    assert list(network.judge_money(_LANE, "0xabc", _block(600 * _GWEI), 0, cast="cast")) == []


@pytest.mark.parametrize(("ahead", "words"), [(600, "600 s ahead of"), (-600, "600 s behind"), (30, ""), (-30, "")])
def test_finds_a_chain_whose_clock_is_elsewhere(subject: Subject, ahead: int, words: str) -> None:
    findings = list(network.judge_clock(subject, _LANE, _block(time=NOW + ahead)))
    assert [words in finding.text for finding in findings] == ([True] if words else [])


def _running(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, status: DevnetStatus | Exception
) -> list[tuple[str, Severity]]:
    async def read(home: Path) -> DevnetStatus:
        if isinstance(status, Exception):
            raise status
        return status

    monkeypatch.setattr(examine, "is_running", _yes)
    monkeypatch.setattr(examine, "read_status", read)
    report = asyncio.run(examine.examine(subject.folder.root, subject.machine))
    assert report.checks == examine.CHECKS
    for finding in report.findings:
        words = shlex.split(finding.mend.split(" && ")[0])
        if words[0] == "caimi":
            parse_command(words[1:])
    found = [finding for finding in report.findings if finding.check not in ("clock", "room")]
    return [(finding.check, finding.severity) for finding in found]


def test_running_network_is_part_of_the_examination(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = replace(subject, machine=replace(subject.machine, now=lambda: 2.0**40))
    assert _running(subject, monkeypatch, _status(subject)) == []
    broken = _lane(subject, validators={"1": _seen("halted", "x"), "2": _seen("stalled", "y")})
    broken = replace(broken, processes=(_process(pid=None),), problems=("relay: no answer within 10 s",))
    assert [check for check, _ in _running(subject, monkeypatch, broken)] == [
        "processes",
        "services",
        "lanes",
        "lanes",
    ]
    starting = StillStarting("done so far: keys")
    assert _running(subject, monkeypatch, starting) == [("status", Severity.PASSING)]
    assert _running(subject, monkeypatch, MalformedAnswer("x")) == [("status", Severity.BROKEN)]


def _account(subject: Subject, monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Finding]:
    async def asked(lane: EthereumLane, account: str) -> tuple[Block, int]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def judged() -> list[Finding]:
        return [finding async for finding in network.judge_relay_account(subject, cast="cast")]

    monkeypatch.setattr(network, "is_running", _yes)
    monkeypatch.setattr(network, "ask_chain", asked)
    return asyncio.run(judged())


def test_account_of_the_relay_is_found_in_its_configuration(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    root = subject.folder.root
    described = json.loads((root / "network.json").read_text())
    sender = {
        "file": str(root / "keys" / "relay-sender.key"),
        "password_file": str(root / "password"),
        "purpose": "relay-sender/signing",
    }
    config = {
        "process": "relay",
        "name": "relay",
        "network": {"id": described["network"], "genesis": _genesis(root)},
        "lanes": [
            {
                "kind": "ethereum",
                "name": "ethereum",
                "caip2": "eip155:31337",
                "registry": "0x" + bytes(12).hex() + "03" * 20,
                "endpoints": ["http://127.0.0.1:1"],
                "finality": {"kind": "depth", "depth": 2},
                "sender": sender,
            }
        ],
        "http": {"port": 1},
        "store": str(root / "store"),
        "token_file": str(root / "token"),
        "validators": [],
    }
    (root / "processes" / "relay" / "config.json").write_text(json.dumps(config))
    assert _account(subject, monkeypatch, (_block(), 10**24)) == []
    (poor,) = _account(subject, monkeypatch, (_block(), 0))
    assert poor.check == "balances"
    (late,) = _account(subject, monkeypatch, (_block(time=NOW - 1_000), 10**24))
    assert late.check == "clocks"
    (gone,) = _account(subject, monkeypatch, MalformedAnswer("no answer"))
    assert (gone.severity, "MalformedAnswer" in gone.text) == (Severity.PASSING, True)


def _genesis(root: Path) -> dict[str, Any]:
    genesis = a_network(root).genesis
    return {
        "root_genesis": "0x" + genesis.root_genesis.hex(),
        "validators": ["0x" + address.hex() for address in genesis.validators],
        "f": genesis.f,
        "t": genesis.t,
        "operators": ["0x" + address.hex() for address in genesis.operators],
        "attestation": int(genesis.attestation),
        "nonce": "0x" + genesis.nonce.hex(),
    }
