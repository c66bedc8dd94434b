"""Bring-up steps converge, give up in time, and the definition says what was agreed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from caimi.chains.fabric import bringup, lifecycle, proto
from caimi.chains.fabric.bringup import BringUpStep, ChannelPlan, _Run
from caimi.chains.fabric.errors import EndorseUnavailable, LifecycleError, LifecycleTimeout
from caimi.chains.fabric.lifecycle import ChaincodeDefinition, PrivateCollection

_ORGANISATIONS = ("Org1MSP", "Org2MSP", "Org3MSP", "Org4MSP")
_DEFINITION = ChaincodeDefinition(
    name="caimi",
    version="1",
    sequence=1,
    organisations=_ORGANISATIONS,
    endorsements=2,
    collections=(
        PrivateCollection(
            name="partials", members=_ORGANISATIONS, block_to_live=100, required_peers=1, maximum_peers=3
        ),
    ),
)
_PLAN = ChannelPlan(
    channel="caimi", genesis_block=b"", package=b"", package_id="p", definition=_DEFINITION, probe=("version",)
)


class _Node:
    # Becomes done after `failures` acts that failed; `lost` makes an act succeed although its answer is lost.
    def __init__(self, *, failures: int = 0, lost: bool = False, done: bool = False) -> None:
        self.failures, self.lost, self.done, self.acts = failures, lost, done, 0

    async def is_done(self) -> bool:
        return self.done

    async def act(self) -> None:
        self.acts += 1
        if self.acts > self.failures:
            self.done = True
        if self.lost or not self.done:
            raise EndorseUnavailable("UNAVAILABLE", "try later")


def _converge(node: _Node, *, timeout_s: float = 60.0, is_done: Callable[[], Any] | None = None) -> list[str]:
    told: list[str] = []

    async def run() -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        steps = _Run(plan=_PLAN, progress=lambda step, name: told.append(f"{step.value} {name}"), deadline=deadline)
        await steps._converge(BringUpStep.APPROVED, "Org1MSP", is_done or node.is_done, node.act)

    asyncio.run(run())
    return told


def test_a_step_that_is_done_is_only_asked_for() -> None:
    node = _Node(done=True)
    assert _converge(node) == ["chaincode approved Org1MSP"]
    assert node.acts == 0


def test_a_step_whose_answer_was_lost_is_not_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup, "_FIRST_PAUSE_S", 0.0)
    node = _Node(lost=True)
    assert _converge(node) == ["chaincode approved Org1MSP"]
    assert node.acts == 1


def test_a_step_is_repeated_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup, "_FIRST_PAUSE_S", 0.0)
    node = _Node(failures=1)
    assert _converge(node) == ["chaincode approved Org1MSP"]
    assert node.acts == 2


def test_a_step_that_never_succeeds_ends_with_its_last_error() -> None:
    with pytest.raises(LifecycleTimeout, match=r"chaincode approved at Org1MSP: .*try later") as caught:
        _converge(_Node(failures=10**6), timeout_s=0.0)
    assert isinstance(caught.value.__cause__, EndorseUnavailable)


def test_another_definition_is_an_error_at_once() -> None:
    async def refuse() -> bool:
        raise LifecycleError("another definition")

    node = _Node()
    with pytest.raises(LifecycleError, match="another definition") as caught:
        _converge(node, is_done=refuse)
    assert type(caught.value) is LifecycleError
    assert node.acts == 0


def _parameter() -> Any:
    raw = lifecycle._validation_parameter(_DEFINITION)
    return proto.policy_pb2.ApplicationPolicy.FromString(raw).signature_policy


def test_peers_of_any_two_organisations_must_endorse() -> None:
    policy = _parameter()
    assert policy.rule.n_out_of.n == 2
    assert [rule.signed_by for rule in policy.rule.n_out_of.rules] == [0, 1, 2, 3]
    roles = [proto.msp_principal_pb2.MSPRole.FromString(identity.principal) for identity in policy.identities]
    assert [role.msp_identifier for role in roles] == list(_ORGANISATIONS)
    assert {role.role for role in roles} == {proto.msp_principal_pb2.MSPRole.PEER}


def test_the_collection_is_read_and_written_by_members_only_and_purged() -> None:
    (config,) = lifecycle._collections(_DEFINITION).config
    collection = config.static_collection_config
    assert (collection.name, collection.block_to_live) == ("partials", 100)
    assert (collection.required_peer_count, collection.maximum_peer_count) == (1, 3)
    assert collection.member_only_read
    assert collection.member_only_write
    assert collection.member_orgs_policy.signature_policy.rule.n_out_of.n == 1


def _committed(definition: ChaincodeDefinition) -> Any:
    fields = lifecycle._definition_fields(definition)
    fields.pop("name")
    return proto.lifecycle_pb2.QueryChaincodeDefinitionResult(**fields)


def test_a_definition_agrees_only_with_itself() -> None:
    from dataclasses import replace

    assert lifecycle._agrees(_committed(_DEFINITION), _DEFINITION)
    for other in (
        replace(_DEFINITION, version="2"),
        replace(_DEFINITION, sequence=2),
        replace(_DEFINITION, endorsements=3),
        replace(_DEFINITION, organisations=_ORGANISATIONS[:3]),
        replace(_DEFINITION, collections=()),
        replace(_DEFINITION, collections=(replace(_DEFINITION.collections[0], block_to_live=99),)),
    ):
        assert not lifecycle._agrees(_committed(other), _DEFINITION)
