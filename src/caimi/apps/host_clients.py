"""What a host asks of validators and of a relay, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2

from caimi.apps.hex_values import hex_of, read_hex
from caimi.apps.json_client import JsonClient
from caimi.apps.problem import NoSuchThing
from caimi.crypto.errors import CryptoError
from caimi.crypto.key_share import ThresholdKey
from caimi.crypto.secp256k1 import GROUP
from caimi.ports.host_relay import PublicationUnknown, PublishedBytes, RelayUnavailable, SignedBytes
from caimi.ports.validators import ValidatorUnavailable
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32, Epoch

__all__ = ["HttpHostRelay", "HttpKeyRelease"]


class HttpKeyRelease:
    """`KeyReleasePort` of one validator."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._http = JsonClient(url, client, unavailable=ValidatorUnavailable)

    async def public_key(self) -> ThresholdKey:
        """See `KeyReleasePort.public_key`."""
        body = await self._http.get("/v1/keys")
        try:
            key = ThresholdKey(
                epoch=Epoch(_number(body["epoch"])),
                threshold=_number(body["threshold"]),
                group_key=GROUP.decode_point(read_hex(body["group_key"])),
                verification_keys=tuple(GROUP.decode_point(read_hex(one)) for one in body["verification_keys"]),
            )
            key.verify()
        except (KeyError, TypeError, AttributeError, CryptoError, BadEncoding) as error:
            raise self._http.nonsense(error) from error
        return key

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        """See `KeyReleasePort.release`."""
        body = {"lease": hex_of(lease), "publication": hex_of(publication), "capsule": hex_of(capsule)}
        await self._http.post("/v1/releases", body)


class HttpHostRelay:
    """`HostRelay` of one relay."""

    def __init__(self, url: str, client: httpx2.AsyncClient, *, token: str) -> None:
        self._http = JsonClient(url, client, unavailable=RelayUnavailable, token=token)

    async def publication(self, identifier: Bytes32) -> PublishedBytes:
        """See `HostRelay.publication`."""
        try:
            body = await self._http.get(f"/v1/publications/{hex_of(identifier)}")
        except NoSuchThing as error:
            raise PublicationUnknown(hex_of(identifier)) from error
        publication, capsule = body.get("publication"), body.get("capsule")
        if publication is None or capsule is None:
            raise PublicationUnknown(f"{hex_of(identifier)}: the relay lacks its bytes or its capsule")
        try:
            return PublishedBytes(publication=read_hex(publication), capsule=read_hex(capsule))
        except (TypeError, AttributeError, BadEncoding) as error:
            raise self._http.nonsense(error) from error

    async def answer(self, signed: SignedBytes) -> None:
        """See `HostRelay.answer`."""
        body = {
            "answer": hex_of(signed.answer),
            "signature": hex_of(signed.signature),
            "host_key": hex_of(signed.host_key),
            "operator_signature": hex_of(signed.operator_signature),
        }
        await self._http.post("/v1/answers", body)

    async def request(self, request: bytes, signature: bytes) -> None:
        """See `HostRelay.request`."""
        await self._http.post("/v1/requests", {"request": hex_of(request), "signature": hex_of(signature)})


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("no number")
    return value
