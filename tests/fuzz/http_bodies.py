"""HTTP bodies, paths, queries and trace headers: the real interfaces of all processes over parts in memory.

A request is asked as a server asks an application, so that everything between its bytes and the answer takes part. No
answer may be a 500, and no exception may leave the application: where that happens, an error has no class.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.fuzz.mutation import change_json, change_words
from tests.fuzz.target import Check, Target

__all__ = ["HTTP_BODIES"]

_TOKEN: Final = "a token of the state folder"
_LONGEST: Final = 1 << 13
_EMPTY_BLOCK: Final = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
# What was accepted is kept, and the observers of tests remember all that they are told.
_ASKED_OF_ONE_WORLD: Final = 20_000
# What an application may answer. 499 is said to a client that went away.
_STATUS: Final = frozenset({200, 201, 202, 400, 401, 404, 405, 409, 413, 422, 425, 429, 503, 507})


@dataclass(frozen=True, slots=True)
class _Route:
    process: str
    method: str
    path: str
    """With what is put in place of `{}` by the input, where there is such."""
    takes: str
    """json, bytes, path, query or headers: where the input goes."""


_ROUTES: Final = (
    _Route("relay", "POST", "/v1/publications", "json"),
    _Route("relay", "POST", "/v1/batches", "json"),
    _Route("relay", "POST", "/v1/requests", "json"),
    _Route("relay", "POST", "/v1/answers", "json"),
    _Route("relay", "POST", "/v1/calls", "json"),
    _Route("relay", "POST", "/v1/publications/{}/take-out", "path"),
    _Route("relay", "GET", "/v1/publications/{}", "path"),
    _Route("relay", "GET", "/v1/calls/{}", "path"),
    _Route("relay", "GET", "/v1/workflows", "query"),
    _Route("relay", "GET", "/healthz", "headers"),
    _Route("validator", "GET", "/v1/checkpoints", "query"),
    _Route("validator", "POST", "/v1/releases", "json"),
    _Route("host", "POST", "/v1/infer", "json"),
    _Route("host", "POST", "/v1/models/{}/infer", "bytes"),
    _Route("host", "GET", "/v1/requests/{}", "path"),
    _Route("content", "POST", "/v1/blocks/missing", "bytes"),
    _Route("content", "PUT", "/v1/blocks/{}", "bytes"),
    _Route("content", "GET", "/v1/blocks/{}", "path"),
)


class _Processes:
    # All interfaces in one event loop. Everything in them depends on labels only: each start makes the same.

    def __init__(self) -> None:
        from tests.unit.host.host_world import HostWorld

        self.loop = asyncio.new_event_loop()
        self.world = HostWorld()
        self.loop.run_until_complete(self.world.__aenter__())
        self.publication = self.loop.run_until_complete(self.world.publish())
        # Log lines of millions of requests are nobody's.
        self._nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._apps = {"relay": self._relay(), "validator": self._validator(), "host": self._host()}
        self._apps["content"] = self._content()

    def close(self) -> None:
        self._nowhere.close()
        self.loop.run_until_complete(self.world.__aexit__())
        self.loop.close()

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to what the input says."""
        route, content = _ROUTES[data[0] % len(_ROUTES)], data[1:]
        known = _EMPTY_BLOCK if route.process == "content" else "0x" + self.publication.hex()
        words = content.decode("utf-8", "replace") if route.takes == "path" else known
        headers = [
            (b"content-type", b"application/json"),
            (b"authorization", b"Bearer " + _TOKEN.encode()),
            (b"content-length", str(len(content)).encode()),
        ]
        if route.takes == "headers":
            first, _, second = content.partition(b"\n")
            headers += [(b"traceparent", first), (b"baggage", second)]
        path = route.path.replace("{}", words)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": route.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": content if route.takes == "query" else b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        body = content if route.takes in ("json", "bytes") else b""
        return self.loop.run_until_complete(_answer(self._apps[route.process], scope, body))

    def _relay(self) -> Any:
        from caimi.apps.http_server import bearer_check
        from caimi.apps.json_observer import JsonObserver
        from caimi.apps.relay_api import relay_app

        chains = self.world.keys.chains
        observer = JsonObserver("relay", self._nowhere)
        return relay_app(chains.relays[0], chains.stores[0], observer, may_change=bearer_check(_TOKEN))

    def _validator(self) -> Any:
        from caimi.apps.json_observer import JsonObserver
        from caimi.apps.validator_api import validator_app
        from caimi.validator.keys import ValidatorKeys
        from caimi.validator.rate_limit import RateLimiter
        from tests.unit.validator.key_world import EPOCH

        # The limit on what one client asks is a test's of its own; here it would end the search.
        limiter = RateLimiter(self.world.clock, per_second=1, burst=1 << 40)
        attestor, holder = self.world.keys.chains.peers[0], self.world.keys.validators[0]
        observer = JsonObserver("validator", self._nowhere)
        keys = ValidatorKeys(
            holder.generation,
            epoch=EPOCH,
            vault=holder.vault,
            make_release=lambda share: holder.release(),
            clock=self.world.clock,
            observer=observer,
        )
        self.loop.run_until_complete(keys.run())
        return validator_app(attestor, keys, limiter, observer, releases=limiter)  # pyright: ignore[reportArgumentType]

    def _host(self) -> Any:
        from caimi.apps.host_api import HostParts, host_app
        from caimi.apps.host_readiness import HostReadiness
        from caimi.apps.http_server import bearer_check
        from caimi.apps.json_observer import JsonObserver
        from caimi.host.registry_call import CallLimits, RegistryCalls

        world = self.world
        lanes = {name: ledger.lane for name, ledger in world.keys.chains.ledgers.items()}
        calls = RegistryCalls(
            world.keys.chains.network,
            CallLimits(longest_wait_s=-1.0),  # nobody waits for an answer here: no time passes
            relay=world.relay,
            content=world.content,
            store=world.store,
            clock=world.clock,
        )
        parts = HostParts(
            identity=world.identity,
            host=world.host,
            shelf=world.shelf,
            registry_calls=calls,
            serving=world.serving,
            keys=world.key_client,
            lanes=lanes,
        )
        ready = HostReadiness(world.host, world.key_client, lanes=lanes, others=()).missing
        observer = JsonObserver("host", self._nowhere)
        return host_app(parts, observer, may_change=bearer_check(_TOKEN), ready=ready, longest_call=1 << 20)

    def _content(self) -> Any:
        from caimi.storage.content_server import create_app

        return create_app(self.world.blocks, token=_TOKEN, observer=self.world.keys.chains.observer)


