"""The validators' public key, once a quorum of them reports the same one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from caimi.apps.devnet.errors import NoGroupKeyYet
from caimi.crypto.errors import CryptoError
from caimi.crypto.secp256k1 import GROUP
from caimi.sdk.connections import Connections
from caimi.sdk.errors import SdkError
from caimi.sdk.network import Network
from caimi.types.errors import CaimiError

__all__ = ["wait_for_group_key"]

_POLL_S: Final = 0.3


async def wait_for_group_key(network: Network, *, timeout_s: float) -> bytes:
    """The 33 bytes of the group key of the network's epoch, as soon as q validators report it.

    Raises:
        NoGroupKeyYet: Not within `timeout_s`; says what each validator answered last.
    """
    connections = Connections(network, token=None)
    answers: dict[int, str] = {}
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                keys: Counter[bytes] = Counter()
                for site in network.validators:
                    try:
                        keys[await _ask(connections, site.url, network.epoch)] += 1
                        answers[site.index] = "has a key"
                    except (SdkError, CaimiError) as error:
                        answers[site.index] = f"{type(error).__name__}: {error}"
                for key, count in keys.items():
                    if count >= network.q:
                        return key
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        told = "; ".join(f"validator {index} {text}" for index, text in sorted(answers.items()))
        raise NoGroupKeyYet(f"{told or 'no validator was asked'}") from error
    finally:
        await connections.close()


async def _ask(connections: Connections, url: str, epoch: int) -> bytes:
    answer = await connections.service(url).get("/v1/keys")
    if answer.number("epoch") != epoch:
        raise CryptoError(f"a key of epoch {answer.number('epoch')}")
    key = answer.data("group_key", length=33)
    GROUP.decode_point(key)
    return key
