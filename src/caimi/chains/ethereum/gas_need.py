"""How much gas a call needs, by one execution of it.

`eth_estimateGas` searches: a node executes a call many times until it knows the least limit, half a second for a batch
of publications. What one execution used, and what the limit may be above that, is enough.
"""

from __future__ import annotations

from typing import Any

from caimi.chains.ethereum.errors import MalformedAnswer, RpcFailure
from caimi.chains.ethereum.fees import TX_GAS_CAP
from caimi.chains.ethereum.fields import as_list, as_object, as_quantity, hex_quantity
from caimi.chains.ethereum.jsonrpc import Answer

__all__ = ["gas_need", "simulation"]


def simulation(trial: dict[str, str]) -> tuple[str, tuple[Any, ...]]:
    """The question that `gas_need` reads the answer of: `eth_simulateV1` (execution-apis) of one call."""
    calls = [trial | {"gas": hex_quantity(TX_GAS_CAP)}]
    return "eth_simulateV1", ({"blockStateCalls": [{"calls": calls}]}, "latest")


def gas_need(answer: Answer) -> int | None:
    """The limit under which the call certainly goes through, None if that has to be estimated.

    A fifth of what was used may have been given back at the end (EIP-3529), and a call inside gets at most 63 of 64
    parts of what is left (EIP-150).

    Raises:
        MalformedAnswer: The node's answer is none to this question.
    """
    # A node without the method, or one whose next block would see the call otherwise than its latest.
    if isinstance(answer, RpcFailure):
        return None
    block = as_object(_only(answer, "simulated blocks"), "a simulated block")
    result = as_object(_only(block.get("calls"), "simulated calls"), "a simulated call")
    if as_quantity(result.get("status"), "a simulated call's status", bits=1) == 0:
        return None
    used = as_quantity(result.get("gasUsed"), "a simulated call's gas")
    need = -(-used * 5 // 4)
    return need + need // 63 + 1


def _only(value: Any, what: str) -> Any:
    found = as_list(value, what, limit=1)
    if not found:
        raise MalformedAnswer(f"{what}: there is none")
    return found[0]
