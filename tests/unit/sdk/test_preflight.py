"""What home would refuse is found out before anything is encrypted; the ledger's own words count."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from caimi.ports.chain import PublicationView
from caimi.protocol.publication import AbortReason, Role, State
from caimi.sdk.connections import Connections
from caimi.sdk.preflight import check_at_home, counts_still
from caimi.sdk.publishing import Offer, SignedPublication, make_offer
from caimi.sdk.services import Service
from caimi.types.errors import CaimiError, LowBalance, NameTaken, NearDeadline, OutOfRange, SmallDeposit
from caimi.types.primitives import Address, UnixSeconds
from tests.unit.sdk.network_fixture import a_network

_ME, _OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)
_LEAST = 1_000
_NETWORK = a_network(Path("/nowhere"))


class _World:
    """Connections to a relay that lists one publication, and to a home that shows it."""

    network = _NETWORK

    def __init__(
        self, *, balance: int = 10_000, view: PublicationView | None = None, listed_at: str = "ethereum"
    ) -> None:
        self._balance = balance
        self._view = view
        row = {"id": "0x" + "0a" * 32, "home": listed_at, "mirrors": ["fabric"], "deadline": 1, "outcome": None}
        content = json.dumps([row]).encode()
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=content))
        self.relay = Service("http://127.0.0.1:1", httpx2.AsyncClient(transport=transport))

    def reader(self, name: str) -> Any:
        assert name == "ethereum"

        async def balance(account: Address) -> int:
            return self._balance

        async def publication(identifier: bytes) -> PublicationView | None:
            return self._view

        return SimpleNamespace(balance=balance, publication=publication)

    async def clock(self, name: str) -> UnixSeconds:
        return UnixSeconds(1_000)


def _view(**changed: Any) -> PublicationView:
    base: dict[str, Any] = {
        "role": Role.HOME,
        "state": State.COMMITTED,
        "publisher": _ME,
        "name": "m",
        "version": 1,
        "home": _NETWORK.lane("ethereum").lane,
        "mirrors": (_NETWORK.lane("fabric").lane,),
        "deposit": _LEAST,
        "deadline": UnixSeconds(2_000),
        "awaited": 0,
        "reason": AbortReason.NONE,
    }
    return PublicationView(**(base | changed))


def _offer(deposit: int = _LEAST) -> Offer:
    lane, mirror = _NETWORK.lane("ethereum").lane, _NETWORK.lane("fabric").lane
    return Offer(name="m", version=1, home=lane, mirrors=(mirror,), deposit=deposit, deadline=UnixSeconds(2_000))


def _check(world: _World, offer: Offer) -> None:
    asyncio.run(check_at_home(cast(Connections, world), offer, _ME))


@pytest.mark.parametrize(
    "view",
    [
        None,
        _view(publisher=_OTHER),
        _view(name="n"),
        _view(version=2),
        _view(state=State.ABORTED, reason=AbortReason.NEVER_LOCKED),
    ],
)
def test_a_free_name_and_enough_money_pass(view: PublicationView | None) -> None:
    _check(_World(view=view), _offer())


@pytest.mark.parametrize(
    "view",
    [
        _view(),
        _view(state=State.LOCKED),
        _view(state=State.SUPERSEDED),
        _view(state=State.ABORTED, reason=AbortReason.DEADLINE),
        _view(state=State.ABORTED, reason=AbortReason.MIRROR_REFUSED),
    ],
)
def test_rejects_a_name_and_version_that_home_has_locked(view: PublicationView) -> None:
    with pytest.raises(NameTaken):
        _check(_World(view=view), _offer())


def test_a_publication_of_another_home_takes_no_name_here() -> None:
    _check(_World(view=_view(), listed_at="fabric"), _offer())


def test_rejects_a_deposit_below_what_home_takes() -> None:
    with pytest.raises(SmallDeposit) as caught:
        _check(_World(), _offer(_LEAST - 1))
    assert caught.value.values == (_LEAST, _LEAST - 1)


@pytest.mark.parametrize(("balance", "is_enough"), [(_LEAST, True), (_LEAST - 1, False), (0, False)])
def test_rejects_a_balance_below_the_deposit(balance: int, *, is_enough: bool) -> None:
    if is_enough:
        _check(_World(balance=balance), _offer())
        return
    with pytest.raises(LowBalance) as caught:
        _check(_World(balance=balance), _offer())
    assert caught.value.values == (_LEAST, balance)


@pytest.mark.parametrize(
    ("deadline", "view", "expected"),
    [
        (1_001, None, True),
        (1_000, None, False),
        (1_000, _view(), True),
        (1_000, _view(state=State.ABORTED, reason=AbortReason.DEADLINE), True),
        (1_000, _view(state=State.ABORTED, reason=AbortReason.NEVER_LOCKED), False),
    ],
)
def test_an_interrupted_publication_counts_until_its_deadline_or_if_home_locked_it(
    deadline: int, view: PublicationView | None, *, expected: bool
) -> None:
    record = SimpleNamespace(home=_offer().home, deadline=UnixSeconds(deadline))
    signed = cast(SignedPublication, SimpleNamespace(id=b"\x0a" * 32, publication=record))
    assert asyncio.run(counts_still(cast(Connections, _World(view=view)), signed)) is expected


def _make(**changed: Any) -> Offer:
    base: dict[str, Any] = {"version": 1, "deposit": None, "deadline_s": 600}
    terms = base | changed
    mirror = (_NETWORK.lane("fabric").lane,)
    connections = cast(Connections, _World())
    return asyncio.run(
        make_offer(connections, "m", terms["version"], "ethereum", mirror, terms["deposit"], terms["deadline_s"])
    )


def test_an_offer_takes_homes_clock_and_least_deposit() -> None:
    assert (_make().deadline, _make().deposit) == (1_600, _LEAST)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"deadline_s": 9}, NearDeadline),
        ({"deadline_s": 1 << 64}, OutOfRange),
        ({"deposit": 1 << 128}, OutOfRange),
        ({"deposit": -1}, OutOfRange),
        ({"version": 1 << 64}, OutOfRange),
    ],
)
def test_rejects_numbers_that_no_ledger_holds(changed: dict[str, Any], expected: type[CaimiError]) -> None:
    with pytest.raises(expected):
        _make(**changed)
