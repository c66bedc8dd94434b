"""A group key from a key generation among four participants inside this process."""

from __future__ import annotations

import os
from typing import Final

from caimi.apps.devnet.ledgers import Ledgers
from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_messages import DkgSession
from caimi.crypto.quorum import ValidatorSet
from caimi.types.primitives import Bytes32, Epoch

__all__ = ["generate_group_key"]

_ROUNDS: Final = 8


def generate_group_key(ledgers: Ledgers) -> bytes:
    """Run the key generation of spec 40 §7 and return the 33 bytes of the group key; the shares are dropped."""
    session = DkgSession(
        network=ledgers.network,
        epoch=Epoch(1),
        attempt=0,
        validators=ValidatorSet.from_genesis(ledgers.genesis),
    )
    everyone = [DkgParticipant(session=session, index=i, seed=Bytes32(os.urandom(32))) for i in session.indices]
    for _ in range(_ROUNDS):
        for sender in everyone:
            owed = sender.outgoing()
            if owed is not None:
                for receiver in everyone:
                    receiver.receive(sender.index, owed.body)
    share = everyone[0].result()
    if share is None:
        raise RuntimeError("the key generation of honest participants did not end")
    return share.group_key.encode()
