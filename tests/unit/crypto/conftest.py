"""Four validators with one generated key, and a capsule under it. Nothing here is random."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from caimi.crypto.capsule import Capsule, seal_key
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.partial import Partial, make_partial
from caimi.crypto.quorum import ValidatorSet
from caimi.types.primitives import Bytes32
from tests.unit.crypto.dkg_rehearsal import make_participants, make_session, run_phase

LABEL = Bytes32(b"\x1a" * 32)
LEASE = Bytes32(b"\x1e" * 32)
DATA_KEY = bytes(range(32))
ENTROPY = Bytes32(b"\xe4" * 32)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A validator set that has generated its key."""

    signing_keys: tuple[SigningKey, ...]
    validators: ValidatorSet
    shares: tuple[KeyShare, ...]
    key: ThresholdKey
    capsule: Capsule

    def partial(self, index: int, *, lease: Bytes32 = LEASE) -> Partial:
        """The honest partial of one validator."""
        return make_partial(
            self.shares[index - 1],
            signing_key=self.signing_keys[index - 1],
            capsule=self.capsule,
            label=LABEL,
            lease=lease,
            entropy=ENTROPY,
        )


@pytest.fixture(scope="session")
def network() -> Network:
    """n = 4, f = 1, t = 3, epoch 1."""
    session = make_session()
    participants = make_participants(session)
    while participants[0].result() is None:
        run_phase(participants)
    shares = tuple(share for p in participants if (share := p.result()) is not None)
    return Network(
        signing_keys=tuple(SigningKey(bytes([i + 1]) * 32) for i in range(4)),
        validators=session.validators,
        shares=shares,
        key=shares[0].public,
        capsule=seal_key(shares[0].group_key, label=LABEL, data_key=DATA_KEY, entropy=ENTROPY),
    )
