"""Production validators: they attest, and where there is inference they hold the key."""

from __future__ import annotations

import asyncio
from typing import Final

from caimi.apps.simulation.world import EPOCH, World
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.keystore import MIN_COST
from caimi.ports.attestation_store import AttestedBlock
from caimi.ports.key_release import KeyReleasePort, NoShareYet
from caimi.ports.validators import ValidatorPort, ValidatorUnavailable
from caimi.simulators.actors import KillSwitch, SeededEntropy
from caimi.simulators.key_holders import BadKeyHolder, KeyBehaviour, UnreliableKeyHolder
from caimi.simulators.processes import Process
from caimi.simulators.validators import Behaviour, UnreliableValidator
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_vault import SqliteKeyVault
from caimi.types.primitives import Bytes32, Generation, SignerIndex
from caimi.types.records import Lane, Publication, Signature
from caimi.validator.attestor import Attestor
from caimi.validator.keygen import KeyGeneration
from caimi.validator.keys import ValidatorKeys
from caimi.validator.lane import LaneCondition, SourceLane
from caimi.validator.orders import Order, Orders
from caimi.validator.release import KeyRelease
from caimi.validator.seat import Seat
from caimi.wire.codec import decode

__all__ = ["ValidatorSite"]

_BAD: Final = (Behaviour.SILENT, Behaviour.LIAR, Behaviour.OTHER_KEY)
_BAD_HOLDERS: Final = tuple(behaviour for behaviour in KeyBehaviour if behaviour is not KeyBehaviour.HONEST)
_PUBLICATION_LIMIT: Final = 1 << 14


class ValidatorSite:
    """One validator process with its stores, which survive it."""

    def __init__(self, world: World, signer: int) -> None:
        self.signer = SignerIndex(signer)
        self.name = f"validator-{signer}"
        self._world = world
        self._key = world.validator_keys[signer]
        self._seat = Seat(network=world.network, epoch=EPOCH, signer=self.signer, root=world.root)
        self._rng = world.rng(self.name)
        self._lives = 0
        self._attestor: Attestor | None = None
        self._keys: ValidatorKeys | None = None
        self._switch = switch = KillSwitch()
        self._store = SqliteAttestationStore(":memory:", crash=switch)
        world.at_end.callback(self._store.close)
        self._ports = {name: world.port(name, self.name) for name in world.ledgers}
        self._board = world.board_port(self.name)
        self._vault: SqliteKeyVault | None = None
        self.process = Process(self.name, self._live, switch, world.trace)
        world.processes.append(self.process)

    @property
    def share(self) -> KeyShare | None:
        """Its share, None until it is stored."""
        stored = None if self._vault is None else self._vault.share(EPOCH)
        return None if stored is None else KeyShare.from_bytes(stored)

    def attesting(self) -> ValidatorPort:
        """As relays reach it."""
        return UnreliableValidator(
            self._running,
            process=self.process,
            line=self._world.line(f"{self.name} attesting", ValidatorUnavailable, patience_s=10.0),
            signer=self.signer,
            key=self._key,
            network=self._world.network,
            behaviour=self._rng.choice(_BAD) if self.signer in self._world.bad else Behaviour.HONEST,
            rng=self._rng,
        )

    def holding(self, owner: str) -> KeyReleasePort:
        """As a host reaches it."""
        world = self._world
        port: KeyReleasePort = self
        if self.signer in world.bad:
            rng = world.rng(f"{self.name} holding")
            port = BadKeyHolder(
                rng.choice(_BAD_HOLDERS),
                network=world.network,
                key=self._key,
                board=self._board,
                board_lane=world.board.lane,
                share=lambda: self.share,
                rng=rng,
            )
        line = world.line(f"{owner} to {self.name}", ValidatorUnavailable, patience_s=30.0)
        return UnreliableKeyHolder(port, line, heard=world.wiretap.heard)

    # --- what its HTTP interface does

    async def public_key(self) -> ThresholdKey:
        """GET /v1/keys."""

        async def shown() -> ThresholdKey:
            return self._holding().public().key

        return await self.process.answer(shown)

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        """POST /v1/releases."""
        record = decode(Publication, publication, limit=_PUBLICATION_LIMIT)
        await self.process.answer(lambda: self._holding().release(lease, record, capsule))

    async def order(self, order: Order) -> Signature:
        """POST /v1/orders."""
        return await self.process.answer(lambda: self._orders().sign(order))

    async def kept_block(self, lane: Lane) -> AttestedBlock:
        """GET /v1/kept-block."""
        return await self.process.answer(lambda: self._orders().kept_block(lane))

    async def condition(self, lane: Lane) -> LaneCondition:
        """The lane as GET /v1/status shows it."""

        async def shown() -> LaneCondition:
            attested = self._running().lane(lane)
            if attested is None:
                raise RuntimeError("validators of a simulation read every lane")
            return attested.condition

        return await self.process.answer(shown)

    # --- its life

    async def _live(self) -> None:
        self._lives += 1
        self._attestor = self._make_attestor()
        if not self._world.has_inference:
            await self._attestor.run()
            return
        if self._vault is None:
            # A vault whose making was cut short holds nothing, so that it may as well be another one.
            self._vault = self._open_vault(self._switch)
        self._keys = self._make_keys(self._vault)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._attestor.run())
            tasks.create_task(self._keys.run())

    def _running(self) -> Attestor:
        if self._attestor is None:
            raise ValidatorUnavailable("it starts")
        return self._attestor

    def _orders(self) -> Orders:
        return Orders(self._seat, self._running(), key=self._key, observer=self._world.trace)

    def _holding(self) -> ValidatorKeys:
        if self._keys is None:
            raise NoShareYet("it starts")
        return self._keys

    def _open_vault(self, switch: KillSwitch) -> SqliteKeyVault:
        vault = SqliteKeyVault(
            ":memory:",
            password=b"a password",
            purpose=self.name.encode(),
            entropy=SeededEntropy(f"{self._world.seed} {self.name} vault"),
            crash=switch,
            cost=MIN_COST,
        )
        self._world.at_end.callback(vault.close)
        return vault

    def _make_attestor(self) -> Attestor:
        return Attestor(
            self._seat,
            key=self._key,
            sources=[
                SourceLane(name=name, reader=port, generation=Generation(1), sources=1, note="SIMULATED")
                for name, port in self._ports.items()
            ],
            store=self._store,
            clock=self._world.clock,
            observer=self._world.trace,
            poll_seconds=2.0,
        )

    def _make_keys(self, vault: SqliteKeyVault) -> ValidatorKeys:
        world = self._world
        entropy = SeededEntropy(f"{world.seed} {self.name} {self._lives}")
        session = DkgSession(network=world.network, epoch=EPOCH, attempt=0, validators=world.validator_set)
        generation = KeyGeneration(
            session,
            index=self.signer + 1,
            key=self._key,
            board=self._board,
            board_lane=world.board.lane,
            vault=vault,
            clock=world.clock,
            entropy=entropy,
            observer=world.trace,
        )

        def make_release(share: KeyShare) -> KeyRelease:
            world.wiretap.protect(f"share of {self.name}", share.share.reveal())
            return KeyRelease(
                share,
                network=world.network,
                key=self._key,
                board=self._board,
                board_lane=world.board.lane,
                homes={port.lane: port for port in self._ports.values()},
                vault=vault,
                clock=world.clock,
                entropy=entropy,
                observer=world.trace,
            )

        return ValidatorKeys(
            generation, epoch=EPOCH, vault=vault, make_release=make_release, clock=world.clock, observer=world.trace
        )