async def _answer(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, bytes]:
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    status, parts = 0, [b""]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        # The client waits for its answer and says nothing more.
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, b"".join(parts)


_running: list[_Processes] = []


@atexit.register
def _end() -> None:
    while _running:
        _running.pop().close()


def _check() -> Check:
    _end()
    processes = _Processes()
    _running.append(processes)

    def check(data: bytes) -> str:
        if not data:
            return "accepted"
        status, body = processes.ask(data)
        if status not in _STATUS:
            raise AssertionError(f"answered {status}: {body[:200]!r}")
        return "accepted" if status < 400 else f"{status} {json.loads(body)['error']}"

    return check


def _seeds() -> Sequence[bytes]:
    processes = _Processes()
    try:
        return [bytes((number,)) + content for number, content in _contents(processes)]
    finally:
        processes.close()


def _contents(processes: _Processes) -> list[tuple[int, bytes]]:
    from tests.unit.host.direct_consumer import Consumer
    from tests.unit.host.host_world import INPUT

    world, chains = processes.world, processes.world.keys.chains
    lane = chains.lane("fabric")
    direct = Consumer(world.identity).call(processes.publication, INPUT, world.clock.now() + 30).body
    identifier = chains.publication("fabric", "ethereum")[2]
    ids = [("0x" + value.hex()).encode() for value in (identifier, processes.publication, bytes(32))]
    at = f"source_chain=0x{lane.chain.hex()}&source_registry=0x{lane.registry.hex()}&generation=1&first=1&last=1"
    cid = _EMPTY_BLOCK.encode()
    found = [(number, _document(values)) for number, values in _documents(processes).items()]
    found += [(number, text) for number in (5, 6, 7, 14) for text in ids]
    found += [(8, b"idle=1.5&limit=2"), (10, at.encode()), (13, direct), (16, b""), (17, cid)]
    found += [(15, b'{"cids":["' + cid + b'"]}')]
    trace = f"00-{identifier[:16].hex()}-{identifier[:8].hex()}-01\ncaimi.ids={identifier.hex()}.{'11' * 32}"
    return [*found, (9, trace.encode())]


