"""Reads vectors/registry: the reference model plays every scenario, and is created as each creation says."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.protocol.calls import run_call
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import BY_NAME, Refusal
from caimi.types.primitives import Address, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Genesis, Lane
from caimi.wire.codec import decode, encode_values
from caimi.wire.digests import leaf_hash

CREATIONS = suite("registry/creation.json")["cases"]
SUITES = {n: suite(f"registry/{n}.json") for n in ("ethereum", "fabric", "ethereum-brakes", "fabric-brakes")}
CASES = [(name, number) for name, read in SUITES.items() for number in range(len(read["cases"]))]


def play(case: dict[str, Any]) -> Registry:
    config = case["config"]
    registry = Registry.create(
        RegistryConfig(
            lane=decode(Lane, unhex(config["lane"])),
            genesis=decode(Genesis, unhex(config["genesis"])),
            min_deposit=int(config["minDeposit"]),
            clock_window=config["clockWindow"],
        )
    )
    for account in case["accounts"]:
        registry.state.balances[Address(unhex(account["address"]))] = int(account["balance"])
    for step in case["steps"]:
        run_step(registry, step)
        assert len(registry.state.events) == step["events"]
    return registry


def run_step(registry: Registry, step: dict[str, Any]) -> None:
    now, call = UnixSeconds(step["now"]), unhex(step["call"])
    if "error" not in step:
        run_call(registry, call, now=now)
        return
    with pytest.raises(BY_NAME[step["error"]]) as caught:
        run_call(registry, call, now=now)
    assert arguments(caught.value) == unhex(step["arguments"])


def arguments(refusal: Refusal) -> bytes:
    kinds = tuple(a.split(" ")[0] for a in refusal.arguments)
    return encode_values(kinds, refusal.values)


@pytest.mark.parametrize("case", **named(CREATIONS))
def test_creation(case: dict[str, Any]) -> None:
    config = RegistryConfig(
        lane=decode(Lane, unhex(SUITES["fabric"]["cases"][0]["config"]["lane"])),
        genesis=decode(Genesis, unhex(case["config"]["genesis"])),
        min_deposit=int(case["config"]["minDeposit"]),
        clock_window=int(case["config"]["clockWindow"]),
    )
    if "error" not in case:
        assert Registry.create(config).network == unhex(case["network"])
        return
    with pytest.raises(BY_NAME[case["error"]]) as caught:
        Registry.create(config)
    assert arguments(caught.value) == unhex(case["arguments"])


@pytest.mark.parametrize(("name", "number"), CASES)
def test_scenario(name: str, number: int) -> None:
    case = SUITES[name]["cases"][number]
    registry = play(case)
    state = registry.state
    assert [leaf_hash(registry.lane, i) for i in state.events] == [unhex(x) for x in case["leaves"]]
    assert [[a.sequence, a.disposition, a.code] for a in state.applied] == case["applied"]
    for expected in case["publications"]:
        record = state.publications[PublicationId(Bytes32(unhex(expected["id"])))]
        actual = (record.role, record.state, str(record.deposit), record.awaited, record.reason, record.revoked)
        fields = ("role", "state", "deposit", "awaited", "reason", "revoked")
        assert actual == tuple(expected[k] for k in fields)
    assert len(state.publications) == len(case["publications"])
    for account in case["balances"]:
        assert state.balances.get(Address(unhex(account["address"])), 0) == int(account["balance"])
    assert sum(state.balances.values()) + state.escrowed() + sum(state.tokens.values()) == 1000
