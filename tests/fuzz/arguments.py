"""Arguments of calls: the reference model and the chaincode, as a differential search on one state of both."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.fuzz.mutation import change_words
from tests.fuzz.target import Check, Target, refusal_of

__all__ = ["ARGUMENTS", "DRIVER_VARIABLE"]

DRIVER_VARIABLE: Final = "CAIMI_FUZZ_DRIVER"
"""Names the compiled `onchain/fabric/cmd/drive`; without it, it is compiled."""
_BEFORE: Final = 60
_SEEDS: Final = 240
# The chaincode has these, the model does not (spec 60): of them the decoding is compared, not what they do.
_BOARD: Final = frozenset({"mint", "openLease", "postPartial", "postBoard"})


def _check() -> Check:
    from caimi.protocol.calls import after_call
    from caimi.types.errors import Refusal
    from caimi.types.primitives import UnixSeconds
    from caimi.wire.functions import decode_call, encode_call
    from tests.conformance.chaincode_driver import Driver
    from tests.conformance.test_chaincode_against_model import Pair, message

    driver = Driver(_program())
    atexit.register(driver.close)
    pair = Pair(driver, 0)
    for _ in range(_BEFORE):
        pair.same(pair.traffic.next())
    now = UnixSeconds(pair.traffic.now)

    def work(data: bytes) -> None:
        # Both are asked whatever the other says, and at the same time.
        driver.begin_trying(data, now=now)
        said = ""
        try:
            name, arguments = decode_call(data)
            if encode_call(name, *arguments) != data:
                raise AssertionError("accepted, but it encodes to something else")
            inner = arguments[0] if name == "multicall" else (data,)
            is_compared = not any(_name(call) in _BOARD for call in inner)
            if is_compared:
                after_call(pair.model, data, now=now)
        except Refusal as refusal:
            is_compared, said = True, message(refusal)
            raised = refusal
        else:
            raised = None
        answer = driver.answered()
        told = "" if answer.ok else answer.message
        if is_compared and told != said:
            raise AssertionError(f"the model says {said!r}, the chaincode {told!r}")
        if not is_compared and told.split(":")[0] == "UnknownFunction":
            raise AssertionError(f"the chaincode lacks a function: {told!r}")
        if raised is not None:
            raise raised

    return lambda data: refusal_of(partial(work, data), (Refusal,))


def _name(call: bytes) -> str:
    from caimi.types.errors import Refusal
    from caimi.wire.functions import decode_call

    try:
        return decode_call(call)[0]
    except Refusal:
        return ""


def _program() -> Path:
    from tests.conformance.chaincode_driver import build_driver

    known = os.environ.get(DRIVER_VARIABLE)
    return Path(known) if known else build_driver(Path(tempfile.mkdtemp(prefix="caimi-drive-")))


def _seeds() -> Sequence[bytes]:
    from tests.conformance.chaincode_driver import Driver
    from tests.conformance.test_chaincode_against_model import Pair

    driver = Driver(_program())
    try:
        pair = Pair(driver, 0)
        for _ in range(_BEFORE):
            pair.same(pair.traffic.next())
        return [call for call in (pair.traffic.next() for _ in range(_SEEDS)) if len(call) <= ARGUMENTS.longest]
    finally:
        driver.close()


ARGUMENTS: Final = Target(prepare=_check, seeds=_seeds, mutation=partial(change_words, head=4), longest=1 << 13)
"""Selector and arguments, as a ledger takes them."""
