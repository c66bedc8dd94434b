"""CAIMI's registry in the gas benchmarks, with Ethereum as the mirror of publications whose home is another ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from benchmarks.evm import EvmSender
from benchmarks.peers.gateway import Delivery, Question, must_refuse, strangers
from caimi.chains.ethereum.artefacts import artefact_folder
from caimi.chains.ethereum.deployment import RegistryPlan, deploy
from caimi.chains.ethereum.fees import MAX_CALL_BYTES
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import ValidatorSet, default_threshold
from caimi.ports.registry_views import encode_view
from caimi.protocol.batches import MAX_BATCH, batch_root
from caimi.protocol.publication import AbortReason, State
from caimi.protocol.registry_state import Limits
from caimi.types.primitives import (
    ZERO32,
    Address,
    Bytes32,
    Epoch,
    Generation,
    PublicationId,
    SignerIndex,
    UnixSeconds,
)
from caimi.types.primitives import Sequence as Number
from caimi.types.records import (
    NO_TERMS,
    Attestation,
    BatchProof,
    Certificate,
    Checkpoint,
    Cid,
    Event,
    Genesis,
    Item,
    Kind,
    Lane,
    Publication,
)
from caimi.wire.chain_ids import chain_hash, ethereum_registry
from caimi.wire.digests import POLICY_OPEN, batch_leaf, leaf_hash, network_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_multiproof, merkle_root

__all__ = ["Caimi"]

_HOME: Final = Lane(chain=chain_hash("fabric:benchmark"), registry=Bytes32(bytes(31) + b"\x07"))
_CARRIED: Final = 256
_GAS: Final = 16_700_000
_STATE_WORD: Final = 1


class Caimi:
    """Implements `Gateway` by the registry itself."""

    name = "ours"

    def __init__(
        self, sender: EvmSender, registry: Address, network: Bytes32, validators: Sequence[SigningKey]
    ) -> None:
        self._sender = sender
        self._registry = registry
        self._network = network
        self._validators = validators
        self._lane = Lane(chain=chain_hash(f"eip155:{sender.rpc.chain_id}"), registry=ethereum_registry(registry))
        self._publisher = SigningKey.from_entropy(Bytes32(os.urandom(32)))
        self._sequence = 0
        self._proofs: dict[Bytes32, Callable[[], BatchProof]] = {}
        self._q = _validator_set(validators).q
        self.rule = (
            f"{self._q} of {len(validators)} validators; one alone: the mirror checks the publisher's own signature and"
            " keeps the record; many: it keeps the root of the batch, home has checked the signatures, and one id is"
            " read by its proof; then it applies home's certified outcome"
        )

    @classmethod
    async def create(cls, sender: EvmSender, validators: Sequence[SigningKey]) -> Caimi:
        """Put a registry on the chain, governed by these validators."""
        found = _validator_set(validators)
        genesis = Genesis(
            root_genesis=Bytes32(os.urandom(32)),
            validators=found.validators,
            f=found.f,
            t=found.t,
            operators=(validators[0].address,),
            attestation=Attestation.NONE,
            nonce=Bytes32(os.urandom(32)),
        )
        plan = RegistryPlan(genesis=genesis, min_deposit=1, clock_window=5, limits=Limits(), root=_HOME)
        done = await deploy(sender.rpc, plan, deployer=sender.key, folder=artefact_folder())
        await sender.refresh()
        return cls(sender, done.registry, network_id(genesis), validators)

    async def deliver(self, count: int) -> Delivery:
        """See `Gateway.deliver`."""
        publications = [self._publication() for _ in range(count)]
        ids = [typed_digest(self._network, one) for one in publications]
        return Delivery(gas=await self._publish(publications, ids), ids=tuple(ids))

    async def check_quorum(self) -> None:
        """See `Gateway.check_quorum`."""
        item = self._outcome(Bytes32(os.urandom(32)))
        certificate = self._certificate([item], merkle_root([leaf_hash(_HOME, item)]), strangers(self._q))
        call = encode_call("applyRun", certificate, (item,), ())
        await must_refuse(self._sender, self.name, self._registry, call)

    def question(self, identifier: Bytes32) -> Question:
        """See `Gateway.question`."""
        proof = self._proofs.get(identifier)
        call = encode_view("publication", identifier)
        if proof is not None:
            call = encode_view("stateIn", identifier, proof())
        return Question(target=self._registry, call=call, word=_STATE_WORD)

    async def _publish(self, publications: Sequence[Publication], ids: Sequence[Bytes32]) -> dict[str, int]:
        # The one place that knows how publications go to a mirror: one alone is locked with its signature, many are
        # answered by the roots of their batches; then home's outcomes come as one certified run.
        if len(publications) == 1:
            signature = self._publisher.sign(ids[0]).to_bytes()
            lock = await self._send(encode_call("lockModel", publications[0], signature))
            return {"lock": lock, "outcome": await self._carry([self._outcome(ids[0])])}
        gas, outcomes = 0, list[Item]()
        for start in range(0, len(ids), MAX_BATCH):
            batch = tuple(PublicationId(one) for one in ids[start : start + MAX_BATCH])
            root = batch_root(batch)
            gas += await self._send(encode_call("answerBatch", _HOME, root))
            outcomes.append(self._batch_outcome(root, len(batch)))
            self._remember(root, batch)
        return {"answer": gas, "outcome": await self._carry(outcomes)}

    def _remember(self, root: Bytes32, batch: tuple[PublicationId, ...]) -> None:
        leaves = [batch_leaf(index, identifier) for index, identifier in enumerate(batch)]
        for index, identifier in enumerate(batch):
            self._proofs[identifier] = partial(_proof, root, leaves, index)

    async def _carry(self, items: Sequence[Item]) -> int:
        leaves = [leaf_hash(_HOME, item) for item in items]
        certificate = self._certificate(items, merkle_root(leaves), self._validators)
        gas = 0
        for start in range(0, len(items), _CARRIED):
            part = range(start, min(start + _CARRIED, len(items)))
            proof = merkle_multiproof(leaves, part)
            gas += await self._send(encode_call("applyRun", certificate, tuple(items[i] for i in part), proof))
        return gas

    def _certificate(self, items: Sequence[Item], root: Bytes32, signers: Sequence[SigningKey]) -> Certificate:
        checkpoint = Checkpoint(
            source=_HOME,
            generation=Generation(1),
            epoch=Epoch(1),
            first_sequence=items[0].sequence,
            last_sequence=items[-1].sequence,
            root=root,
            height=self._sequence,
            block_hash=Bytes32(os.urandom(32)),
        )
        digest = typed_digest(self._network, checkpoint)
        signed = tuple(signers[i].sign(digest).as_record(SignerIndex(i)) for i in range(self._q))
        return Certificate(checkpoint=checkpoint, signatures=signed)

    def _outcome(self, identifier: Bytes32) -> Item:
        self._sequence += 1
        body = encode_body(Kind.OUTCOME, State.COMMITTED, AbortReason.NONE)
        event = Event(schema=1, kind=Kind.OUTCOME, destinations=(self._lane,), subject=identifier, body=body)
        return Item(sequence=Number(self._sequence), event=event)

    def _batch_outcome(self, root: Bytes32, count: int) -> Item:
        self._sequence += 1
        body = encode_body(Kind.BATCH_OUTCOME, State.COMMITTED, AbortReason.NONE, count, 0)
        event = Event(schema=1, kind=Kind.BATCH_OUTCOME, destinations=(self._lane,), subject=root, body=body)
        return Item(sequence=Number(self._sequence), event=event)

    async def _send(self, call: bytes) -> int:
        if len(call) > MAX_CALL_BYTES:
            raise ValueError(f"a call of {len(call)} bytes")
        return (await self._sender.transact(self._registry, call, gas=_GAS)).gas_used

    def _publication(self) -> Publication:
        return Publication(
            format=1,
            kind=1,
            publisher=self._publisher.address,
            name=f"bench-{os.urandom(6).hex()}",
            version=1,
            ciphertext=Cid(codec=0x70, digest=Bytes32(os.urandom(32))),
            capsule_hash=Bytes32(os.urandom(32)),
            manifest_commitment=Bytes32(os.urandom(32)),
            policy_hash=POLICY_OPEN,
            home=_HOME,
            mirrors=(self._lane,),
            terms=NO_TERMS,
            deposit=1_000,
            nonce=Bytes32(os.urandom(32)),
            deadline=UnixSeconds(int(time.time()) + 3_600),
            extension_hash=ZERO32,
        )


def _proof(root: Bytes32, leaves: Sequence[Bytes32], index: int) -> BatchProof:
    return BatchProof(home=_HOME, root=root, index=index, siblings=merkle_multiproof(leaves, [index]))


def _validator_set(validators: Sequence[SigningKey]) -> ValidatorSet:
    f = (len(validators) - 1) // 3
    accounts = tuple(key.address for key in validators)
    return ValidatorSet(validators=accounts, f=f, t=default_threshold(len(validators), f))