def _documents(processes: _Processes) -> dict[int, dict[str, Any]]:
    # By route, a sound body of each kind.
    from caimi.bundle.cid import decode_cid
    from caimi.types.primitives import ZERO32, UnixSeconds
    from caimi.types.records import Answer, InferenceRequest
    from caimi.wire.codec import encode, encode_values
    from caimi.wire.digests import typed_digest
    from caimi.wire.functions import FUNCTIONS, encode_call
    from tests.unit.relay.world import key

    world, keys = processes.world, processes.world.keys
    lane, network = keys.chains.lane("fabric"), keys.chains.network
    record, signature, identifier, capsule = keys.publication(name="another")
    host_key, operator_signature = keys.host_key()
    empty = decode_cid(b"\x01\x55\x12\x20" + bytes(32))
    request = InferenceRequest(
        at=lane,
        publication=processes.publication,
        consumer=key("consumer").address,
        input=empty,
        input_commitment=identifier,
        client_key=host_key.sealing_key,
        nonce=identifier,
        deadline=UnixSeconds(world.clock.now() + 60),
    )
    answer = Answer(
        at=lane,
        request=typed_digest(network, request),
        publication=processes.publication,
        lease=ZERO32,
        output=empty,
        input_commitment=identifier,
        output_commitment=identifier,
        receipt_hash=identifier,
        answered_at=UnixSeconds(world.clock.now()),
    )
    asked = key("consumer").sign(typed_digest(network, request)).to_bytes()
    answered = keys.host_signer.sign(typed_digest(network, answer)).to_bytes()
    known = keys.open_lease(processes.publication)
    of_host = {"host_key": encode(host_key), "operator_signature": operator_signature}
    batch = encode_values(FUNCTIONS["lockBatch"], ((record,), (signature,)))
    return {
        0: {"publication": encode(record), "signature": signature, "capsule": capsule.to_bytes()},
        1: {"batch": batch, "capsules": capsule.to_bytes()},
        2: {"request": encode(request), "signature": asked},
        3: {"answer": encode(answer), "signature": answered, **of_host},
        4: {"chain": lane.chain, "registry": lane.registry, "call": encode_call("abort", identifier)},
        11: {"lease": known, "publication": encode(record), "capsule": capsule.to_bytes()},
        12: {"request": encode(request), "signature": asked, "sealed_input": bytes(64)},
    }


def _document(values: dict[str, Any]) -> bytes:
    return json.dumps({k: "0x" + v.hex() if isinstance(v, bytes) else v for k, v in values.items()}).encode()


def _change(data: bytes, random: Random) -> bytes:
    if not data or random.randrange(50) == 0:
        return bytes((random.randrange(len(_ROUTES)),)) + data[1:]
    route = _ROUTES[data[0] % len(_ROUTES)]
    is_json = route.takes == "json" or data[1:2] == b"{"
    return data[:1] + (change_json if is_json else change_words)(data[1:], random)


HTTP_BODIES: Final = Target(
    prepare=_check, seeds=_seeds, mutation=_change, longest=_LONGEST, renew_every=_ASKED_OF_ONE_WORLD
)
"""Every route that takes something."""
