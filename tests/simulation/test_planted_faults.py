"""What the run would find in hosts and key holders that are not as they should be: each rule with its planted fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from caimi.apps.simulation import Plan, simulate
from caimi.crypto.inference_seal import Salted, open_input
from caimi.crypto.partial import Combined
from caimi.host import answering, service
from caimi.host.answering import Answerer
from caimi.host.key_client import KeyClient
from caimi.host.leases import Lease
from caimi.host.replays import Replays
from caimi.host.service import Host
from caimi.host.serving import DirectServing
from caimi.ports.host_store import RequestRow
from caimi.protocol import batches, brakes, registry
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import GovernedLane, RegistryState
from caimi.types.primitives import Bytes32, Sequence
from caimi.types.records import Answer, Lane
from caimi.validator.lane import AttestedLane
from caimi.validator.release import KeyRelease

PLAN = Plan(inference_every=1)


def found(seeds: int, plan: Plan = PLAN) -> set[str]:
    """Rules that these seeds break."""
    return {finding.rule for seed in range(seeds) for finding in simulate(seed, plan).findings}


def finds(rule: str, seeds: int, plan: Plan = PLAN) -> bool:
    """Whether one of these seeds breaks the rule."""
    return any(finding.rule == rule for seed in range(seeds) for finding in simulate(seed, plan).findings)


def test_finds_a_host_that_gives_the_output_of_another_request() -> None:
    assert finds("wrong-output", 2, dataclasses.replace(PLAN, hosts_mix_up_outputs=True))


def test_finds_a_validator_that_releases_what_was_never_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def believes(*_: object) -> None:
        pass

    monkeypatch.setattr(KeyRelease, "_check_committed", believes)
    assert finds("stolen-key", 4)


def test_finds_a_host_that_tells_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    combine = KeyClient._combine

    def tells(self: KeyClient, *arguments: Any) -> Combined:
        combined = combine(self, *arguments)
        self._observer.step("host.debug", key=combined.data_key.hex())
        return combined

    monkeypatch.setattr(KeyClient, "_combine", tells)
    assert found(1) == {"leak"}


def test_finds_an_output_that_is_stored_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsealed(salted: Salted, *, client: Bytes32, request: Bytes32) -> bytes:
        return salted.salt + salted.payload

    monkeypatch.setattr(answering, "seal_output", unsealed)
    assert {"leak", "wrong-output"} <= found(1)


def test_finds_a_host_that_does_not_look_at_the_commitment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trusts(self: Answerer, row: RequestRow) -> Salted:
        sealed = await answering._read(self._content, row.input, 1 << 16)
        return open_input(sealed, key=self._identity.sealing, publication=row.publication)

    monkeypatch.setattr(Answerer, "_open", trusts)
    assert finds("unsound-answer", 30)


def test_finds_a_host_that_gives_up_at_the_first_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(_: object) -> bool:
        return True

    monkeypatch.setattr(service, "is_final", always)
    assert finds("wrong-refusal", 4, dataclasses.replace(PLAN, end_at=150.0))


def test_finds_a_host_that_sends_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: Host) -> None:
        pass

    monkeypatch.setattr(Host, "_send_once", nothing)
    assert {"unanswered", "unsettled"} <= found(1, dataclasses.replace(PLAN, end_at=260.0))


def test_finds_an_answer_under_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    sign: Callable[..., Any] = Answerer._sign

    def lies(self: Answerer, row: RequestRow, publication: Any, leased: Any, **fields: Any) -> Any:
        return sign(self, row, publication, dataclasses.replace(leased, lease=Bytes32(bytes(32))), **fields)

    monkeypatch.setattr(Answerer, "_sign", lies)
    assert found(1) == {"no-receipt"}


def test_finds_a_registry_that_answers_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_inference: Callable[..., None] = Registry.answer_inference

    def takes(self: Registry, answer: Answer, *rest: Any, **fields: Any) -> None:
        before = len(self.state.events)
        answer_inference(self, answer, *rest, **fields)
        if len(self.state.events) > before:
            last = self.state.events[-1]
            self.state.events.append(dataclasses.replace(last, sequence=Sequence(last.sequence + 1)))

    monkeypatch.setattr(Registry, "answer_inference", takes)
    assert finds("answered-twice", 1)


def test_finds_a_programming_error_in_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("planted")

    monkeypatch.setattr(Host, "check_keys", broken)
    assert finds("bug", 1, dataclasses.replace(PLAN, end_at=120.0))


# --- brakes, caps and lanes

WITHOUT_HOSTS = Plan(inference_every=0)


def test_finds_a_registry_that_begins_things_while_it_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    def runs(_: object) -> None:
        pass

    for module in (registry, batches):
        monkeypatch.setattr(module, "check_running", runs)
    assert finds("begun-in-pause", 8, dataclasses.replace(WITHOUT_HOSTS, pauses=0.9))


def test_finds_a_pause_and_a_resumption_by_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    verify: Callable[..., None] = brakes.verify_order

    def anybody(*arguments: Any, needed: int) -> None:
        verify(*arguments, needed=1)

    monkeypatch.setattr(brakes, "verify_order", anybody)
    assert finds("unsigned-order", 12, dataclasses.replace(WITHOUT_HOSTS, pauses=0.9))


def test_finds_a_registry_that_pays_out_more_than_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    def enough(*_: object) -> None:
        pass

    monkeypatch.setattr(registry, "check_withdrawal", enough)
    assert finds("cap-exceeded", 12, WITHOUT_HOSTS)


def test_finds_validators_that_certify_the_new_branch_before_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whatever(_: AttestedLane) -> None:
        pass

    monkeypatch.setattr(AttestedLane, "_check_branch", whatever)
    assert finds("other-branch", 16, WITHOUT_HOSTS)


def test_finds_a_registry_that_accepts_certificates_of_a_dropped_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    known: Callable[..., GovernedLane] = RegistryState.governance_of

    def forgives(self: RegistryState, lane: Lane) -> GovernedLane:
        return dataclasses.replace(known(self, lane), dropped=False)

    monkeypatch.setattr(RegistryState, "governance_of", forgives)
    assert finds("dropped-lane", 24, dataclasses.replace(WITHOUT_HOSTS, drops=1.0))


# --- direct calls, and what is taken back


def test_finds_a_host_that_answers_a_direct_call_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(Replays, "begin", forgets)
    assert finds("answered-twice", 3)


def test_finds_a_host_that_counts_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_time(self: Lease, now: int, calls: int = 1) -> bool:
        return now + 30 <= self.record.end

    monkeypatch.setattr(Lease, "is_good", has_time)
    assert finds("lease-overdrawn", 6, dataclasses.replace(PLAN, direct_jobs=12))


def test_finds_a_host_that_gives_the_reply_of_another_direct_call(monkeypatch: pytest.MonkeyPatch) -> None:
    replies: list[bytes] = []
    answer: Callable[..., Any] = DirectServing._answer

    async def mixes_up(self: DirectServing, *arguments: Any) -> bytes:
        replies.append(await answer(self, *arguments))
        return replies[0]

    monkeypatch.setattr(DirectServing, "_answer", mixes_up)
    assert finds("wrong-output", 2)


def test_finds_validators_that_release_and_hosts_that_answer_after_a_revocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def believes(*_: object) -> None:
        pass

    monkeypatch.setattr(KeyRelease, "_check_publication", believes)
    plan = dataclasses.replace(PLAN, revokes=1.0, direct_jobs=8, end_at=200.0)
    assert {"released-after-revoke", "answered-after-revoke"} <= found(3, plan)
