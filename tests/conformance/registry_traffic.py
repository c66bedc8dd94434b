"""Seeded random calls on a registry: lawful ones, repeated ones, and ones with exactly one thing wrong."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

from caimi.crypto.ecdsa import HALF_ORDER, SigningKey
from caimi.protocol.publication import Role, State
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, PublicationId, SignerIndex, UnixSeconds
from caimi.types.primitives import Sequence as EventNumber
from caimi.types.records import (
    NO_TERMS,
    Answer,
    Certificate,
    Checkpoint,
    Cid,
    Event,
    Funding,
    HostKey,
    InferenceRequest,
    Item,
    Kind,
    Lane,
    Mint,
    Publication,
    Revocation,
    Terms,
    Withdrawal,
)
from caimi.wire.codec import Record
from caimi.wire.digests import POLICY_OPEN, leaf_hash, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_multiproof, merkle_root
from tests.conformance.batch_traffic import BatchTraffic
from tests.conformance.order_traffic import PHANTOM, OrderTraffic
from tests.conformance.registry_world import (
    HOST,
    ISSUER,
    NETWORK,
    OPENING,
    OPERATOR,
    OTHERS,
    OWN,
    PEOPLE,
    STRANGER,
    VALIDATORS,
    word,
)

__all__ = ["Traffic"]


_ORDER = 2 * HALF_ORDER + 1
_NO_TEXT = tuple(name.decode("utf-8", "surrogateescape") for name in (b"\xff", b"a\xc3", b"\xed\xa0\x80"))
"""Names that are bytes, and no text."""

Call = tuple[str, tuple[Any, ...]]


class Traffic:
    """Makes calls and remembers what it made, so that later calls can meet earlier ones."""

    def __init__(self, seed: int, *, root: Lane | None = None) -> None:
        self.rng = random.Random(seed)
        self.orders = OrderTraffic(self.rng, OWN, root or OWN)
        self.now = 1_800_000_000
        self.batches = BatchTraffic(self, OWN)
        self.publications: dict[PublicationId, Publication] = {}
        self.requests: dict[Bytes32, InferenceRequest] = {}
        self.held: dict[PublicationId, State] = {}
        """Told by the caller: publications of the registry and their states, so that later calls have a chance."""
        self.runs: list[Call] = []
        self.revocations: list[Call] = []
        self.lengths = dict.fromkeys((*OTHERS, PHANTOM), 0)
        self.fresh = 0

    # --- small choices

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        return self.rng.randrange(100) < percent

    def nonce(self) -> Bytes32:
        """Mostly fresh; sometimes one that was used."""
        if not self.chance(8):
            self.fresh += 1
        return word(f"nonce {self.fresh}")

    def soon(self) -> UnixSeconds:
        """A time around now, mostly later."""
        return UnixSeconds(self.now + self.rng.randrange(-30, 700))

    def sign(self, key: SigningKey, record: Record) -> bytes:
        """Mostly the right signature."""
        digest = typed_digest(NETWORK, record)
        good = key.sign(digest).to_bytes()
        if not self.chance(6):
            return good
        s = int.from_bytes(good[32:64], "big")
        high = good[:32] + (_ORDER - s).to_bytes(32, "big") + bytes([55 - good[64]])
        return self.rng.choice(
            [STRANGER.sign(digest).to_bytes(), high, good[:64], good[:64] + b"\x01", bytes(32) + good[32:], b""]
        )

    def either(self, *values: Any) -> Any:
        """One of the values."""
        return self.rng.choice(values)

    # --- calls

    def next(self) -> bytes:
        """One encoded call."""
        self.now += self.rng.choice([0, 0, 0, 1, 20, 90])
        name, arguments = self.multicall() if self.chance(10) else self.single()
        data = encode_call(name, *arguments)
        return self.damage(data) if self.chance(5) else data

    def opening(self) -> list[bytes]:
        """Calls that give everybody a balance, once the tokens are there."""
        fundings = [
            Funding(at=OWN, account=p.address, amount=OPENING, nonce=word("opening"), deadline=UnixSeconds(self.now))
            for p in PEOPLE
        ]
        signed = [p.sign(typed_digest(NETWORK, f)).to_bytes() for p, f in zip(PEOPLE, fundings, strict=True)]
        return [encode_call("fund", f, s) for f, s in zip(fundings, signed, strict=True)]

    def mint(self, person: SigningKey, amount: int) -> tuple[Mint, bytes]:
        """Tokens for somebody, by the issuer's word."""
        self.fresh += 1
        mint = Mint(
            at=OWN,
            account=person.address,
            amount=amount,
            nonce=word(f"mint {self.fresh}"),
            deadline=UnixSeconds(self.now),
        )
        return mint, ISSUER.sign(typed_digest(NETWORK, mint)).to_bytes()

    def single(self) -> Call:
        """One call that is no multicall."""
        makers: Sequence[Callable[[], Call]] = (
            self.lock,
            self.run,
            self.money,
            self.abort,
            self.inference,
            self.revoke,
            self.orders.brake,
            self.orders.govern,
            self.batches.call,
        )
        braking = 20 if self.orders.brakes.paused else 4
        return self.rng.choices(makers, weights=(30, 45, 15, 10, 15, 8, braking, 5, 30))[0]()

    def multicall(self) -> Call:
        """A multicall; rarely one in another, or with a call that nobody knows."""
        calls = [self.single() for _ in range(self.rng.randrange(5))]
        encoded = [encode_call(n, *a) for n, a in calls]
        if self.chance(10):
            encoded.append(
                self.either(encode_call("multicall", ()), b"", b"\x01\x02\x03\x04", encoded[0] if encoded else b"")
            )
        return "multicall", (tuple(encoded),)

    def damage(self, data: bytes) -> bytes:
        """One byte changed, missing or too many."""
        place = self.rng.randrange(len(data))
        changed = data[:place] + bytes([data[place] ^ self.rng.randrange(1, 256)]) + data[place + 1 :]
        return self.either(changed, changed, data[:place], data + b"\0", data + bytes(32))

    # --- publications

    def publication(self) -> Publication:
        """A lawful publication, or one with something wrong in it."""
        home = self.either(OWN, OWN, *OTHERS)
        rest = [lane for lane in (OWN, *OTHERS) if lane != home]
        mirrors = tuple(sorted(self.rng.sample(rest, self.rng.randrange(1, 3))))
        base = Publication(
            format=1,
            kind=self.either(1, 2),
            publisher=self.rng.choice(PEOPLE).address,
            name=self.either("digits", "a", "x-1.y_2"),
            version=self.rng.randrange(1, 9),
            ciphertext=Cid(codec=self.either(0x55, 0x70), digest=word("ciphertext")),
            capsule_hash=word("capsule"),
            manifest_commitment=word("manifest"),
            policy_hash=POLICY_OPEN,
            home=home,
            mirrors=mirrors,
            terms=NO_TERMS,
            deposit=self.rng.randrange(100, 160),
            nonce=self.nonce(),
            deadline=UnixSeconds(self.now + self.rng.randrange(60, 900)),
            extension_hash=ZERO32,
        )
        return self.spoil(base) if self.chance(15) else base

    def spoil(self, p: Publication) -> Publication:
        """Something that a registry refuses."""
        wrong: dict[str, Any] = self.either(
            {"format": 2},
            {"kind": self.either(0, 3)},
            {"name": self.either("", "-a", "a.", "A", "é", "a" * 65, "a b", *_NO_TEXT)},
            {"version": 0},
            {"ciphertext": Cid(codec=self.either(0x55, 0x71), digest=self.either(ZERO32, word("c")))},
            {"policy_hash": word("closed")},
            {"terms": Terms(currency=ZERO32, unit=self.either(0, 1), price=1)},
            {"extension_hash": word("more")},
            {"mirrors": self.either((), p.mirrors + p.mirrors, tuple(reversed((OWN, *OTHERS))), (*p.mirrors, p.home))},
            {"mirrors": tuple(sorted((OWN, *(Lane(chain=word(str(n)), registry=ZERO32) for n in range(8)))))},
            {"deadline": self.soon()},
            {"deposit": self.either(0, 99, 1 << 100)},
        )
        return dataclasses.replace(p, **wrong)

    def new(self) -> Publication:
        """One that was not made before."""
        return self.remember(self.publication())

    def remember(self, p: Publication) -> Publication:
        """Let later calls meet it."""
        self.publications[PublicationId(typed_digest(NETWORK, p))] = p
        return p

    def known(self) -> Publication:
        """Mostly one that was made before."""
        if not self.publications or self.chance(10):
            return self.new()
        return self.rng.choice(list(self.publications.values())[-10:])

    def identifier(self) -> PublicationId:
        """The id of a publication that may or may not be locked here."""
        return PublicationId(typed_digest(NETWORK, self.known()))

    def lock(self) -> Call:
        """Lock something new, or something old again."""
        p = self.known() if self.chance(60) else self.new()
        key = next(k for k in PEOPLE if k.address == p.publisher)
        return "lockModel", (p, self.sign(key, p))

    def abort(self) -> Call:
        """Abort by id, or by signed bytes."""
        if self.chance(60):
            return "abort", (self.identifier() if self.chance(90) else word("nothing"),)
        p = self.new() if self.chance(40) else self.known()
        if self.chance(40):
            p = self.remember(dataclasses.replace(p, deadline=UnixSeconds(self.now - 1)))
        key = next(k for k in PEOPLE if k.address == p.publisher)
        return "abortUnlocked", (p, self.sign(key, p))

    def revoke(self) -> Call:
        """Take back something that may be locked here, or anything else."""
        here = [i for i in self.held if i in self.publications]
        identifier = self.rng.choice(here) if here and self.chance(85) else self.identifier()
        owner = next(k for k in PEOPLE if k.address == self.publications[identifier].publisher)
        person = owner if self.chance(92) else self.rng.choice(PEOPLE)
        revocation = Revocation(
            at=OWN if self.chance(95) else OTHERS[0],
            publication=identifier,
            publisher=person.address,
            reason=self.either(0, 7, 0xFFFF),
            nonce=self.nonce(),
            deadline=self.soon(),
        )
        self.revocations.append(("revoke", (revocation, self.sign(person, revocation))))
        return self.rng.choice(self.revocations[-3:])

    # --- money

    def money(self) -> Call:
        """Fund or withdraw."""
        person = self.rng.choice(PEOPLE)
        amount = self.either(0, 1, self.rng.randrange(2000), 1 << 127)
        at = OWN if self.chance(95) else OTHERS[0]
        nonce, deadline = self.nonce(), self.soon()
        if self.chance(60):
            funding = Funding(at=at, account=person.address, amount=amount, nonce=nonce, deadline=deadline)
            return "fund", (funding, self.sign(person, funding))
        to = self.either(*PEOPLE, STRANGER).address
        withdrawal = Withdrawal(
            at=at, account=person.address, recipient=to, amount=amount, nonce=nonce, deadline=deadline
        )
        return "withdraw", (withdrawal, self.sign(person, withdrawal))

    # --- inference

    def inference(self) -> Call:
        """Ask or answer."""
        return self.answer() if self.requests and self.chance(50) else self.request()

    def request(self) -> Call:
        """Ask a publication, which may not be committed."""
        person = self.rng.choice(PEOPLE)
        committed = [i for i, state in self.held.items() if state is State.COMMITTED]
        chosen = self.rng.choice(committed) if committed and self.chance(75) else self.identifier()
        request = InferenceRequest(
            at=OWN if self.chance(95) else OTHERS[0],
            publication=chosen,
            consumer=person.address,
            input=Cid(codec=self.either(0x55, 0x55, 0x55, 1), digest=word("input")),
            input_commitment=word("in"),
            client_key=word("client"),
            nonce=self.nonce(),
            deadline=self.soon(),
        )
        self.requests[typed_digest(NETWORK, request)] = request
        return "requestInference", (request, self.sign(person, request))

    def answer(self) -> Call:
        """Answer a request, which may not be known."""
        identifier, asked = self.rng.choice(list(self.requests.items())[-6:])
        host = HostKey(
            sealing_key=word("sealing"),
            signing_key=HOST.address,
            epoch=Epoch(1 if self.chance(95) else 2),
            until=UnixSeconds(self.now + self.either(-1, 100, 100, 100)),
        )
        answer = Answer(
            at=OWN if self.chance(95) else OTHERS[1],
            request=identifier,
            publication=asked.publication if self.chance(95) else word("other"),
            lease=word("lease"),
            output=Cid(codec=0x55, digest=self.either(*[word("output")] * 5, ZERO32)),
            input_commitment=asked.input_commitment if self.chance(95) else word("other"),
            output_commitment=word("out"),
            receipt_hash=self.either(*[word("receipt")] * 5, word("receipt 2"), ZERO32),
            answered_at=UnixSeconds(self.now),
        )
        operator = OPERATOR if self.chance(95) else STRANGER
        return "answerInference", (answer, self.sign(HOST, answer), host, self.sign(operator, host))

    # --- certified runs

    def event(self, source: Lane) -> Event:
        """An event of another registry; most are of publications on which it has a say."""
        recent = list(self.publications.items())[-60:]
        concerned = [(i, q) for i, q in recent if {source, OWN} <= {q.home, *q.mirrors}]
        locked = [q for i, q in concerned if self.held.get(i) is State.LOCKED]
        p = self.rng.choice(locked or [q for _, q in concerned]) if concerned and self.chance(70) else self.known()
        home = p.home if self.chance(95) else self.either(OWN, *OTHERS)
        answers = [(Kind.LOCKED, (Role.MIRROR, home))] * 6 + [
            (Kind.REFUSED, (404, home)),
            (Kind.LOCKED, (Role.HOME, home)),
        ]
        outcomes = [(Kind.OUTCOME, (State.COMMITTED, 0))] * 4 + [(Kind.OUTCOME, (State.ABORTED, 1))] * 2
        outcomes += [(Kind.OUTCOME, (State.LOCKED, 0)), (Kind.SUPERSEDED, (7,))]
        request = word(f"request {self.rng.randrange(4)}")
        receipt = self.either(word("receipt"), word("receipt"), word("receipt 2"), ZERO32)
        answered = (Kind.ANSWERED, (request, receipt, Cid(codec=0, digest=ZERO32)))
        revoked = (Kind.REVOKED, (self.either(0, 7), source if self.chance(90) else OWN))
        likely = [*(outcomes if source == p.home else answers), revoked]
        others = (answered, revoked, *outcomes, *answers)
        kind, values = self.rng.choice(likely) if self.chance(85) else self.either(*others)
        here = self.either((OWN,), (OWN,), (OWN,), (), (source, OWN), (source,))
        subject = typed_digest(NETWORK, p)
        if self.chance(6 if source == self.orders.root else 2):
            return self.orders.told(here)
        if self.chance(30):
            return self.batches.event(source, here)
        event = Event(schema=1, kind=kind, destinations=here, subject=subject, body=encode_body(kind, *values))
        return self.odd(event) if self.chance(8) else event

    def odd(self, event: Event) -> Event:
        """An event that is carried, and ignored or refused."""
        body = event.body
        changes: list[dict[str, Any]] = [{"kind": k} for k in (8, 14, 99)] + [{"schema": 2}]
        changes += [{"body": b} for b in (b"", body[:-1], body + bytes(32), b"\1" + body[1:])]
        return dataclasses.replace(event, **self.rng.choice(changes))

    def run(self) -> Call:
        """A certified run, whole or in part, new or old, or one that a registry refuses."""
        if self.runs and self.chance(12):
            return self.rng.choice(self.runs[-5:])
        source = self.rng.choice(OTHERS) if self.chance(88) else PHANTOM
        first = max(1, self.lengths[source] + 1 - self.either(0, 0, 0, 1))
        events = [self.event(source) for _ in range(self.rng.randrange(1, 7))]
        items = tuple(Item(sequence=EventNumber(first + i), event=e) for i, e in enumerate(events))
        self.lengths[source] = max(self.lengths[source], first + len(items) - 1)
        leaves = [leaf_hash(source, i) for i in items]
        chosen = sorted(self.rng.sample(range(len(items)), self.rng.randrange(1, len(items) + 1)))
        proof = merkle_multiproof(leaves, chosen)
        checkpoint = Checkpoint(
            source=source,
            generation=self.orders.generation(source),
            epoch=Epoch(1),
            first_sequence=EventNumber(first),
            last_sequence=EventNumber(first + len(items) - 1),
            root=merkle_root(leaves),
            height=first,
            block_hash=word("block"),
        )
        picked = tuple(items[i] for i in chosen)
        if self.chance(20):
            return self.bad_run(checkpoint, picked, proof)
        self.runs.append(("applyRun", (self.certify(checkpoint), picked, proof)))
        return self.runs[-1]

    def certify(self, checkpoint: Checkpoint, signers: tuple[int, ...] = ()) -> Certificate:
        """Signed by a quorum or more, unless told by whom."""
        chosen = signers or tuple(sorted(self.rng.sample(range(4), self.either(3, 4))))
        digest = typed_digest(NETWORK, checkpoint)
        return Certificate(
            checkpoint=checkpoint,
            signatures=tuple(VALIDATORS[i].sign(digest).as_record(SignerIndex(i)) for i in chosen),
        )

    def bad_run(self, point: Checkpoint, items: tuple[Item, ...], proof: tuple[Bytes32, ...]) -> Call:
        """Exactly one thing is wrong."""
        edit = dataclasses.replace
        good = self.certify(point, (0, 1, 2))
        last = good.signatures[-1]
        high = edit(last, v=55 - last.v, s=(_ORDER - int.from_bytes(last.s, "big")).to_bytes(32, "big"))
        signatures = [
            good.signatures[:2],
            (*good.signatures[:2], good.signatures[1]),
            (good.signatures[1], good.signatures[0], last),
            (*good.signatures[:2], edit(last, signer=SignerIndex(9))),
            (*good.signatures[:2], edit(last, signer=SignerIndex(3))),
            (*good.signatures[:2], edit(last, v=0)),
            (*good.signatures[:2], edit(last, r=ZERO32)),
            (*good.signatures[:2], high),
        ]
        points: list[dict[str, Any]] = [
            {"epoch": Epoch(2)},
            {"generation": Generation(point.generation + 1)},
            {"source": OWN},
            {"root": ZERO32},
            {"root": word("root")},
            {"first_sequence": EventNumber(0)},
            {"last_sequence": EventNumber(point.first_sequence + 1024)},
            {"last_sequence": EventNumber(point.first_sequence - 1)},
        ]
        runs = [
            (self.certify(point), (), proof),
            (self.certify(point), (*items, items[-1]), proof),
            (self.certify(point), items, (*proof, word("more"))),
            (self.certify(point), items, proof[:-1] if proof else (word("x"),)),
            (self.certify(point), (edit(items[0], event=edit(items[0].event, subject=word("x"))), *items[1:]), proof),
        ]
        runs += [(edit(good, signatures=s), items, proof) for s in signatures]
        runs += [(self.certify(edit(point, **p)), items, proof) for p in points]
        return "applyRun", self.rng.choice(runs)
