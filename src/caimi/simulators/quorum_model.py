"""Exhaustive model: a chain that breaks its own finality shows honest validators two final branches (spec 20 §1).

Every honest validator signs for the first branch it is shown and never for the other (that is the rule of
`caimi.validator`); every Byzantine one signs for both. The model walks through all reachable states and looks for one
in which both branches have a certificate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["TwoBranches", "conflicting_certificates"]


@dataclass(frozen=True, slots=True)
class TwoBranches:
    """How many honest validators have signed for each branch; validators are alike, so only the numbers matter."""

    first: int
    second: int


def conflicting_certificates(*, n: int, f: int, q: int) -> TwoBranches | None:
    """A reachable state with two certificates, or None if there is none.

    Arguments:
        n: validators, 1 <= n.
        f: of them Byzantine, 0 <= f < n.
        q: signatures of a certificate, 1 <= q <= n.
    """
    honest = n - f
    start = TwoBranches(0, 0)
    seen, queue = {start}, deque([start])
    while queue:
        state = queue.popleft()
        if state.first + f >= q and state.second + f >= q:
            return state
        if state.first + state.second == honest:
            continue
        for following in (TwoBranches(state.first + 1, state.second), TwoBranches(state.first, state.second + 1)):
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return None
