"""A node that does not answer for a while is asked again; one that says no, or stays away, is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from caimi.ports.chain import ChainUnavailable, SourcesDisagree
from caimi.sdk.patience import PatientReader
from caimi.types.failure import CaimiError
from caimi.types.primitives import Address

ACCOUNT = Address(bytes(20))


class Moody:
    """A reader that fails as told before it answers."""

    lane = None

    def __init__(self, *failures: CaimiError) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def balance(self, account: Address) -> int:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return 7


def ask(moody: Any, patience_s: float) -> int:
    return asyncio.run(PatientReader(moody, patience_s=patience_s).balance(ACCOUNT))


def test_asks_again() -> None:
    moody = Moody(ChainUnavailable("busy"))
    assert ask(moody, 5.0) == 7
    assert moody.asked == 2


def test_rejects_after_its_patience() -> None:
    moody = Moody(*[ChainUnavailable("gone")] * 3)
    with pytest.raises(ChainUnavailable, match="gone"):
        ask(moody, 0.1)
    assert moody.asked == 1


def test_rejects_disagreement_at_once() -> None:
    moody = Moody(SourcesDisagree("two heads"))
    with pytest.raises(SourcesDisagree, match="two heads"):
        ask(moody, 5.0)
    assert moody.asked == 1
