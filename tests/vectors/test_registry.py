"""Reads vectors/registry: the reference model plays every scenario, and is created as each creation says."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.protocol.calls import run_call
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import Limits, RegistryConfig
from caimi.types.errors import BY_NAME, Refusal
from caimi.types.primitives import ZERO32, Address, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Genesis, Lane
from caimi.wire.codec import decode, encode_values
from caimi.wire.digests import leaf_hash

CREATIONS = suite("registry/creation.json")["cases"]
BATCHES = ("ethereum-batches", "fabric-batches")
NAMES = ("ethereum", "fabric", "ethereum-brakes", "fabric-brakes", *BATCHES, "ethereum-epochs", "fabric-epochs")
SUITES = {n: suite(f"registry/{n}.json") for n in NAMES}
CASES = [(name, number) for name, read in SUITES.items() for number in range(len(read["cases"]))]


def play(case: dict[str, Any]) -> Registry:
    registry = Registry.create(configuration(case["config"], decode(Lane, unhex(case["config"]["lane"]))))
    for account in case["accounts"]:
        registry.state.balances[Address(unhex(account["address"]))] = int(account["balance"])
    for step in case["steps"]:
        run_step(registry, step)
        assert len(registry.state.events) == step["events"]
    return registry


def configuration(config: dict[str, Any], lane: Lane) -> RegistryConfig:
    root = decode(Lane, unhex(config["root"]))
    return RegistryConfig(
        lane=lane,
        genesis=decode(Genesis, unhex(config["genesis"])),
        min_deposit=int(config["minDeposit"]),
        clock_window=int(config["clockWindow"]),
        limits=Limits(resume_delay=int(config["resumeDelay"]), withdrawal_cap=int(config["withdrawalCap"])),
        root=None if root.chain == ZERO32 else root,
    )


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
    config = configuration(case["config"], decode(Lane, unhex(SUITES["fabric"]["cases"][0]["config"]["lane"])))
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
    assert [state.brakes.paused, state.brakes.counter, state.brakes.since] == case["brakes"]
    assert state.withdrawn.get(state.epoch, 0) == int(case["withdrawn"])
    for expected in case["governed"]:
        last = state.governance_of(decode(Lane, unhex(expected["lane"])))
        actual = (last.version, last.generation, last.height, last.block_hash, last.dropped)
        fields = (*(expected[k] for k in ("version", "generation", "height")), unhex(expected["blockHash"]))
        assert actual == (*fields, expected["dropped"])
    assert len(state.governed) == len(case["governed"])
    check_batches(registry, case)
    check_epochs(registry, case)
    for account in case["balances"]:
        assert state.balances.get(Address(unhex(account["address"])), 0) == int(account["balance"])
    assert sum(state.balances.values()) + state.escrowed() + sum(state.tokens.values()) == 1000


def check_epochs(registry: Registry, case: dict[str, Any]) -> None:
    epochs, acknowledged = registry.state.epochs, registry.state.acknowledged
    if "epochs" not in case:
        assert (epochs.present.epoch, epochs.before, epochs.announced, acknowledged) == (1, None, None, {})
        return
    expected, present = case["epochs"], epochs.present
    assert [present.epoch, present.validators.f, present.validators.t] == expected["present"]
    assert list(present.validators.validators) == [unhex(v) for v in expected["validators"]]
    assert (0 if epochs.before is None else epochs.before.epoch) == expected["before"]
    assert (present.set_hash, present.transcript) == (unhex(expected["set"]), unhex(expected["transcript"]))
    announced = (0, ZERO32) if epochs.announced is None else (epochs.announced.epoch, epochs.announced.set_hash)
    assert announced == (expected["announced"], unhex(expected["announcedSet"]))
    entered = {decode(Lane, unhex(a["lane"])): a["epoch"] for a in expected["acknowledged"]}
    assert acknowledged == entered


def check_batches(registry: Registry, case: dict[str, Any]) -> None:
    state = registry.state
    for expected in case.get("batches", []):
        batch = state.batches[decode(Lane, unhex(expected["home"])), Bytes32(unhex(expected["root"]))]
        numbers = ("role", "state", "count", "earliest", "latest", "awaited", "reason")
        assert [getattr(batch, name) for name in numbers] == [expected[name] for name in numbers]
        assert (str(batch.taken), str(batch.deposits)) == (expected["taken"], expected["deposits"])
    assert len(state.batches) == len(case.get("batches", []))
    logged = {Bytes32(unhex(b["root"])): tuple(unhex(i) for i in b["ids"]) for b in case.get("batchIds", [])}
    assert state.batch_ids == logged
    for expected in case.get("states", []):
        identifier = PublicationId(Bytes32(unhex(expected["id"])))
        proof = decode(BatchProof, unhex(expected["proof"]))
        if "error" not in expected:
            assert registry.state_in(identifier, proof) == (expected["role"], expected["state"])
            continue
        with pytest.raises(BY_NAME[expected["error"]]) as caught:
            registry.state_in(identifier, proof)
        assert arguments(caught.value) == unhex(expected["arguments"])
