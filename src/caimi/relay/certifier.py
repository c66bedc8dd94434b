"""Asks validators for a range until a quorum gives one checkpoint; whatever else they say names them (spec 20 §3)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.crypto.quorum import ValidatorSet
from caimi.ports.clock import Clock
from caimi.ports.observer import Observer
from caimi.ports.validators import NotYet, ValidatorPort
from caimi.types.errors import Blame, CaimiError, Refusal, Retry, UnknownSigner, WrongEpoch, WrongSigner
from caimi.types.primitives import Bytes32, Epoch, Generation, SignerIndex
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Certificate, Checkpoint, Lane, Signature
from caimi.wire.digests import typed_digest

__all__ = ["Certifier", "NoQuorum", "Range", "ValidatorPeer"]


class NoQuorum(CaimiError):
    """Too few validators gave the same checkpoint in time."""

    blame = Blame.VALIDATOR
    retry = Retry.SAFE
    hint = "asked again by itself; if it stays, see each validator's /v1/status"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorPeer:
    """One validator to ask."""

    signer: SignerIndex
    port: ValidatorPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What is asked for."""

    source: Lane
    generation: Generation
    first: EventSequence
    last: EventSequence


class _OtherRange(Refusal):
    # The answer is not about what was asked: shown as the culprit's error, never raised to callers.
    pass


@dataclass(slots=True)
class _Answers:
    groups: dict[Checkpoint, dict[SignerIndex, Signature]] = field(
        default_factory=lambda: defaultdict[Checkpoint, dict[SignerIndex, Signature]](dict)
    )
    said: dict[SignerIndex, CaimiError] = field(default_factory=dict[SignerIndex, CaimiError])

    def quorum(self, q: int) -> Certificate | None:
        for checkpoint, signatures in self.groups.items():
            if len(signatures) >= q:
                lowest = sorted(signatures)[:q]
                return Certificate(checkpoint=checkpoint, signatures=tuple(signatures[s] for s in lowest))
        return None


class Certifier:
    """Makes certificates out of validators' answers."""

    def __init__(
        self,
        network: Bytes32,
        peers: Sequence[ValidatorPeer],
        *,
        clock: Clock,
        observer: Observer,
        answer_seconds: float = 10.0,
    ) -> None:
        self._network = network
        self._peers = tuple(peers)
        self._clock = clock
        self._observer = observer
        self._answer_seconds = answer_seconds

    async def certify(self, wanted: Range, *, validators: ValidatorSet, epoch: Epoch) -> Certificate:
        """A certificate with exactly q signatures, ascending.

        Raises:
            NotYet: The range is not final for enough validators.
            NoQuorum: They differ, refuse, or do not answer in time.
        """
        answers = _Answers()

        async def ask(peer: ValidatorPeer) -> None:
            try:
                checkpoint, signature = await peer.port.checkpoint(
                    wanted.source, wanted.generation, wanted.first, wanted.last
                )
                self._verify(peer, checkpoint, signature, wanted=wanted, validators=validators, epoch=epoch)
            except CaimiError as error:
                self._note(peer, error, wanted)
                answers.said[peer.signer] = error
                return
            answers.groups[checkpoint][peer.signer] = signature

        asking = {asyncio.create_task(ask(peer)) for peer in self._peers}
        await self._until_quorum(answers, validators.q, asking)
        certificate = answers.quorum(validators.q)
        self._name_dissenters(answers, certificate, wanted)
        if certificate is not None:
            return certificate
        if sum(isinstance(e, NotYet) for e in answers.said.values()) > validators.n - validators.q:
            raise NotYet(f"events {wanted.first} to {wanted.last} are not final for enough validators")
        raise NoQuorum(_summary(answers, validators))

    async def _until_quorum(self, answers: _Answers, q: int, asking: set[asyncio.Task[None]]) -> None:
        # Ends with the quorum, with the last answer or with the time, whichever is first; nobody is waited for longer.
        timer = asyncio.create_task(_sleep(self._clock, self._answer_seconds))
        waiting = asking | {timer}
        try:
            while waiting - {timer} and timer in waiting and answers.quorum(q) is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    future.result()
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _verify(
        self,
        peer: ValidatorPeer,
        checkpoint: Checkpoint,
        signature: Signature,
        *,
        wanted: Range,
        validators: ValidatorSet,
        epoch: Epoch,
    ) -> None:
        asked = (wanted.source, wanted.generation, wanted.first, wanted.last)
        told = (checkpoint.source, checkpoint.generation, checkpoint.first_sequence, checkpoint.last_sequence)
        if told != asked:
            raise _OtherRange
        if checkpoint.epoch != epoch:
            raise WrongEpoch(epoch, checkpoint.epoch)
        if signature.signer != peer.signer or not 0 <= peer.signer < validators.n:
            raise UnknownSigner(signature.signer)
        actual = recover(typed_digest(self._network, checkpoint), EcdsaSignature.from_record(signature))
        expected = validators.validators[peer.signer]
        if actual != expected:
            raise WrongSigner(expected, actual)

    def _note(self, peer: ValidatorPeer, error: CaimiError, wanted: Range) -> None:
        name = type(error).__name__.lstrip("_")
        self._observer.count("validator_answers", signer=str(peer.signer), answer=name)
        if not isinstance(error, NotYet):
            self._observer.step(
                "relay.validator", signer=peer.signer, error=name, text=str(error), first=wanted.first, last=wanted.last
            )

    def _name_dissenters(self, answers: _Answers, certificate: Certificate | None, wanted: Range) -> None:
        # A validator that signed another checkpoint than the quorum: with its signature this is proof.
        if certificate is None:
            return
        for checkpoint, signatures in answers.groups.items():
            if checkpoint == certificate.checkpoint:
                continue
            for signer in signatures:
                self._observer.count("validator_dissents", signer=str(signer))
                self._observer.step(
                    "relay.validator-dissents",
                    signer=signer,
                    first=wanted.first,
                    last=wanted.last,
                    root="0x" + checkpoint.root.hex(),
                    quorum="0x" + certificate.checkpoint.root.hex(),
                )


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)


def _summary(answers: _Answers, validators: ValidatorSet) -> str:
    most = max((len(group) for group in answers.groups.values()), default=0)
    said = ", ".join(f"{signer}: {type(e).__name__.lstrip('_')}" for signer, e in sorted(answers.said.items()))
    return f"{most} of {validators.q} equal checkpoints, {len(answers.groups)} different ones ({said or 'no refusal'})"
