"""One publication made ready for the relay: inspected, checked, sealed, uploaded, signed; taken up where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caimi.bundle.manifest import encode_manifest
from caimi.crypto.ecdsa import SigningKey
from caimi.sdk.connections import Connections
from caimi.sdk.drafts import Draft, DraftFolder, draft_name
from caimi.sdk.preflight import check_at_home, counts_still
from caimi.sdk.publishing import Offer, PublishStep, SignedPublication, check_terms, make_offer, seal
from caimi.types.records import Lane

if TYPE_CHECKING:
    from caimi.sdk.bundles import LocalBundle

__all__ = ["Terms", "check", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a publisher decides about one publication. See `Client.publish`."""

    name: str
    version: int
    home: str
    mirrors: Sequence[str | Lane]
    deposit: int | None
    deadline_s: int


async def check(connections: Connections, path: Path, terms: Terms, account: SigningKey) -> LocalBundle:
    """All checks; nothing is uploaded or sent. Raises as `Client.publish`."""
    bundle, offer = await _inspect(connections, path, terms, account)
    await check_at_home(connections, offer, account.address)
    return bundle


async def prepare(
    connections: Connections,
    path: Path,
    terms: Terms,
    account: SigningKey,
    *,
    drafts: DraftFolder | None,
    tell: Callable[[PublishStep], None],
) -> tuple[str, SignedPublication]:
    """Everything but handing it to the relay. The draft's name and the publication. Raises as `Client.publish`."""
    tell(PublishStep(name="inspect"))
    bundle, offer = await _inspect(connections, path, terms, account)
    key = draft_name(
        publisher=account.address,
        home=offer.home.chain + offer.home.registry,
        name=terms.name,
        version=terms.version,
        manifest=encode_manifest(bundle.manifest),
    )
    draft = drafts.take(key) if drafts else Draft.fresh()
    if draft.signed is not None and not await counts_still(connections, draft.signed):
        draft = draft.unsigned()
    signed = draft.signed
    if signed is not None:
        tell(PublishStep(name="again"))
        return key, signed
    await check_at_home(connections, offer, account.address)
    if drafts:
        drafts.keep(key, draft)
    signed = await seal(connections, bundle, draft.seed, offer, account, tell)
    if drafts:
        drafts.keep(key, Draft(seed=draft.seed, signed=signed))
    return key, signed


async def _inspect(
    connections: Connections, path: Path, terms: Terms, account: SigningKey
) -> tuple[LocalBundle, Offer]:
    bundle = await asyncio.to_thread(_read_bundle, path)
    network = connections.network
    mirrors = tuple(network.lane(one).lane if isinstance(one, str) else one for one in terms.mirrors)
    offer = await make_offer(
        connections, terms.name, terms.version, terms.home, mirrors, terms.deposit, terms.deadline_s
    )
    check_terms(network, bundle, offer, account)
    return bundle, offer


def _read_bundle(path: Path) -> LocalBundle:
    # Imported late: reading ONNX takes longer to load than all the rest, and most commands need none of it.
    from caimi.sdk.bundles import read_bundle

    return read_bundle(path)
