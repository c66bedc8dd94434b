"""Suites wire and events: encodings, digests, leaves, roots."""

from __future__ import annotations

import dataclasses
from typing import Any

from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, UnixSeconds
from caimi.types.records import (
    Answer,
    BoardPost,
    Cid,
    DirectRequest,
    EpochSet,
    Event,
    Funding,
    Governance,
    GovernanceAction,
    HostKey,
    InferenceRequest,
    Item,
    Kind,
    Lane,
    LeaseRequest,
    Mint,
    PartialPost,
    Pause,
    Publication,
    Receipt,
    Resume,
    Revocation,
    SetChange,
    SetProposal,
    Terms,
    Withdrawal,
)
from caimi.wire.codec import SHAPES, Record, encode, struct_hash
from caimi.wire.digests import event_hash, leaf_hash, typed_digest
from caimi.wire.functions import encode_body
from caimi.wire.merkle import merkle_multiproof, merkle_root
from vectorgen import fixtures as fx
from vectorgen.fixtures import Key, hexed, seeded

__all__ = ["board_suite", "epochs_suite", "events_suite", "receipt_suite", "sample_items", "wire_suite"]

_WHEN = UnixSeconds(1_800_000_000)


def _signed(network: Bytes32, record: Record, key: Key, case: int) -> dict[str, Any]:
    digest = typed_digest(network, record)
    return {
        "tcId": case,
        "comment": f"{type(record).__name__}",
        "record": type(record).__name__,
        "encoded": hexed(encode(record)),
        "structHash": hexed(struct_hash(record)),
        "digest": hexed(digest),
        "signature": hexed(key.sign(digest)),
        "signer": hexed(key.address),
    }


def _changed(value: Any) -> Any:
    # The same type with another value.
    if isinstance(value, bytes):
        return type(value)(value[:-1] + bytes([value[-1] ^ 1]))
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int):
        return value + 1
    if isinstance(value, tuple):
        return (*value[:-1], _changed(value[-1]))
    first = dataclasses.fields(value)[-1].name
    return dataclasses.replace(value, **{first: _changed(getattr(value, first))})


