"""The HTLC relay: lock here, lock there, claim there, claim here, each step of each publication by itself.

Four transactions, as the scheme has it. It is as quick as it can be made: everything of it is sent side by side, it
waits for finality only where waiting guards money, keeps no journal, and moves no deposit.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Final

from benchmarks.peers.htlc.ledgers import CLAIMED, Leg, Swap
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["NotClaimed", "make_swap", "publish_swap"]

_HOME_S: Final = 3_600
_MIRROR_S: Final = 1_800


class NotClaimed(Exception):
    """A publication is not claimed on both ledgers after all its steps."""


def make_swap(account: SigningKey, publication: bytes) -> Swap:
    """Sign a publication of any bytes, and choose its secret."""
    body = bytes(account.address) + publication
    identifier, preimage = keccak256(body), Bytes32(os.urandom(32))
    return Swap(
        id=identifier,
        publication=body,
        signature=account.sign(identifier).to_bytes(),
        preimage=preimage,
        hashlock=Bytes32(hashlib.sha256(preimage).digest()),
    )


async def publish_swap(swap: Swap, *, home: Leg, mirror: Leg) -> None:
    """All steps; returns when both ledgers show it claimed at their tips.

    Raises:
        NotClaimed: One does not.
    """
    now = int(time.time())
    # The mirror's lock ends first: whoever learns the secret there has time left to claim here.
    await home.lock(swap, now + _HOME_S)
    await mirror.lock(swap, now + _MIRROR_S)
    await mirror.claim(swap)
    await home.claim(swap)
    found = (await home.state(swap.id), await mirror.state(swap.id))
    if found != (CLAIMED, CLAIMED):
        raise NotClaimed(f"0x{swap.id.hex()}: {found}")
