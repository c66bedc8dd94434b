"""Traces as clients read them: when they are settled, and when home has said no."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import httpx2
import pytest

from caimi.cli.waterfall import waterfall
from caimi.sdk.connections import Connections
from caimi.sdk.errors import RefusedByRegistry, RefusedForNow, ServiceAnswer, UnknownName
from caimi.sdk.models import Model, find_model
from caimi.sdk.services import Service
from caimi.sdk.tracing import Trace, parse_id, read_trace
from caimi.types.primitives import Address, Bytes32, PublicationId

_ID = Bytes32(b"\x0a" * 32)


def _step(**changed: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "lane": "fabric",
        "what": "call lock",
        "state": "done",
        "time": 100,
        "height": 7,
        "transaction": "ab" * 32,
    }
    nobody: list[int] = []
    return base | {"sequence": None, "signers": nobody, "detail": "", "problem": None} | changed


def _body(states: dict[str, str], outcome: str | None, *steps: dict[str, Any]) -> dict[str, Any]:
    nobody: list[str] = []
    return {
        "id": "0x" + _ID.hex(),
        "home": "fabric",
        "mirrors": ["ethereum"],
        "unknown_mirrors": nobody,
        "deadline": 700,
        "outcome": outcome,
        "states": states,
        "waits_for": "something",
        "waits_on": ["validator 2"],
        "deadline_left": 7,
        "refusal": None,
        "steps": list(steps),
        "watched": "publication",
    }


class _Relay:
    """Connections to a relay that knows one thing."""

    def __init__(self, path: str, body: dict[str, Any]) -> None:
        self._path = path
        self._body = body

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == f"/v1/{self._path}/0x{_ID.hex()}":
            return httpx2.Response(200, content=json.dumps(self._body).encode())
        problem = {"error": "NoSuchThing", "values": {"text": "x"}, "retry": "after"}
        return httpx2.Response(404, content=json.dumps(problem).encode())

    async def read(self) -> Trace:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer)) as client:
            self.relay = Service("http://127.0.0.1:1", client)
            return await read_trace(cast(Connections, self), _ID)


def _read(path: str, body: dict[str, Any]) -> Trace:
    return asyncio.run(_Relay(path, body).read())


@pytest.mark.parametrize(
    ("states", "outcome", "is_settled"),
    [
        ({"fabric": "COMMITTED", "ethereum": "COMMITTED"}, "COMMITTED", True),
        ({"fabric": "ABORTED", "ethereum": "REFUSED"}, "ABORTED", True),
        ({"fabric": "ABORTED", "0x/0x": "UNKNOWN"}, "ABORTED", True),
        ({"fabric": "SUPERSEDED", "ethereum": "SUPERSEDED"}, "COMMITTED", True),
        ({"fabric": "COMMITTED", "ethereum": "LOCKED"}, "COMMITTED", False),
        ({"fabric": "COMMITTED", "ethereum": "NONE"}, "COMMITTED", False),
        ({"fabric": "COMMITTED", "ethereum": "COMMITTED"}, None, False),
        ({"fabric": "LOCKED", "ethereum": "LOCKED"}, None, False),
    ],
)
def test_a_publication_is_settled_when_no_lane_waits(
    states: dict[str, str], outcome: str | None, *, is_settled: bool
) -> None:
    assert _read("publications", _body(states, outcome)).is_settled is is_settled


def test_a_request_is_found_when_no_publication_is() -> None:
    body: dict[str, Any] = {
        "id": "0x" + _ID.hex(),
        "lane": "ethereum",
        "publication": "0x" + "01" * 32,
        "state": "ANSWERED",
        "receipt_hash": None,
        "output": None,
        "waits_for": "nothing",
        "waits_on": [],
        "deadline": 900,
        "steps": [],
    }
    trace = _read("requests", body)
    assert (trace.kind, trace.home, trace.is_settled) == ("request", "ethereum", True)


def test_rejects_an_id_that_nobody_knows() -> None:
    with pytest.raises(UnknownName, match=f"knows no publication or request 0x{_ID.hex()}"):
        _read("nothing", {})


def _problem(error: str, **changed: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {}
    base: dict[str, Any] = {"error": error, "code": 7, "blame": "caller", "certainty": "proven", "retry": "never"}
    return base | {"hint": "do this", "values": nothing, "attempts": 2} | changed


def _refused(refusal: Any) -> Trace:
    step = _step(state="refused", problem=refusal, height=None, transaction=None)
    body = _body({"fabric": "NONE", "ethereum": "LOCKED"}, None, step)
    return _read("publications", body | {"refusal": refusal})


@pytest.mark.parametrize(
    ("problem", "kind", "told"),
    [
        (
            _problem("SmallDeposit", values={"expected": 1000, "actual": "5"}),
            RefusedByRegistry,
            "fabric refuses it: SmallDeposit: expected 1000, actual 5; do this",
        ),
        (
            _problem("LowBalance", values={"expected": 9, "actual": 5}, retry="after"),
            RefusedForNow,
            "fabric refuses it: LowBalance: expected 9, actual 5; do this",
        ),
        (_problem("NameTaken", hint=""), RefusedByRegistry, "fabric refuses it: NameTaken"),
        # Of a newer relay, or of a ledger: what it says about itself counts.
        (_problem("Unheard", code=None, retry="after"), RefusedForNow, "fabric refuses it: Unheard; do this"),
        (
            _problem("CallRejected", code=None, values={"cause": "because"}),
            RefusedByRegistry,
            "fabric refuses it: CallRejected: cause because; do this",
        ),
        (_problem("LowBalance"), RefusedByRegistry, "fabric refuses it: LowBalance; do this"),
    ],
)
def test_a_refusal_says_what_to_do_and_whether_to_repeat(
    problem: dict[str, Any], kind: type[RefusedByRegistry], told: str
) -> None:
    trace = _refused(problem)
    found = trace.refused()
    assert (type(found), str(found)) == (kind, told)
    assert trace.to_json()["refusal"] == trace.to_json()["steps"][0]["problem"] == problem


def test_a_step_of_a_failed_call_shows_culprit_and_next_step() -> None:
    lines = waterfall(_refused(_problem("SmallDeposit", values={"expected": 1000, "actual": 5})))
    assert any(
        line.endswith("2 failed attempts, the last: SmallDeposit: expected 1000, actual 5 (caller); do this")
        for line in lines
    )


@pytest.mark.parametrize(
    "problem",
    [
        "NameTaken {}",
        _problem("NameTaken", retry="often"),
        _problem("NameTaken", values={"a": [1]}),
        _problem("NameTaken", attempts=-1),
        {"error": "NameTaken"},
    ],
)
def test_rejects_a_refusal_that_is_no_problem_object(problem: object) -> None:
    with pytest.raises(ServiceAnswer):
        _refused(problem)


def test_a_refused_request_is_an_error() -> None:
    body: dict[str, Any] = {
        "id": "0x" + _ID.hex(),
        "lane": "ethereum",
        "publication": "0x" + "01" * 32,
        "state": "REFUSED",
        "receipt_hash": None,
        "output": None,
        "waits_for": "nothing: the registry refused it (Expired)",
        "waits_on": [],
        "deadline": 900,
        "refusal": _problem("NameTaken"),
        "steps": [],
    }
    assert str(_read("requests", body).refused()) == "ethereum refuses it: NameTaken; do this"


def test_what_home_does_not_refuse_is_no_error() -> None:
    step = _step(state="queued", problem=_problem("LowBalance"))
    trace = _read("publications", _body({"fabric": "LOCKED", "ethereum": "NONE"}, None, step))
    assert trace.refused() is None and trace.steps[0].problem is not None


def _model(name: str, version: int, state: str, *, publisher: int = 1, number: int = 1) -> Model:
    return Model(
        id=PublicationId(Bytes32(bytes([number]) * 32)),
        name=name,
        version=version,
        publisher=Address(bytes([publisher]) * 20),
        home="fabric",
        mirrors=("ethereum",),
        states={"fabric": state, "ethereum": state},
        deposit=0,
    )


def test_a_name_is_its_highest_committed_version() -> None:
    models = [_model("a", 3, "ABORTED"), _model("a", 2, "COMMITTED"), _model("a", 1, "SUPERSEDED")]
    assert find_model(models, "a").version == 2
    assert find_model(models, "a@3").version == 3


@pytest.mark.parametrize("state", ["COMMITTED", "SUPERSEDED", "LOCKED"])
def test_a_version_is_the_one_that_took_the_name(state: str) -> None:
    # Newest first, as the relay lists them: later attempts with the same name never took it.
    models = [_model("a", 1, "ABORTED", number=2), _model("a", 1, state, number=1), _model("a", 1, "ABORTED", number=3)]
    assert find_model(models, "a@1").states["fabric"] == state


def test_a_strangers_aborted_attempt_does_not_make_a_name_ambiguous() -> None:
    models = [_model("a", 1, "ABORTED", publisher=2), _model("a", 1, "COMMITTED")]
    assert find_model(models, "a@1") == models[1]


@pytest.mark.parametrize(
    ("models", "text", "told"),
    [
        ([], "a", "there is no publication 'a'"),
        ([_model("a", 1, "COMMITTED")], "a@2", "there is no publication 'a@2'"),
        ([_model("a", 1, "ABORTED"), _model("a", 2, "LOCKED")], "a", "committed: a@1 ABORTED, a@2 LOCKED"),
        ([_model("a", 1, "COMMITTED"), _model("a", 1, "COMMITTED", publisher=2)], "a", "name it by its id"),
    ],
)
def test_rejects_a_name_of_nothing_or_of_two(models: list[Model], text: str, told: str) -> None:
    with pytest.raises(UnknownName, match=told):
        find_model(models, text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("states", 1), ("steps", [1]), ("steps", [_step(time="soon")]), ("id", "0x01"), ("mirrors", [1])],
)
def test_rejects_an_answer_that_is_no_trace(name: str, value: object) -> None:
    with pytest.raises(ServiceAnswer):
        _read("publications", _body({"fabric": "NONE"}, None) | {name: value})


@pytest.mark.parametrize("text", ["", "0x", "12", "zz" * 32, "0x" + "00" * 33])
def test_rejects_a_text_that_is_no_id(text: str) -> None:
    with pytest.raises(UnknownName):
        parse_id(text)


def test_an_id_is_read_with_and_without_0x() -> None:
    assert parse_id("0x" + _ID.hex()) == parse_id(_ID.hex()) == _ID


def test_the_waterfall_tells_time_place_and_signers() -> None:
    carried = _step(what="call carry", lane="ethereum", time=103, signers=[0, 2], detail="events 1-1 of fabric")
    foreign = f"0x{'ab' * 32}/0x{'01' * 32}"
    body = _body({"fabric": "LOCKED", foreign: "UNKNOWN"}, None, _step(), carried)
    lines = waterfall(_read("publications", body))
    assert any("+3 s" in line and "signed by validators 1, 3" in line and "block 7" in line for line in lines)
    assert lines[-1] == "waits for something [validator 2]"
    assert lines[1] == f"trace {_ID[:16].hex()}" and any("7 s left" in line for line in lines)
    assert not any(foreign in line for line in lines)
    assert any("0xabababab… UNKNOWN" in line for line in lines)


def test_a_trace_tells_its_trace_id_whom_it_waits_for_and_how_long() -> None:
    trace = _read("publications", _body({"fabric": "LOCKED", "ethereum": "NONE"}, None))
    shown = trace.to_json()
    assert shown["trace_id"] == trace.trace_id == _ID[:16].hex()
    assert (shown["waits_on"], shown["deadline_left"]) == (["validator 2"], 7)


def test_the_relay_is_told_the_trace_of_what_it_is_asked_about() -> None:
    seen: list[tuple[str, str]] = []

    class Listening(_Relay):
        def answer(self, request: httpx2.Request) -> httpx2.Response:
            seen.append((request.headers["traceparent"][3:35], request.headers["baggage"]))
            return super().answer(request)

    asyncio.run(Listening("publications", _body({"fabric": "LOCKED", "ethereum": "NONE"}, None)).read())
    assert seen == [(_ID[:16].hex(), f"caimi.ids={_ID.hex()}")]
