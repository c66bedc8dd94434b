"""From the client's errors to those of the ports, which services know.

* ChainError (caimi.ports.chain)
  + BrokenLedger: the peer delivers what no honest ledger holds
  + ChainUnavailable: everything that may be tried again
  + CallRejected, CallTooLarge (caimi.ports.call_errors)
* Refusal: what the chaincode says as `NAME: value, value`
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from caimi.chains.fabric.errors import (
    BrokenBlockChain,
    ChaincodeRefusal,
    DeliverRefused,
    FabricError,
    MalformedBlock,
    OutcomeUnknown,
    ProposalTimeRefused,
)
from caimi.ports.call_errors import CallRejected, CallTooLarge
from caimi.ports.chain import ChainError, ChainUnavailable
from caimi.types.errors import CaimiError, ClockSkew, Refusal
from caimi.types.failure import Certainty, Retry
from caimi.types.refusals import BY_NAME

__all__ = ["BrokenLedger", "port_error", "read_refusal"]

_TOO_LARGE: Final = "larger than max"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,77}")
_BYTES: Final = re.compile(r"0x((?:[0-9a-f]{2})*)")


class BrokenLedger(ChainError):
    """The peer delivers blocks or events that no honest ledger holds: nothing is skipped, the reader abstains."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "stop trusting this peer and read the channel from another"


def port_error(error: FabricError) -> CaimiError:
    """The error that a port raises for one of the client."""
    if isinstance(error, ChaincodeRefusal):
        return read_refusal(error.code, error.message)
    if isinstance(error, ProposalTimeRefused):
        # Only the peer's words tell its time.
        skew = ClockSkew()
        skew.add_note(str(error))
        return skew
    if isinstance(error, (MalformedBlock, BrokenBlockChain, DeliverRefused)):
        return BrokenLedger(str(error))
    if error.retry is Retry.SAFE or isinstance(error, OutcomeUnknown):
        return ChainUnavailable(str(error))
    if _TOO_LARGE in str(error):
        return CallTooLarge(str(error))
    return CallRejected(str(error))


def read_refusal(name: str, text: str) -> Refusal | CallRejected:
    """The refusal that the chaincode answered, or `CallRejected` with its words if the table has no such name."""
    refusal = BY_NAME.get(name)
    if refusal is None:
        return CallRejected(f"{name}: {text}")
    shown = text.split(", ") if text else []
    kinds = [argument.split(" ")[0] for argument in refusal.arguments]
    values = [_value(kind, value) for kind, value in zip(kinds, shown, strict=False)]
    if len(shown) != len(kinds) or None in values:
        return CallRejected(f"{name} with malformed values: {text}")
    return refusal(*values)


def _value(kind: str, shown: str) -> Any:
    # None for what is no value of this kind.
    read: Callable[[str], Any] = _number if kind.startswith("uint") else _data
    return read(shown)


def _number(shown: str) -> int | None:
    return int(shown) if _NUMBER.fullmatch(shown) else None


def _data(shown: str) -> bytes | None:
    found = _BYTES.fullmatch(shown)
    return bytes.fromhex(found[1]) if found else None
