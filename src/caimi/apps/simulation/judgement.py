"""What the ledgers alone cannot show: whether answers are true, whether silence had a reason, whether secrets got out.

The rules, by the name that a finding carries:

* unknown-request: a ledger holds a request that no consumer made
* unsound-answer: a request that no host may answer is ANSWERED
* wrong-output: the output of an answer is not there, does not open, or is not what the model gives for the input
* no-receipt: no host has the receipt of an answer, or it does not fit the request, the answer and a lease on the board
* unanswered: somebody wants an answer, it can be had, and it did not come; or a sound request of calm times expired
* unsettled: a host still works on a request, or has not seen it, long after its deadline
* wrong-refusal: a host ended a request for a reason that there was not
* stolen-key: an honest validator released a key whose publication its home did not commit
* leak: a secret was heard outside its process
* bug: a process ended though nobody killed it, or answered a call with an error that is none of ours
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from caimi.apps.simulation.consumers import Asked, Consumers, Oddity
from caimi.apps.simulation.histories import dropped_lanes
from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.world import World
from caimi.bundle.tensors import TensorsRefused
from caimi.crypto.errors import SealNotOpened
from caimi.crypto.inference_seal import open_output, output_commitment
from caimi.host.errors import InputMismatch
from caimi.ports.content import ContentError
from caimi.ports.host_store import RequestRow, RequestState, SignedAnswer
from caimi.ports.model_runtime import RuntimeFailed
from caimi.protocol.audit import Finding
from caimi.protocol.publication import State
from caimi.storage.transfer import Content
from caimi.types.errors import BadLength
from caimi.types.primitives import ZERO32, Bytes32, PublicationId
from caimi.types.records import Answer, Cid, Item, Kind, Receipt
from caimi.wire.codec import decode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import decode_body

__all__ = ["bugs", "judge_inference", "leaks", "request_states", "unsettled"]

_LATE_S = 60
# A question that was lost in the last moment before the calm keeps its asker waiting that long at most.
_RECOVERY_S = 30.0
_LIMIT = 1 << 16


def bugs(world: World) -> Iterable[Finding]:
    """Rule bug."""
    for process in world.processes:
        for text in process.bugs:
            yield Finding("bug", "all", process.name, text)


def leaks(world: World) -> Iterable[Finding]:
    """Rule leak, over everything that was said, sent, stored and put on a ledger."""
    calls = (t.call for ledger in world.ledgers.values() for block in ledger.blocks for t in block.transactions)
    board = (*world.board.partials.values(), *world.board.posts.values())
    for name in world.wiretap.leaks((*calls, *board), world.trace.said()):
        yield Finding("leak", "all", name, "it was heard outside its process")


def unsettled(world: World, consumers: Consumers) -> Iterable[Finding]:
    """Rules unanswered and unsettled: what time may still heal."""
    if consumers.wanting and consumers.can_be_had():
        yield Finding("unanswered", "all", "consumers", f"{consumers.wanting} answers did not come")
    dropped, registries = dropped_lanes(world), world.registries()
    for asked in consumers.asked.values():
        if asked.record.at in dropped:
            continue
        row = asked.host.store.request(asked.id)
        is_open = asked.id in registries[asked.ledger].requests if row is None else not row.state.is_settled
        if is_open and world.clock.now() > asked.record.deadline + _LATE_S:
            yield Finding("unsettled", asked.ledger, _shown(asked.id), "unseen" if row is None else row.state.value)


async def judge_inference(world: World, consumers: Consumers, hosts: Sequence[HostSite]) -> list[Finding]:
    """All other rules."""
    found: list[Finding] = []
    for name, state in world.registries().items():
        for identifier in state.requests:
            if identifier not in consumers.asked:
                found.append(Finding("unknown-request", name, _shown(identifier), "no consumer made it"))
        for item in state.events:
            if item.event.kind == Kind.ANSWERED:
                request, receipt_hash, output = decode_body(Kind.ANSWERED, item.event.body)
                asked = consumers.asked.get(request)
                if asked is not None and asked.ledger == name:
                    found += await _answer(world, asked, receipt_hash, output, hosts)
    for asked in consumers.asked.values():
        found += _refusal(asked)
        found += _expired_in_calm(world, consumers, asked)
    found += _stolen(world)
    return found


def request_states(world: World, consumers: Consumers) -> dict[str, dict[str, str]]:
    """By ledger, what became of each request there."""
    return {
        name: {
            i.hex()[:8]: "ANSWERED" if r.receipt_hash != ZERO32 else _row_state(consumers.asked.get(i))
            for i, r in state.requests.items()
        }
        for name, state in world.registries().items()
    }


def _row_state(asked: Asked | None) -> str:
    row = None if asked is None else asked.host.store.request(asked.id)
    return "UNSEEN" if row is None else row.state.name


async def _answer(
    world: World, asked: Asked, receipt_hash: Bytes32, output: Cid, hosts: Sequence[HostSite]
) -> list[Finding]:
    found: list[Finding] = []
    if not asked.oddity.is_answerable:
        found.append(Finding("unsound-answer", asked.ledger, _shown(asked.id), asked.oddity.value))
    rows = [host.store.request(asked.id) for host in hosts]
    signed = [row.signed for row in rows if row is not None and row.signed is not None]
    held = [one for one in signed if one.receipt_hash == receipt_hash]
    if not held:
        return [*found, Finding("no-receipt", asked.ledger, _shown(asked.id), "no host has it")]
    wrong = _wrong_receipt(world, asked, held[0], output)
    if wrong:
        found.append(Finding("no-receipt", asked.ledger, _shown(asked.id), wrong))
    wrong = await _wrong_output(world, asked, held[0], output)
    if wrong:
        found.append(Finding("wrong-output", asked.ledger, _shown(asked.id), wrong))
    return found


def _wrong_receipt(world: World, asked: Asked, signed: SignedAnswer, output: Cid) -> str:
    receipt, answer = decode(Receipt, signed.receipt), decode(Answer, signed.answer)
    lease = world.board.leases.get(receipt.lease)
    if typed_digest(world.network, receipt) != signed.receipt_hash or answer.receipt_hash != signed.receipt_hash:
        return "the hash is of something else"
    if (receipt.request, receipt.publication) != (asked.id, asked.record.publication):
        return "it is of another request"
    if (receipt.lease, receipt.output_commitment, output) != (answer.lease, answer.output_commitment, answer.output):
        return "receipt, answer and ledger differ"
    if lease is None or lease.publication != receipt.publication or receipt.time > lease.end:
        return "it names no lease under which that could be"
    return ""


async def _wrong_output(world: World, asked: Asked, signed: SignedAnswer, output: Cid) -> str:
    try:
        stream = await Content(sources=[world.stored]).open(output, max_content_bytes=_LIMIT)
        sealed = b"".join([bytes(leaf) async for leaf in stream])
        salted = open_output(sealed, key=asked.client, request=asked.id)
    except (ContentError, SealNotOpened, BadLength) as error:
        return type(error).__name__
    if output_commitment(salted) != decode(Receipt, signed.receipt).output_commitment:
        return "it is not what the receipt commits to"
    if salted.payload != asked.model.run(asked.payload):
        return "it is not what the model gives"
    return ""


def _refusal(asked: Asked) -> Iterable[Finding]:
    row = asked.host.store.request(asked.id)
    if row is None or row.reason == "":
        return
    if row.state is RequestState.UNREADABLE:
        # The start whose key it was ended before, or nobody ever had the key.
        is_right = asked.oddity is Oddity.WRONG_KEY or asked.start < len(asked.host.starts) - 1
    elif row.state is RequestState.EXPIRED:
        is_right = True
    else:
        is_right = _may_refuse(asked, row)
    if not is_right:
        text = f"{row.state.value} for {row.reason}, being {asked.oddity.value}"
        yield Finding("wrong-refusal", asked.ledger, _shown(asked.id), text)


def _expired_in_calm(world: World, consumers: Consumers, asked: Asked) -> Iterable[Finding]:
    record = world.registries()[asked.ledger].requests.get(asked.id)
    is_calm = asked.at > world.plan.calm_at + _RECOVERY_S and world.clock.now() > asked.record.deadline
    if asked.oddity is not Oddity.NONE or not is_calm or not consumers.could_be_answered(asked):
        return
    if record is None or record.receipt_hash == ZERO32:
        yield Finding("unanswered", asked.ledger, _shown(asked.id), "asked in calm times")


def _may_refuse(asked: Asked, row: RequestRow) -> bool:
    if row.reason == RuntimeFailed.__name__:
        return asked.host.runtime.failures > 0
    if asked.oddity is Oddity.WRONG_COMMITMENT:
        return row.reason == InputMismatch.__name__
    refusals = {kind.__name__ for kind in TensorsRefused.__subclasses__()}
    return asked.oddity is Oddity.WRONG_TENSOR and row.reason in refusals


def _stolen(world: World) -> Iterable[Finding]:
    committed: set[PublicationId] = set()
    for item in _events(world):
        if item.event.kind == Kind.OUTCOME and decode_body(Kind.OUTCOME, item.event.body)[0] == State.COMMITTED:
            committed.add(PublicationId(item.event.subject))
    for lease, index in world.board.partials:
        # The bad ones give theirs to any lease that a host asks them for; they are too few for a key.
        if index - 1 not in world.bad and world.board.leases[lease].publication not in committed:
            yield Finding("stolen-key", "all", _shown(lease), f"by validator {index}")


def _events(world: World) -> Iterable[Item]:
    # Those that were final too, before their chain took them back: nobody could know better then.
    for ledger in world.ledgers.values():
        yield from ledger.tip.registry.state.events
        yield from (event.item for block in ledger.taken_back for event in block.events)


def _shown(value: bytes) -> str:
    return "0x" + value.hex()
