"""Threshold decryption: what a release costs all who take part, beside ferveo, the library under TACo."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.interleave import interleave
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.peers.fetch import PeerUnavailable, peer_path
from benchmarks.scenario import Findings, Scenario, Stage
from caimi.crypto.capsule import Capsule, seal_key
from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare
from caimi.crypto.partial import Partial, combine, make_partial
from caimi.crypto.quorum import ValidatorSet
from caimi.types.primitives import Bytes32, Epoch

__all__ = ["SCENARIOS"]

_N: Final = 4
_F: Final = 1
_T: Final = 3
_ROUNDS: Final = 9
_COUNT: Final = 40
_PEER_COUNT: Final = 10
_DATA_KEY: Final = bytes(range(32))
_LABEL: Final = Bytes32(b"\x1a" * 32)
_LEASE: Final = Bytes32(b"\x1e" * 32)
_PROGRAM: Final = Path(__file__).resolve().parents[1] / "peers" / "ferveo" / "decrypt.py"
_PEER: Final = "ferveo of nucypher-core 0.16.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Committee:
    signing_keys: Sequence[SigningKey]
    validators: ValidatorSet
    shares: Sequence[KeyShare]
    capsule: Capsule

    @staticmethod
    def made() -> _Committee:
        keys = [SigningKey.from_entropy(Bytes32(os.urandom(32))) for _ in range(_N)]
        validators = ValidatorSet(validators=tuple(key.address for key in keys), f=_F, t=_T)
        network = Bytes32(os.urandom(32))
        session = DkgSession(network=network, epoch=Epoch(1), attempt=0, validators=validators)
        parties = [DkgParticipant(session=session, seat=seat, seed=Bytes32(os.urandom(32))) for seat in session.dealers]
        while any(party.result() is None for party in parties):
            owed = [(out.step, party.seat, out.body) for party in parties if (out := party.outgoing()) is not None]
            for step, sender, body in owed:
                for party in parties:
                    party.hear(step, sender, body)
        shares = [share for party in parties if (share := party.result()) is not None]
        capsule = seal_key(shares[0].group_key, label=_LABEL, data_key=_DATA_KEY, entropy=Bytes32(os.urandom(32)))
        return _Committee(signing_keys=keys, validators=validators, shares=shares, capsule=capsule)

    def decrypt(self) -> bytes:
        """Three validators check the capsule and make a partial each; the host checks the capsule and all of them."""
        # As bytes in between, as through the board.
        capsule = Capsule.from_bytes(self.capsule.to_bytes())
        partials = [
            Partial.from_bytes(
                make_partial(
                    share,
                    signing_key=key,
                    capsule=capsule,
                    label=_LABEL,
                    lease=_LEASE,
                    entropy=Bytes32(os.urandom(32)),
                ).to_bytes(),
                index=share.index,
            )
            for share, key in zip(self.shares[:_T], self.signing_keys, strict=False)
        ]
        found = combine(
            partials,
            capsule=capsule,
            label=_LABEL,
            lease=_LEASE,
            key=self.shares[0].public,
            validators=self.validators,
        )
        return found.data_key

    def cpu_seconds(self) -> float:
        begin = time.process_time()
        for _ in range(_COUNT):
            if self.decrypt() != _DATA_KEY:
                raise ValueError("it decrypts to something else")
        return (time.process_time() - begin) / _COUNT


def _theirs(packages: Path) -> float:
    # The library comes without bytecode, which would make the cached folder another one.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(packages)}
    done = subprocess.run(
        [Path(sys.base_prefix) / "bin" / "python3", _PROGRAM, str(_N), str(_T), str(_PEER_COUNT)],
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise PeerUnavailable(f"ferveo: it ended with {done.returncode}; the lines above say why")
    return float(json.loads(done.stdout)["cpu_seconds"])


async def _decrypt_3of4(stage: Stage) -> Findings:
    packages, committee = await peer_path(stage.repository, "ferveo"), await asyncio.to_thread(_Committee.made)
    samples = await interleave(
        {
            "ours": lambda: asyncio.to_thread(committee.cpu_seconds),
            _PEER: lambda: asyncio.to_thread(_theirs, packages),
        },
        rounds=stage.rounds(_ROUNDS),
        tell=stage.tell,
    )
    return Findings(
        measures=(
            Measure(
                name="time of the processor",
                unit="s",
                statistic=Statistic.MEDIAN,
                better=Better.LOWER,
                samples=samples["ours"],
                peer=_PEER,
                peer_samples=samples[_PEER],
                aim=Aim(of=Quantity.RATIO, bound=0.15),
            ),
        ),
        conditions={
            "committee": f"{_N} validators, {_T} partials, a key of its own",
            "ours": "capsule checked by each validator and by the host, partials made, proven and signed, every "
            "signature and proof verified, combined, key commitment checked; secp256k1",
            "peer": "ciphertext checked by each validator, simple shares made, combined, decrypted; shares are NOT "
            "verified; BLS12-381; GPL-3.0, a peer and never a dependency",
            "counted": "of all who take part together, one after the other in one process; no network, no ledger",
        },
    )


SCENARIOS: Final = (
    Scenario(
        name="decrypt_3of4",
        summary="threshold decryption by three of four, everything checked: time of the processor of all together",
        minutes=0.3,
        run=_decrypt_3of4,
    ),
)
