"""What brakes, caps, lanes and revocations promise, judged by blocks and by the board alone (spec 35, 20 §1, 60 §2).

The rules, by the name that a finding carries:

* unsigned-order: a pause, a resumption or a decision took effect without so many validators' signatures
* begun-in-pause: a registry began something while it was paused, or opened a lease
* cap-exceeded: more was withdrawn, or more leases were opened, than the epoch's cap
* other-branch: of a lane in one generation, registries accepted certificates of blocks that exclude each other, or of
  blocks that exclude the one which governance kept
* dropped-lane: a registry accepted a certificate of a lane that it knew to be dropped
* released-after-revoke: a validator released a key under a lease that was opened after home had the revocation
* answered-after-revoke: a host answered under such a lease
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from typing import Any, Final

from caimi.apps.simulation.world import World
from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.protocol.audit import Finding
from caimi.protocol.publication import State
from caimi.simulators.ledger import SimulatedBlock, SimulatedLedger
from caimi.types.primitives import ZERO32, Bytes32, Generation, UnixSeconds
from caimi.types.records import Certificate, Lane, Receipt, Signature, Withdrawal
from caimi.wire.codec import Record
from caimi.wire.digests import typed_digest
from caimi.wire.functions import decode_call

__all__ = ["judge_orders", "judge_receipts_of_revoked"]

_NOTICE_S: Final = 20
"""After a revocation is in a block: longer than the node of any validator is behind."""


def judge_orders(world: World) -> Iterable[Finding]:
    """All rules but the last one."""
    states = world.registries().values()
    batched = frozenset(Bytes32(i) for state in states for ids in state.batch_ids.values() for i in ids)
    for name, ledger in world.ledgers.items():
        yield from _signatures(world, name, ledger)
        yield from _pauses(name, ledger, batched)
        yield from _withdrawals(world, name, ledger)
        yield from _dropped(name, ledger)
    yield from _leases(world)
    yield from _branches(world)
    for lease, index in world.board.partials:
        if index - 1 not in world.bad and _is_late(world, lease):
            yield Finding("released-after-revoke", "all", _shown(lease), f"by validator {index}")


def judge_receipts_of_revoked(world: World, receipts: Iterable[Receipt]) -> Iterable[Finding]:
    """The last rule."""
    for receipt in receipts:
        if _is_late(world, receipt.lease):
            yield Finding("answered-after-revoke", "all", _shown(receipt.request), "the lease is younger")


def _calls(ledger: SimulatedLedger) -> Iterator[tuple[SimulatedBlock, str, tuple[Any, ...]]]:
    # What took effect, call by call.
    for block in ledger.blocks:
        for transaction, outcome in zip(block.transactions, block.outcomes, strict=True):
            if outcome.refusal is None and transaction.call:
                yield from ((block, *one) for one in _parts(transaction.call))


def _parts(call: bytes) -> Iterator[tuple[str, tuple[Any, ...]]]:
    name, arguments = decode_call(call)
    if name == "multicall":
        for part in arguments[0]:
            yield decode_call(part)
    else:
        yield name, arguments


def _signatures(world: World, name: str, ledger: SimulatedLedger) -> Iterable[Finding]:
    needed = {"pause": world.plan.f + 1, "resume": world.validator_set.q, "govern": world.validator_set.q}
    for block, call, arguments in _calls(ledger):
        if call in needed:
            signers = _signers(world, arguments[0], arguments[1])
            if len(signers) < needed[call]:
                yield Finding("unsigned-order", name, f"block {block.height}", f"{call} by {sorted(signers)}")


def _signers(world: World, order: Record, signatures: tuple[Signature, ...]) -> set[int]:
    digest, found = typed_digest(world.network, order), set[int]()
    for signature in signatures:
        address = recover(digest, EcdsaSignature.from_record(signature))
        if address in world.genesis.validators:
            found.add(world.genesis.validators.index(address))
    return found


def _pauses(name: str, ledger: SimulatedLedger, batched: frozenset[Bytes32]) -> Iterable[Finding]:
    for before, block in pairwise(ledger.blocks):
        was, now = before.registry.state, block.registry.state
        if not was.brakes.paused or was.brakes.counter != now.brakes.counter:
            continue
        new = (i for i, p in now.publications.items() if p.state is State.LOCKED and i not in was.publications)
        # What is taken out of a batch was locked with it.
        locked = [i for i in new if i not in batched]
        # An answer of a batch's mirror may come by the batch's outcome, which is carried.
        batches = [
            root
            for (home, root), b in now.batches.items()
            if b.state is State.LOCKED and (home, root) not in was.batches
        ]
        requests = [i for i in now.requests if i not in was.requests]
        for begun in (*locked, *batches, *requests):
            yield Finding("begun-in-pause", name, _shown(begun), f"in block {block.height}")
        if was.tokens != now.tokens:
            yield Finding("begun-in-pause", name, "money", f"in block {block.height}")


def _withdrawals(world: World, name: str, ledger: SimulatedLedger) -> Iterable[Finding]:
    cap = world.limits.withdrawal_cap
    done: dict[Bytes32, Withdrawal] = {
        typed_digest(world.network, arguments[0]): arguments[0]
        for _, call, arguments in _calls(ledger)
        if call == "withdraw"
    }
    total = sum(withdrawal.amount for withdrawal in done.values())
    if 0 < cap < total:
        yield Finding("cap-exceeded", name, "withdrawals", f"{total} of {cap}")


def _leases(world: World) -> Iterable[Finding]:
    board, cap = world.board, world.limits.lease_cap
    for publication, count in Counter(lease.publication for lease in board.leases.values()).items():
        # One operator vouches for all hosts.
        if 0 < cap < count:
            yield Finding("cap-exceeded", "board", _shown(publication), f"{count} leases of {cap}")
    pauses = list(_intervals(next(one for one in world.ledgers.values() if one.lane == world.root)))
    for lease, at in board.opened_at.items():
        if any(begin < at < end for begin, end in pauses):
            yield Finding("begun-in-pause", "board", _shown(lease), "a lease was opened")


def _intervals(ledger: SimulatedLedger) -> Iterator[tuple[UnixSeconds, UnixSeconds]]:
    begin: UnixSeconds | None = None
    for block in ledger.blocks:
        is_paused = block.registry.state.brakes.paused
        if is_paused and begin is None:
            begin = block.time
        elif not is_paused and begin is not None:
            yield begin, block.time
            begin = None
    if begin is not None:
        yield begin, ledger.time()


# --- lanes


def _certificates(world: World) -> Iterator[tuple[str, Certificate]]:
    # Also those of blocks that were taken back since: they had been accepted.
    for name, ledger in world.ledgers.items():
        for block in (*ledger.blocks, *ledger.taken_back):
            for transaction, outcome in zip(block.transactions, block.outcomes, strict=True):
                if outcome.refusal is None and transaction.call:
                    for call, arguments in _parts(transaction.call):
                        if call == "applyRun":
                            yield name, arguments[0]


def _branches(world: World) -> Iterable[Finding]:
    seen: dict[tuple[Lane, Generation], set[tuple[int, Bytes32]]] = defaultdict(set)
    for _, certificate in _certificates(world):
        told = certificate.checkpoint
        seen[told.source, told.generation].add((told.height, told.block_hash))
    for name, ledger in world.ledgers.items():
        for (source, generation), blocks in seen.items():
            if source != ledger.lane:
                continue
            marks = blocks | set(_kept(world, source, generation))
            for lower, higher in combinations(sorted(marks), 2):
                if not _is_below(ledger, lower, higher):
                    detail = f"generation {generation}: {_mark(lower)} and {_mark(higher)}"
                    yield Finding("other-branch", name, _shown(higher[1]), detail)


def _kept(world: World, source: Lane, generation: Generation) -> Iterator[tuple[int, Bytes32]]:
    for ledger in world.ledgers.values():
        if ledger.lane == world.root:
            for _, call, arguments in _calls(ledger):
                is_of_it = call == "govern" and (arguments[0].lane, arguments[0].generation) == (source, generation)
                if is_of_it and arguments[0].block_hash != ZERO32:
                    yield arguments[0].height, arguments[0].block_hash


def _is_below(ledger: SimulatedLedger, lower: tuple[int, Bytes32], higher: tuple[int, Bytes32]) -> bool:
    at: Bytes32 | None = higher[1]
    for _ in range(higher[0] - lower[0]):
        at = None if at is None else ledger.parents.get(at)
    return at == lower[1]


def _dropped(name: str, ledger: SimulatedLedger) -> Iterable[Finding]:
    gone: set[Lane] = set()
    for before, block in pairwise(ledger.blocks):
        gone |= {lane for lane, decided in before.registry.state.governed.items() if decided.dropped}
        for transaction, outcome in zip(block.transactions, block.outcomes, strict=True):
            if outcome.refusal is None and transaction.call:
                for call, arguments in _parts(transaction.call):
                    if call == "applyRun" and arguments[0].checkpoint.source in gone:
                        yield Finding("dropped-lane", name, f"block {block.height}", "a certificate was accepted")


# --- revocations


def _is_late(world: World, lease: Bytes32) -> bool:
    record, opened = world.board.leases.get(lease), world.board.opened_at.get(lease)
    if record is None or opened is None:
        return False
    revoked = world.revoked_at(record.publication)
    return revoked is not None and opened > revoked + _NOTICE_S


def _mark(block: tuple[int, Bytes32]) -> str:
    return f"block {block[0]} {_shown(block[1])[:18]}"


def _shown(value: bytes) -> str:
    return "0x" + value.hex()