def _leaves(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    # Every field, and every field of a nested record, as (path, whole record with only that changed).
    out: list[tuple[str, Any]] = []
    for f in dataclasses.fields(value):
        inner = getattr(value, f.name)
        if dataclasses.is_dataclass(inner):
            out += [
                (f"{f.name}.{path}", dataclasses.replace(value, **{f.name: changed}))
                for path, changed in _leaves(inner, f.name)
            ]
        elif isinstance(inner, tuple) and inner:
            out.append((f"{f.name}[0]", dataclasses.replace(value, **{f.name: (_changed(inner[0]), *inner[1:])})))
            out.append((f"{f.name}.length", dataclasses.replace(value, **{f.name: inner[:-1]})))
        else:
            out.append((f.name, dataclasses.replace(value, **{f.name: _changed(inner)})))
    return out


def _suite(records: list[tuple[Record, Key]]) -> dict[str, Any]:
    cases = [_signed(fx.NETWORK, r, k, i + 1) for i, (r, k) in enumerate(records)]
    refusals: list[dict[str, Any]] = []
    for (record, key), case in zip(records, cases, strict=True):
        for path, changed in _leaves(record):
            refusals.append(
                {
                    "tcId": 1000 + len(refusals),
                    "comment": f"{case['record']}: only {path} was changed after signing",
                    "record": case["record"],
                    "field": path,
                    "encoded": hexed(encode(changed)),
                    "signature": case["signature"],
                    "signer": hexed(key.address),
                    "error": "WrongSigner",
                    "place": "authority",
                }
            )
    refusals += _other_network(cases, len(refusals))
    refusals += _malformed(records, len(refusals))
    return {"network": hexed(fx.NETWORK), "cases": cases, "refusals": refusals}


def _other_network(cases: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    return [
        {
            "tcId": 1000 + start + i,
            "comment": f"{c['record']}: signed for another network",
            "record": c["record"],
            "field": "network",
            "network": hexed(seeded("another network")),
            "encoded": c["encoded"],
            "signature": c["signature"],
            "signer": c["signer"],
            "error": "WrongSigner",
            "place": "authority",
        }
        for i, c in enumerate(cases)
    ]


def _malformed(records: list[tuple[Record, Key]], start: int) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for record, _ in records:
        good = encode(record)
        name = type(record).__name__
        bad = {
            "one byte is missing": good[:-1],
            "one word is missing": good[:-32],
            "one word too many": good + bytes(32),
            "nothing at all": b"",
        }
        narrow = [(i, k) for i, (_, k) in enumerate(SHAPES[type(record)]) if k in ("address", "uint8", "uint64")]
        if narrow and name not in ("Publication",):
            # The word before the first narrow field's low bytes is dirty.
            # A record with lists begins with where it begins.
            begins = 32 if any(k.endswith("[]") or k == "EpochSet" for _, k in SHAPES[type(record)]) else 0
            offset = begins + _static_offset(record.__class__, narrow[0][0])
            bad["dirty high bits"] = good[:offset] + b"\x01" + good[offset + 1 :]
        for comment, data in bad.items():
            out.append(
                {
                    "tcId": 1000 + start + len(out),
                    "comment": f"{name}: {comment}",
                    "record": name,
                    "encoded": hexed(data),
                    "error": "BadEncoding",
                    "place": "encode",
                }
            )
    return out


def _static_offset(cls: type[Record], index: int) -> int:
    return sum(_width(k) for _, k in SHAPES[cls][:index])


def _width(kind: str) -> int:
    nested = {c.__name__: c for c in SHAPES}.get(kind)
    return 32 if nested is None else sum(_width(k) for _, k in SHAPES[nested])


def _pub() -> Publication:
    return fx.publication(fx.FABRIC, (fx.ETHEREUM, fx.ELSEWHERE))


def _inference(at: Lane) -> list[tuple[Record, Key]]:
    return [
        (
            InferenceRequest(
                at=at,
                publication=seeded("id"),
                consumer=fx.CONSUMER.address,
                input=Cid(codec=0x55, digest=seeded("input")),
                input_commitment=seeded("in"),
                client_key=seeded("client"),
                nonce=seeded("r"),
                deadline=_WHEN,
            ),
            fx.CONSUMER,
        ),
        (
            HostKey(sealing_key=seeded("sealing"), signing_key=fx.HOST.address, epoch=Epoch(1), until=_WHEN),
            fx.OPERATOR,
        ),
        (
            Answer(
                at=at,
                request=seeded("request"),
                publication=seeded("id"),
                lease=seeded("lease"),
                output=Cid(codec=0x55, digest=seeded("output")),
                input_commitment=seeded("in"),
                output_commitment=seeded("out"),
                receipt_hash=seeded("receipt"),
                answered_at=_WHEN,
            ),
            fx.HOST,
        ),
    ]


def _orders(at: Lane) -> list[tuple[Record, Key]]:
    return [
        (Pause(at=at, epoch=Epoch(1), counter=3), fx.VALIDATORS[1]),
        (Resume(at=at, epoch=Epoch(1), counter=4), fx.VALIDATORS[2]),
        (
            Governance(
                at=fx.FABRIC,
                epoch=Epoch(1),
                action=GovernanceAction.RESUME_LANE,
                lane=at,
                version=2,
                generation=Generation(3),
                height=77,
                block_hash=seeded("kept"),
            ),
            fx.VALIDATORS[3],
        ),
    ]


def wire_suite() -> dict[str, Any]:
    """Records that every ledger reads."""
    events = sample_items(3)
    at = fx.ETHEREUM
    return _suite(
        [
            (_pub(), fx.PUBLISHER),
            (
                dataclasses.replace(
                    _pub(), kind=2, name="a", terms=Terms(currency=seeded("token"), unit=1, price=5), deposit=2**128 - 2
                ),
                fx.PUBLISHER,
            ),
            (
                Withdrawal(
                    at=at,
                    account=fx.PUBLISHER.address,
                    recipient=fx.STRANGER.address,
                    amount=7,
                    nonce=seeded("w"),
                    deadline=_WHEN,
                ),
                fx.PUBLISHER,
            ),
            *_inference(at),
            (fx.checkpoint(fx.FABRIC, events), fx.VALIDATORS[0]),
            (
                Revocation(
                    at=at,
                    publication=seeded("id"),
                    publisher=fx.PUBLISHER.address,
                    reason=7,
                    nonce=seeded("revocation"),
                    deadline=_WHEN,
                ),
                fx.PUBLISHER,
            ),
            *_orders(at),
        ]
    )


def board_suite() -> dict[str, Any]:
    """Records that only Fabric's registry reads."""
    at = fx.FABRIC
    account, nonce = fx.PUBLISHER.address, seeded("m")
    return _suite(
        [
            (Funding(at=at, account=account, amount=9, nonce=nonce, deadline=_WHEN), fx.PUBLISHER),
            (Mint(at=at, account=account, amount=9, nonce=nonce, deadline=_WHEN), fx.DEPLOYER),
            (
                LeaseRequest(
                    at=at,
                    publication=seeded("id"),
                    sealing_key=seeded("sealing"),
                    signing_key=fx.HOST.address,
                    epoch=Epoch(1),
                    purpose=1,
                    opening=seeded("opening"),
                    end=_WHEN,
                    calls=100,
                    nonce=seeded("l"),
                    deadline=_WHEN,
                ),
                fx.HOST,
            ),
            (PartialPost(at=at, lease=seeded("lease"), index=2, sealed_hash=seeded("sealed")), fx.VALIDATORS[1]),
            (BoardPost(at=at, epoch=Epoch(1), phase=2, index=1, body_hash=seeded("body")), fx.VALIDATORS[0]),
        ]
    )


def epochs_suite() -> dict[str, Any]:
    """Records about the change of the validator set (spec 42)."""
    following = EpochSet(
        epoch=Epoch(2),
        validators=tuple(k.address for k in (*fx.VALIDATORS[1:], fx.STRANGER)),
        f=1,
        t=2,
        transcript=seeded("transcript"),
    )
    lanes = tuple(sorted((fx.ETHEREUM, fx.ELSEWHERE)))
    proposed = dataclasses.replace(following, transcript=ZERO32)
    return _suite(
        [
            (following, fx.VALIDATORS[0]),
            (SetChange(at=fx.FABRIC, epoch=Epoch(1), next=following, lanes=lanes), fx.VALIDATORS[1]),
            (SetProposal(at=fx.FABRIC, epoch=Epoch(1), next=proposed), fx.VALIDATORS[2]),
        ]
    )


def receipt_suite() -> dict[str, Any]:
    """Receipts and direct requests, which are verified off the ledgers."""
    receipt = Receipt(
        request=seeded("request"),
        publication=seeded("id"),
        grant=seeded("grant"),
        lease=seeded("lease"),
        quote=seeded("quote"),
        model_commitment=seeded("model"),
        input_commitment=seeded("in"),
        output_commitment=seeded("out"),
        price=3,
        heartbeat=seeded("heartbeat"),
        time=_WHEN,
    )
    direct = DirectRequest(
        publication=seeded("id"),
        consumer=fx.CONSUMER.address,
        host=fx.HOST.address,
        session=seeded("session"),
        input_commitment=seeded("in"),
        nonce=seeded("nonce"),
        deadline=_WHEN,
    )
    return _suite([(receipt, fx.HOST), (direct, fx.CONSUMER)])


def sample_items(count: int) -> tuple[Item, ...]:
    """Events 1..count of a lane."""
    destinations: list[tuple[Lane, ...]] = [(), (fx.ETHEREUM,), (fx.ETHEREUM, fx.FABRIC)]
    return tuple(
        fx.item(
            i + 1,
            Event(
                schema=1,
                kind=Kind.OUTCOME,
                destinations=destinations[i % 3],
                subject=seeded(f"subject {i}"),
                body=encode_body(Kind.OUTCOME, 2 + i % 2, i % 4),
            ),
        )
        for i in range(count)
    )


def _wrong_proofs(width: int, indices: list[int], proof: list[str]) -> list[tuple[str, dict[str, Any], str]]:
    # What is changed of a right case, and the refusal.
    first, *others = indices
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("one node too many", {"proof": [*proof, hexed(seeded("more"))]}, "ProofTooLong")
    ]
    if proof:
        wrong.append(("one node too few", {"proof": proof[:-1]}, "ProofTooShort"))
        wrong.append(("one node changed", {"proof": [hexed(seeded("x")), *proof[1:]]}, "WrongRoot"))
    wrong.append(("an index beyond the run", {"indices": [*indices[:-1], width]}, "ItemOutOfRun"))
    if others:
        wrong.append(("indices out of order", {"indices": [others[0], first, *others[1:]]}, "ItemOutOfRun"))
        wrong.append(("an index twice", {"indices": [first, first, *others[1:]]}, "ItemOutOfRun"))
    return wrong


def events_suite() -> dict[str, Any]:
    """Leaves, roots and multiproofs."""
    items = sample_items(13)
    leaves = [leaf_hash(fx.FABRIC, i) for i in items]
    runs = [
        {"tcId": w, "comment": f"run of {w}", "width": w, "root": hexed(merkle_root(leaves[:w]))} for w in range(1, 14)
    ]
    proofs: list[dict[str, Any]] = []
    refusals: list[dict[str, Any]] = []
    for width, indices in [
        (1, [0]),
        (2, [1]),
        (3, [2]),
        (5, [0, 4]),
        (7, [1, 2, 6]),
        (13, [0, 5, 6, 12]),
        (13, [*range(13)]),
    ]:
        proof = merkle_multiproof(leaves[:width], indices)
        base: dict[str, Any] = {"width": width, "indices": indices, "proof": [hexed(p) for p in proof]}
        root = hexed(merkle_root(leaves[:width]))
        proofs.append({"tcId": 100 + len(proofs), "comment": f"{indices} of {width}", **base, "root": root})
        wrong = _wrong_proofs(width, indices, list(base["proof"]))
        for comment, change, error in wrong:
            case = {**base, **change}
            refusals.append(
                {"tcId": 1000 + len(refusals), "comment": comment, **case, "root": root, "error": error, "place": "run"}
            )
    refusals += _changed_leaves(items[0], len(refusals))
    return {
        "source": hexed(encode(fx.FABRIC)),
        "items": [
            {
                "tcId": 200 + n,
                "comment": f"event {n}",
                "encoded": hexed(encode(i)),
                "eventHash": hexed(event_hash(i.event)),
                "leaf": hexed(leaf_hash(fx.FABRIC, i)),
            }
            for n, i in enumerate(items)
        ],
        "runs": runs,
        "proofs": proofs,
        "refusals": refusals,
    }


def _changed_leaves(first: Item, start: int) -> list[dict[str, Any]]:
    root = hexed(leaf_hash(fx.FABRIC, first))
    event = first.event
    variants: list[tuple[str, Item]] = [("sequence", fx.item(2, event))]
    changes: dict[str, Any] = {
        "schema": 2,
        "kind": 4,
        "destinations": (fx.FABRIC,),
        "subject": seeded("other"),
        "body": event.body[:-1] + b"\x09",
    }
    variants += [(f, fx.item(1, dataclasses.replace(event, **{f: v}))) for f, v in changes.items()]
    return [
        {
            "tcId": 1000 + start + n,
            "comment": f"leaf: only {f} was changed",
            "field": f,
            "encoded": hexed(encode(i)),
            "root": root,
            "error": "WrongRoot",
            "place": "run",
        }
        for n, (f, i) in enumerate(variants)
    ]
