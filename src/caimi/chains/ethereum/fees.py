"""Gas and fees of a transaction: margins over what the node says, higher prices for a nonce used again, a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.ports.call_errors import CallTooLarge, FeeBoundReached

__all__ = [
    "DEFAULT_MAX_FEE_PER_GAS",
    "MAX_CALL_BYTES",
    "TX_GAS_CAP",
    "FeePolicy",
    "Fees",
    "check_call_size",
    "gas_limit",
]

TX_GAS_CAP: Final = 1 << 24
"""Most gas of one transaction since Osaka (EIP-7825): 16,777,216."""
MAX_CALL_BYTES: Final = 128 * 1024 - 512
"""Longest call: nodes keep no transaction above 128 KiB, and the rest of one takes less than 512 bytes."""

DEFAULT_MAX_FEE_PER_GAS: Final = 500 * 10**9
"""Wei per gas: above what the main network costs but for hours in years, and a bound to what a mistake can burn."""


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
    """Raise over the last transaction of the same nonce; nodes want 10 to 12.5."""
    most: int = DEFAULT_MAX_FEE_PER_GAS
    """Wei per gas: no transaction ever pays more."""

    def fees(self, *, base_fee: int, suggested_tip: int, replaced: Fees | None) -> Fees:
        """Prices for a transaction in the next blocks, on both counts above those of the one it replaces.

        Raises:
            FeeBoundReached: Within `most` it would not be included now, or would not replace.
        """
        room = self.most - base_fee
        if room < self.smallest_tip:
            raise FeeBoundReached(f"the base fee is {base_fee} wei per gas, at most {self.most} are paid")
        # What a node suggests is no reason to wait: the tip only takes what the bound leaves.
        tip = min(max(suggested_tip, self.smallest_tip), room)
        fees = Fees(max_priority_fee=tip, max_fee=min(self.base_fee_factor * base_fee + tip, self.most))
        if replaced is None:
            return fees
        least = self._raised(replaced.max_fee)
        if least > self.most:
            raise FeeBoundReached(f"a replacement costs {least} wei per gas, at most {self.most} are paid")
        return Fees(
            max_priority_fee=max(fees.max_priority_fee, self._raised(replaced.max_priority_fee)),
            max_fee=max(fees.max_fee, least),
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
