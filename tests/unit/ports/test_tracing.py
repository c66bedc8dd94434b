"""Trace ids come from ids, travel in W3C headers, and what is malformed in those is left out."""

from __future__ import annotations

import asyncio
import re

import pytest

from caimi.ports.tracing import MOST_IDS, TraceContext, current_trace, trace_headers, trace_of, traced, working_on
from caimi.types.primitives import ZERO32, Bytes32
from caimi.wire.keccak import keccak256

ID = keccak256(b"publication")
OTHER = keccak256(b"request")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def _zeros(length: int) -> bytes:
    return bytes(length)


def test_the_trace_id_is_the_beginning_of_the_id() -> None:
    assert trace_of(ID) == ID.hex()[:32]


def test_no_trace_is_all_zeros() -> None:
    assert trace_of(ZERO32) == "0" * 31 + "1"


def test_work_on_nothing_has_no_headers() -> None:
    assert (current_trace(), trace_headers(_zeros)) == (None, {})


def test_what_is_sent_is_read_back_by_the_next_process() -> None:
    with working_on(ID, OTHER):
        sent = trace_headers(lambda length: b"\xab" * length)
        assert current_trace() == TraceContext(trace=trace_of(ID), ids=(ID, OTHER))
    assert re.fullmatch(r"00-[0-9a-f]{32}-(ab){8}-01", sent["traceparent"])
    with traced(sent):
        assert current_trace() == TraceContext(trace=trace_of(ID), ids=(ID, OTHER))
    assert current_trace() is None


def test_a_call_is_never_all_zeros() -> None:
    with working_on(ID):
        assert trace_headers(_zeros)["traceparent"] == f"00-{trace_of(ID)}-0000000000000001-01"


def test_blocks_nest_and_tasks_inherit() -> None:
    async def ask() -> TraceContext | None:
        return current_trace()

    async def scenario() -> None:
        with working_on(ID):
            task = asyncio.create_task(ask())
            with working_on(OTHER):
                inner = current_trace()
                with working_on():
                    assert current_trace() == inner, "without ids nothing changes"
            assert current_trace() != inner
        assert (await task) == TraceContext(trace=trace_of(ID), ids=(ID,))

    asyncio.run(scenario())


def test_very_many_ids_are_cut() -> None:
    many = [keccak256(bytes([number])) for number in range(MOST_IDS + 9)]
    with working_on(*many):
        sent = trace_headers(_zeros)
    assert len(sent["baggage"]) < 8_192
    with traced(sent):
        found = current_trace()
    assert found is not None and found.ids == tuple(many[:MOST_IDS])


def test_a_caller_without_our_baggage_keeps_his_trace() -> None:
    with traced({"traceparent": f"00-{TRACE}-{SPAN}-00", "baggage": "userId=alice, caimi.ids2=00"}):
        assert current_trace() == TraceContext(trace=TRACE, ids=())
        assert trace_headers(_zeros)["traceparent"].startswith(f"00-{TRACE}-")
        assert "baggage" not in trace_headers(_zeros)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    with traced({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"}):
        assert current_trace() == TraceContext(trace=TRACE, ids=())


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_a_malformed_parent_is_left_out(parent: str) -> None:
    with traced({"traceparent": parent}):
        assert current_trace() is None


@pytest.mark.parametrize(
    "baggage",
    [
        "caimi.ids=",
        f"caimi.ids={ID.hex()[:-2]}",
        f"caimi.ids={ID.hex()}.",
        f"caimi.ids={ID.hex()},{OTHER.hex()[:-1]}x"[:80] + "z",
        f"caimi.ids={ID.hex().upper()}",
        f"caimi.idss={ID.hex()}",
        "caimi.ids=" + ".".join([ID.hex()] * 200),
        '"',
    ],
)
def test_malformed_ids_are_left_out(baggage: str) -> None:
    with traced({"traceparent": f"00-{TRACE}-{SPAN}-01", "baggage": baggage}):
        found = current_trace()
    assert found is not None and found.ids in ((), (ID,)) and found.trace == TRACE
    assert found.ids == () or baggage.startswith(f"caimi.ids={ID.hex()},")


def test_ids_count_without_a_parent() -> None:
    with traced({"baggage": f"a=b, caimi.ids={ID.hex()};property=1"}):
        assert current_trace() == TraceContext(trace=trace_of(ID), ids=(ID,))


def test_an_id_has_32_bytes() -> None:
    with working_on(Bytes32(ID)):
        found = current_trace()
    assert found is not None and all(len(one) == 32 for one in found.ids)
