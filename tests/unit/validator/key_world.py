"""Four validators that hold keys, on a simulated board; publications are those of the relay's simulated world."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from caimi.crypto.capsule import Capsule, capsule_hash, seal_key
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.partial import Combined, combine, open_partial
from caimi.crypto.quorum import ValidatorSet
from caimi.crypto.sealing import SealingKey
from caimi.ports.crash import CrashPoints, NoCrash
from caimi.protocol.publication import State
from caimi.simulators.board import SimulatedBoard, SimulatedBoardNode
from caimi.storage.sqlite_vault import SqliteKeyVault
from caimi.types.primitives import ZERO32, Bytes32, Epoch, PublicationId, UnixSeconds
from caimi.types.records import BoardPost, HostKey, LeaseRequest, Publication
from caimi.validator.keygen import KeyGeneration
from caimi.validator.release import KeyRelease
from caimi.wire.digests import capsule_label, typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import Counter, World, key

DATA_KEY = bytes(range(32))
PASSWORD = b"a password"
EPOCH = Epoch(1)
COST = 14


class KeyValidator:
    """The key-holding part of one validator, with a vault that survives it."""

    def __init__(self, world: KeyWorld, index: int, *, path: str, crash: CrashPoints | None = None) -> None:
        self.world = world
        self.index = index
        self.path = path
        self.start(crash)

    def start(self, crash: CrashPoints | None = None) -> None:
        """A process starts on the vault."""
        world = self.world
        self.node = SimulatedBoardNode(board=world.board)
        self.vault = SqliteKeyVault(
            self.path,
            password=PASSWORD,
            purpose=f"validator-{self.index}".encode(),
            entropy=Counter(f"vault {self.index}"),
            crash=crash or NoCrash(),
            cost=COST,
        )
        self.generation = KeyGeneration(
            world.session,
            index=self.index,
            key=world.chains.validator_keys[self.index - 1],
            board=self.node,
            board_lane=world.board.lane,
            vault=self.vault,
            clock=world.chains.clock,
            entropy=Counter(f"seed {self.index}"),
            observer=world.chains.observer,
        )

    def restart(self, crash: CrashPoints | None = None) -> None:
        """The process was killed and starts again."""
        self.vault.close()
        self.start(crash)

    def release(self, homes: tuple[str, ...] = ("fabric", "ethereum")) -> KeyRelease:
        """The releasing part, for the share in the vault."""
        share = self.vault.share(EPOCH)
        assert share is not None
        chains = self.world.chains
        return KeyRelease(
            KeyShare.from_bytes(share),
            network=chains.network,
            key=chains.validator_keys[self.index - 1],
            board=self.node,
            board_lane=self.world.board.lane,
            homes={chains.lane(name): chains.port(name, f"validator {self.index}") for name in homes},
            vault=self.vault,
            clock=chains.clock,
            entropy=Counter(f"partial {self.index}"),
            observer=chains.observer,
        )


class KeyWorld:
    """Ledgers, board and four validators with their keys."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.chains = World()
        self.board = SimulatedBoard(
            self.chains.genesis, self.chains.lane("fabric"), now=self.chains.clock.now, epoch=EPOCH
        )
        self.session = DkgSession(
            network=self.chains.network,
            epoch=EPOCH,
            attempt=0,
            validators=ValidatorSet.from_genesis(self.chains.genesis),
        )
        self.host = SealingKey(keccak256(b"host sealing key"))
        self.host_signer = key("host signer")
        self.validators: list[KeyValidator] = []

    def __enter__(self) -> KeyWorld:
        return self

    def __exit__(self, *_: object) -> None:
        for validator in self.validators:
            validator.vault.close()
        self.chains.__exit__()

    def start_validators(self, *, first: CrashPoints | None = None) -> None:
        """All four; `first` may kill the first one."""
        for index in range(1, 5):
            path = ":memory:" if self.folder is None else str(self.folder / f"vault-{index}.sqlite")
            self.validators.append(KeyValidator(self, index, path=path, crash=first if index == 1 else None))

    def post(self, phase: int, index: int, body: bytes) -> None:
        """Put a message on the board under a validator's signature."""
        post = BoardPost(at=self.board.lane, epoch=EPOCH, phase=phase, index=index, body_hash=keccak256(body))
        signature = self.chains.validator_keys[index - 1].sign(typed_digest(self.chains.network, post)).to_bytes()
        self.board.run(encode_call("postBoard", post, signature, body))

    async def generate(self) -> ThresholdKey:
        """Let honest validators generate the key."""
        if not self.validators:
            self.start_validators()
        for _ in range(10):
            shares = [await validator.generation.turn() for validator in self.validators]
            if all(shares):
                return self.key
        raise AssertionError([v.generation.status() for v in self.validators])

    @property
    def key(self) -> ThresholdKey:
        """The public key, as the second validator has it."""
        share = self.validators[1].generation.share
        assert share is not None
        return share.public

    def publication(self, **fields: Any) -> tuple[Publication, bytes, PublicationId, Capsule]:
        """A publication with a sound capsule for this network's key; `fields` replace its own."""
        draft, _, _ = self.chains.publication("fabric", "ethereum", **fields)
        draft = dataclasses.replace(draft, capsule_hash=ZERO32)
        label = capsule_label(self.chains.network, self.key.group_key.encode(), draft)
        entropy = keccak256(b"capsule" + label)
        capsule = seal_key(self.key.group_key, label=label, data_key=DATA_KEY, entropy=entropy)
        changed = {**fields, "deadline": draft.deadline, "capsule_hash": capsule_hash(capsule)}
        record, signature, identifier = self.chains.publication("fabric", "ethereum", **changed)
        return record, signature, identifier, capsule

    async def commit(self, record: Publication, signature: bytes, identifier: PublicationId) -> None:
        """Publish it and wait until both ledgers committed it."""
        await self.chains.publish(record, signature)
        await self.chains.until(lambda: self.chains.all_at(State.COMMITTED, identifier))
        for _ in range(3):
            await self.chains.step()

    async def committed(self, **fields: Any) -> tuple[Publication, PublicationId, Capsule]:
        """A publication that is COMMITTED on both ledgers."""
        if not self.chains.ledgers["fabric"].tip.registry.state.balances:
            await self.chains.fund("fabric", 500)
        record, signature, identifier, capsule = self.publication(**fields)
        await self.commit(record, signature, identifier)
        return record, identifier, capsule

    def host_key(self) -> tuple[HostKey, bytes]:
        """The host's keys and an operator's signature over them."""
        record = HostKey(
            sealing_key=self.host.public_key,
            signing_key=self.host_signer.address,
            epoch=EPOCH,
            until=UnixSeconds(self.chains.clock.now() + 50_000),
        )
        return record, key("operator").sign(typed_digest(self.chains.network, record)).to_bytes()

    def open_lease(self, publication: PublicationId, **fields: Any) -> Bytes32:
        """A lease for the host on the board; `fields` replace its own."""
        host_key, operator_signature = self.host_key()
        now = self.chains.clock.now()
        lease = LeaseRequest(
            at=self.board.lane,
            publication=publication,
            sealing_key=host_key.sealing_key,
            signing_key=host_key.signing_key,
            epoch=EPOCH,
            purpose=1,
            opening=ZERO32,
            end=UnixSeconds(now + 600),
            calls=100,
            nonce=keccak256(b"lease"),
            deadline=UnixSeconds(now + 60),
        )
        lease = dataclasses.replace(lease, **fields)
        identifier = typed_digest(self.chains.network, lease)
        signature = self.host_signer.sign(identifier).to_bytes()
        self.board.run(encode_call("openLease", lease, signature, host_key, operator_signature))
        return identifier

    def combine(self, lease: Bytes32, publication: Publication, capsule: Capsule) -> Combined:
        """What the host makes of the partials on the board."""
        opened = [
            open_partial(sealed, key=self.host, lease=lease, index=index, epoch=EPOCH)
            for (at, index), sealed in sorted(self.board.partials.items())
            if at == lease
        ]
        return combine(
            opened,
            capsule=capsule,
            label=capsule_label(self.chains.network, self.key.group_key.encode(), publication),
            lease=lease,
            key=self.key,
            validators=self.session.validators,
        )
