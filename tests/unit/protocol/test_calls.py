"""Encoded calls on the reference model: all or nothing, with the limit and the errors of the real registries."""

from __future__ import annotations

import pytest

from caimi.protocol.calls import MAX_CALLS, after_call, copy_registry, run_call
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import BadEncoding, Refusal, UnknownFunction, UnknownPublication
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Lane
from caimi.wire.chain_ids import chain_hash
from caimi.wire.digests import network_id
from caimi.wire.functions import encode_call
from tests.conformance.scenario import CLOCK_WINDOW, ELSEWHERE, MIN_DEPOSIT, Signer, genesis, key, word

_LANE = Lane(chain=chain_hash("caimi:simulated"), registry=word("registry"))
_GENESIS = genesis(word("simulated"))
_NOW = UnixSeconds(1_800_000_000)
_PUBLISHER = Signer(network=network_id(_GENESIS), key=key("publisher"), label="publisher")


def registry() -> Registry:
    return Registry.create(
        RegistryConfig(lane=_LANE, genesis=_GENESIS, min_deposit=MIN_DEPOSIT, clock_window=CLOCK_WINDOW)
    )


def lock(tag: str) -> bytes:
    return _PUBLISHER.lock(_PUBLISHER.publication(home=ELSEWHERE, mirror=_LANE, deadline=_NOW + 1_000, tag=tag))


def refused(call: bytes, expected: type[Refusal]) -> None:
    """Both ways to run it refuse it and leave the registry as it was."""
    before, tried = registry(), registry()
    with pytest.raises(expected):
        after_call(tried, call, now=_NOW)
    assert tried == before
    with pytest.raises(expected):
        run_call(tried, call, now=_NOW)
    assert tried == before


def test_both_ways_to_run_a_call_have_the_same_effect() -> None:
    changed = registry()
    for call in (lock("-1"), encode_call("multicall", (lock("-1"), lock("-2")))):
        after = after_call(changed, call, now=_NOW)
        assert after != changed
        run_call(changed, call, now=_NOW)
        assert after == changed


def test_call_on_a_copy_leaves_the_registry_alone() -> None:
    first = registry()
    before = copy_registry(first)
    changed = after_call(first, lock("-1"), now=_NOW)
    assert first == before
    assert changed != before
    again = copy_registry(changed)
    after_call(changed, encode_call("multicall", (lock("-2"), lock("-3"))), now=_NOW)
    assert changed == again


def test_copy_shares_no_record_that_changes() -> None:
    first = after_call(registry(), lock("-1"), now=_NOW)
    copied = copy_registry(first)
    for record in copied.state.publications.values():
        record.awaited += 1
    assert copied != first


def test_one_bad_call_takes_the_others_with_it() -> None:
    unknown = encode_call("abort", word("nothing"))
    refused(encode_call("multicall", (lock("-1"), unknown)), UnknownPublication)
    refused(encode_call("multicall", (lock("-1"), b"")), UnknownFunction)
    refused(encode_call("multicall", (lock("-1"), lock("-2")[:99])), BadEncoding)


def test_batch_in_a_batch_is_no_encoding() -> None:
    refused(encode_call("multicall", (lock("-1"), encode_call("multicall", ()))), BadEncoding)


def test_batch_that_is_too_long_is_no_encoding() -> None:
    refused(encode_call("multicall", (b"",) * (MAX_CALLS + 1)), BadEncoding)
    run_call(registry(), encode_call("multicall", (lock("-1"),) * MAX_CALLS), now=_NOW)


@pytest.mark.parametrize("call", [b"\0\0\0\0", b""], ids=["unknown", "empty"])
def test_rejects_a_function_that_no_registry_has(call: bytes) -> None:
    refused(call, UnknownFunction)


def test_rejects_a_function_of_the_board() -> None:
    refused(encode_call("fundWithPermit", _PUBLISHER.key.address, 1, 1, 27, word("r"), word("s")), UnknownFunction)


def test_rejects_bytes_after_the_arguments() -> None:
    refused(lock("-1") + b"\0", BadEncoding)
