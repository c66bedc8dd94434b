"""Whether direct calls were answered truly, once, under a lease: by the replies that left hosts, and by the board.

The rules, by the name that a finding carries:

* answered-twice: two different replies to one request left a host, or replies to two requests of one nonce
* unsound-answer: a request that no host may answer was answered
* no-receipt: a link of the receipt is broken, or it names no lease under which that could be
* wrong-output: the output does not open, or is not what the model gives for the input
* lease-overdrawn: more answers, direct or to registries, name one lease than it allows
* unanswered: somebody wants an answer, it can be had, and it did not come
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from caimi.apps.simulation.direct import DirectAsked, DirectConsumers
from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.world import World
from caimi.crypto.direct_seal import open_direct_output
from caimi.crypto.errors import SealNotOpened
from caimi.crypto.inference_seal import Salted
from caimi.ports.host_store import RequestState
from caimi.protocol.audit import Finding
from caimi.sdk.receipts import DirectReceiptFile
from caimi.sdk.verification import RegistryAnswer, Verdict, verify_receipt
from caimi.types.errors import BadEncoding, BadLength
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Receipt
from caimi.wire.codec import decode
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import DirectReply

__all__ = ["direct_states", "judge_direct", "receipts_of", "wanted_directly"]

_SIGNED = (RequestState.SIGNED, RequestState.SENT, RequestState.ANSWERED, RequestState.ELSEWHERE)


def judge_direct(world: World, consumers: DirectConsumers, hosts: Sequence[HostSite]) -> Iterable[Finding]:
    """All rules but the last one."""
    nonces: dict[tuple[bytes, bytes, bytes], tuple[Bytes32, UnixSeconds]] = {}
    for host in hosts:
        for request, replies in host.replies.items():
            asked = consumers.asked.get(request)
            if len(set(replies)) > 1:
                yield Finding("answered-twice", "direct", _shown(request), f"{len(set(replies))} different replies")
            if asked is None:
                yield Finding("unsound-answer", "direct", _shown(request), "no consumer asked")
                continue
            if not asked.oddity.is_answerable:
                yield Finding("unsound-answer", "direct", _shown(request), asked.oddity.value)
            record = asked.call.request
            nonce = (record.consumer, record.nonce, record.host)
            receipt = DirectReply.from_bytes(replies[0]).receipt
            other, until = nonces.setdefault(nonce, (request, record.deadline))
            if other != request and receipt.time <= until:
                yield Finding("answered-twice", "direct", _shown(request), f"the nonce is that of {_shown(other)}")
            yield from _reply(world, asked, replies[0])
    yield from _overdrawn(world, receipts_of(world, hosts))


def wanted_directly(consumers: DirectConsumers, *, can_be_had: bool) -> Iterable[Finding]:
    """The last rule: what time may still heal."""
    if consumers.wanting and can_be_had:
        yield Finding("unanswered", "direct", "consumers", f"{consumers.wanting} answers did not come")


def receipts_of(world: World, hosts: Sequence[HostSite]) -> list[Receipt]:
    """Every receipt that a host signed for an answer, by request of a ledger or directly."""
    direct = [
        DirectReply.from_bytes(one).receipt for host in hosts for replies in host.replies.values() for one in replies
    ]
    recorded = [
        decode(Receipt, row.signed.receipt)
        for host in hosts
        for state in _SIGNED
        for row in host.store.requests(state, 1 << 16)
        if row.signed is not None
    ]
    return list({typed_digest(world.network, receipt): receipt for receipt in (*direct, *recorded)}.values())


def direct_states(consumers: DirectConsumers, hosts: Sequence[HostSite]) -> dict[str, int]:
    """How many calls were answered, and how often which error was the answer."""
    answered = sum(request in consumers.asked for host in hosts for request in host.replies)
    return {"ANSWERED": answered, **consumers.refused} if answered or consumers.refused else {}


def _reply(world: World, asked: DirectAsked, encoded: bytes) -> Iterable[Finding]:
    try:
        reply = DirectReply.from_bytes(encoded)
        opened = open_direct_output(
            reply.sealed_output,
            session=asked.session,
            request=asked.id,
            commitment=reply.receipt.output_commitment,
        )
    except (BadEncoding, BadLength, SealNotOpened) as error:
        yield Finding("wrong-output", "direct", _shown(asked.id), type(error).__name__)
        return
    broken = _broken(world, asked, reply, opened)
    if broken:
        yield Finding("no-receipt", "direct", _shown(asked.id), ", ".join(broken))
    if opened.payload != asked.model.run(asked.input.payload):
        yield Finding("wrong-output", "direct", _shown(asked.id), "it is not what the model gives")


def _broken(world: World, asked: DirectAsked, reply: DirectReply, opened: Salted) -> list[str]:
    # As a client judges it, and anybody else who is given the file.
    file = DirectReceiptFile(
        network=world.network,
        genesis=world.genesis,
        publication=asked.published.record,
        request=asked.call.request,
        request_signature=asked.call.signature,
        session=asked.call.session,
        receipt=reply.receipt,
        receipt_signature=reply.signature,
        host_key=asked.host_key,
        operator_signature=asked.operator_signature,
        input_salt=asked.input.salt,
        output_salt=opened.salt,
    )
    judged = verify_receipt(
        file,
        trusted_network=world.network,
        input_payload=asked.input.payload,
        output_payload=opened.payload,
        registry=RegistryAnswer(lease=world.board.leases.get(reply.receipt.lease)),
    )
    return [finding.link for finding in judged.findings if finding.verdict is Verdict.INVALID]


def _overdrawn(world: World, receipts: Sequence[Receipt]) -> Iterable[Finding]:
    for lease, count in Counter(receipt.lease for receipt in receipts).items():
        record = world.board.leases.get(lease)
        if record is not None and count > record.calls:
            yield Finding("lease-overdrawn", "board", _shown(lease), f"{count} answers under {record.calls} calls")


def _shown(value: bytes) -> str:
    return "0x" + value.hex()
