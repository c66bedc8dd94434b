"""Gas and fees of a transaction: margins over what the node says, and a higher price for a slot that is used again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.ports.call_errors import CallTooLarge

__all__ = ["MAX_CALL_BYTES", "TX_GAS_CAP", "FeePolicy", "Fees", "check_call_size", "gas_limit"]

TX_GAS_CAP: Final = 1 << 24
"""Most gas of one transaction since Osaka (EIP-7825): 16,777,216."""
MAX_CALL_BYTES: Final = 128 * 1024 - 512
"""Longest call: nodes keep no transaction above 128 KiB, and the rest of one takes less than 512 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """Prices in wei per gas."""

    max_priority_fee: int
    max_fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePolicy:
    """How much more than now is paid."""

    base_fee_factor: int = 2
    """The base fee may rise so many times before the transaction is too cheap."""
    smallest_tip: int = 1_000_000
    """Wei per gas, for chains whose nodes suggest nothing."""
    replace_percent: int = 13
    """Raise over the last transaction of the same slot; nodes want at least 10."""

    def fees(self, *, base_fee: int, suggested_tip: int, replaced: Fees | None) -> Fees:
        """Prices for a transaction, above those of the one it replaces."""
        tip = max(suggested_tip, self.smallest_tip)
        fees = Fees(max_priority_fee=tip, max_fee=self.base_fee_factor * base_fee + tip)
        if replaced is None:
            return fees
        return Fees(
            max_priority_fee=max(fees.max_priority_fee, self._raised(replaced.max_priority_fee)),
            max_fee=max(fees.max_fee, self._raised(replaced.max_fee)),
        )

    def _raised(self, price: int) -> int:
        return price + (price * self.replace_percent + 99) // 100


def check_call_size(call: bytes) -> None:
    """Refuse a call that no node would keep.

    Raises:
        CallTooLarge: It is longer than `MAX_CALL_BYTES`.
    """
    if len(call) > MAX_CALL_BYTES:
        raise CallTooLarge(f"a call of {len(call)} bytes, at most {MAX_CALL_BYTES}")


def gas_limit(estimate: int, *, block_gas_limit: int) -> int:
    """The estimate and a quarter more, within what one transaction may use.

    Raises:
        CallTooLarge: The estimate alone is above that.
    """
    most = min(TX_GAS_CAP, block_gas_limit)
    if estimate > most:
        raise CallTooLarge(f"{estimate} gas, one transaction may use {most}")
    return min(estimate + estimate // 4, most)
