"""A second relay, run by somebody else: its own port, store and account, everything else as the first."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.keystore import MIN_COST
from caimi.devnet.health import is_healthy
from caimi.devnet.ports import choose_ports
from caimi.sdk.accounts import read_password, store_secret
from caimi.sdk.network import write_json
from caimi.types.primitives import Bytes32
from tests.crash.devnet_fixture import Devnet, until
from tests.faults.inflict import anvil

__all__ = ["second_relay"]

_NAME = "relay-2"


@asynccontextmanager
async def second_relay(devnet: Devnet, *, same_account: bool = False) -> AsyncGenerator[str]:
    """Its address, while it runs.

    Arguments:
        same_account: it pays from the first one's account, as after a careless copy of the configuration.
    """
    folder = devnet.home.parent / f"{_NAME}-{next(devnet.fresh)}"
    folder.mkdir()
    (port,) = choose_ports(1, order=random.Random())
    config = devnet.config("relay")
    config.update(name=_NAME, http={"port": port}, store=str(folder / "store.sqlite"), log=str(folder / "log"))
    if not same_account:
        await _own_account(devnet, config, folder)
    path = folder / "config.json"
    write_json(path, config)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "caimi.apps.relayd", "--config", str(path)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await until(lambda: is_healthy(f"{url}/healthz"), what="the second relay")
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _own_account(devnet: Devnet, config: dict[str, Any], folder: Path) -> None:
    key, password = SigningKey.from_entropy(Bytes32(os.urandom(32))), devnet.ledgers.folder.password
    file, purpose = folder / "key.json", f"{_NAME}/signing"
    store_secret(file, key.reveal(), read_password(password), purpose=purpose.encode(), cost=MIN_COST)
    for lane in config["lanes"]:
        if lane["kind"] == "ethereum":
            lane["sender"] = {"file": str(file), "password_file": str(password), "purpose": purpose}
    await anvil(devnet, "anvil_setBalance", f"0x{key.address.hex()}", hex(10**24))
