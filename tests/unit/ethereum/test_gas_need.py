"""The gas of a call by one execution of it."""

from __future__ import annotations

from typing import Any

import pytest

from caimi.chains.ethereum.errors import MalformedAnswer, RpcFailure
from caimi.chains.ethereum.fees import TX_GAS_CAP
from caimi.chains.ethereum.gas_need import gas_need, simulation


def _simulated(status: str = "0x1", used: int = 90_000) -> list[dict[str, Any]]:
    return [{"number": "0x6", "calls": [{"status": status, "gasUsed": hex(used), "logs": []}]}]


def test_asks_for_one_execution_within_what_a_transaction_may_use() -> None:
    method, (options, block) = simulation({"from": "0x01", "to": "0x02", "data": "0x"})
    assert (method, block) == ("eth_simulateV1", "latest")
    assert [call["gas"] for one in options["blockStateCalls"] for call in one["calls"]] == [hex(TX_GAS_CAP)]


@pytest.mark.parametrize("used", [21_000, 90_001, 8_000_000])
def test_need_holds_what_was_given_back_and_what_an_inner_call_does_not_get(used: int) -> None:
    need = gas_need(_simulated(used=used))
    assert need is not None
    # Before a fifth was given back, behind a call that leaves a 64th outside.
    assert need * 63 / 64 * 4 / 5 >= used
    assert need <= used * 1.28


@pytest.mark.parametrize("answer", [_simulated(status="0x0"), RpcFailure(-32601, "method not found")])
def test_is_not_known_where_it_failed_or_cannot_be_asked(answer: Any) -> None:
    assert gas_need(answer) is None


_OTHERS: list[Any] = [
    None,
    [],
    {},
    [{}],
    [{"calls": []}],
    [{"calls": [{}, {}]}],
    [{"calls": [{"status": "0x1"}]}],
    [{"calls": [{"status": "0x2", "gasUsed": "0x1"}]}],
    [*_simulated(), *_simulated()],
]


@pytest.mark.parametrize("answer", _OTHERS)
def test_rejects_an_answer_to_something_else(answer: Any) -> None:
    with pytest.raises(MalformedAnswer):
        gas_need(answer)
