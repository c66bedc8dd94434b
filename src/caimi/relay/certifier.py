"""Asks validators for a range until a quorum gives one checkpoint; whatever else they say names them (spec 20 §3)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.crypto.quorum import ValidatorSet
from caimi.ports.clock import Clock
from caimi.ports.metrics import CERTIFICATE_SECONDS, DISSENTS, SIGNATURE_SECONDS, VALIDATOR_ANSWERS
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

    def silent(self, peers: Sequence[ValidatorPeer]) -> list[SignerIndex]:
        signed = {signer for group in self.groups.values() for signer in group}
        return sorted(peer.signer for peer in peers if peer.signer not in self.said and peer.signer not in signed)

    def unhelpful(self, peers: Sequence[ValidatorPeer]) -> tuple[int, ...]:
        # Who did not add to the largest group, counted from 1.
        largest = max(self.groups.values(), key=len, default=dict[SignerIndex, Signature]())
        return tuple(sorted(peer.signer + 1 for peer in peers if peer.signer not in largest))


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
        self._missing: dict[Lane, tuple[int, ...]] = {}
        for peer in self._peers:
            observer.count(DISSENTS, 0, validator=_number(peer.signer))

    def missing(self, source: Lane) -> tuple[int, ...]:
        """Numbers (from 1) of the validators whose signature was missing when no certificate of `source` came about."""
        return self._missing.get(source, ())

    async def certify(self, wanted: Range, *, validators: ValidatorSet, epoch: Epoch, name: str = "") -> Certificate:
        """A certificate with exactly q signatures, ascending.

        Arguments:
            name: of the source lane, for the metrics.
        Raises:
            NotYet: The range is not final for enough validators.
            NoQuorum: They differ, refuse, or do not answer in time.
        """
        answers, began = _Answers(), self._clock.monotonic()

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
            self._observer.count(VALIDATOR_ANSWERS, validator=_number(peer.signer), answer="signed")
            waited = self._clock.monotonic() - began
            self._observer.observe(SIGNATURE_SECONDS, waited, validator=_number(peer.signer))

        asking = {asyncio.create_task(ask(peer)) for peer in self._peers}
        await self._until_quorum(answers, validators.q, asking)
        certificate = answers.quorum(validators.q)
        self._name_dissenters(answers, certificate, wanted)
        if certificate is not None:
            self._missing.pop(wanted.source, None)
            self._observer.observe(CERTIFICATE_SECONDS, self._clock.monotonic() - began, source=name)
            return certificate
        self._missing[wanted.source] = answers.unhelpful(self._peers)
        if sum(isinstance(e, NotYet) for e in answers.said.values()) > validators.n - validators.q:
            raise NotYet(
                f"events {wanted.first} to {wanted.last} are not final for enough validators: {self._said(answers)}"
            )
        most = max((len(group) for group in answers.groups.values()), default=0)
        counts = f"{most} of {validators.q} equal checkpoints, {len(answers.groups)} different ones"
        raise NoQuorum(f"{counts}; {self._said(answers)}")

    def _said(self, answers: _Answers) -> str:
        # Everybody who did not help, by number and with what was said; nobody is left out of it.
        said = [
            f"validator {_number(signer)}: {_name(error)}{_text(error)}"
            for signer, error in sorted(answers.said.items())
        ]
        silent = [_number(signer) for signer in answers.silent(self._peers)]
        if silent:
            said.append(f"no answer of {'validators' if len(silent) > 1 else 'validator'} {', '.join(silent)}")
        return "; ".join(said) or "all signed, and differ"

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
        name = _name(error)
        self._observer.count(VALIDATOR_ANSWERS, validator=_number(peer.signer), answer=name)
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
                self._observer.count(DISSENTS, validator=_number(signer))
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


def _name(error: CaimiError) -> str:
    return type(error).__name__.lstrip("_")


def _text(error: CaimiError) -> str:
    text = str(error).removeprefix(type(error).__name__).removeprefix(": ")
    return f" ({text})" if text else ""


def _number(signer: SignerIndex) -> str:
    # People count validators from 1.
    return str(signer + 1)
