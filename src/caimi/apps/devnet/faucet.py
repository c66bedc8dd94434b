"""Test tokens: made by the devnet's issuer and moved into an account's balance at a registry."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from caimi.apps.devnet.errors import NotRunning
from caimi.apps.devnet.folder import StateFolder, load_or_make_plan
from caimi.apps.devnet.keys import make_keys
from caimi.apps.devnet.ledgers import Ledgers, prepare_ledgers
from caimi.apps.devnet.running import is_running
from caimi.chains.ethereum.deployment import mint_tokens
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.permit import PermitToken, permit_nonce, sign_funding
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.chains.fabric.board import FabricBoard
from caimi.chains.fabric.registry import FabricRegistry
from caimi.crypto.ecdsa import SigningKey
from caimi.devnet.toolchain import load_toolchain
from caimi.ports.chain import ChainError, ChainUnavailable, Included, Reverted
from caimi.sdk.network import read_network
from caimi.sdk.patience import PatientReader
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Funding, Mint
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call

__all__ = ["fund_account", "fund_ethereum", "fund_fabric"]

_VALID_S: Final = 300
_WAIT_S: Final = 90.0
_PAUSE_S: Final = 0.5


async def fund_account(home: Path, lane: str, account: SigningKey, amount: int) -> int:
    """Give `amount` (u128) to the account on a lane of the devnet in `home`; returns its registry balance then.

    Raises:
        UnknownName: There is no such lane.
        NotRunning: No devnet runs there.
        Refusal, ChainError: Of the registry or the node.
    """
    if not is_running(home):
        raise NotRunning(f"no devnet runs in {home}")
    network, folder = read_network(home), StateFolder.at(home)
    network.lane(lane)
    plan = load_or_make_plan(folder)
    ledgers = prepare_ledgers(folder, plan, make_keys(folder, plan), load_toolchain())
    return await (fund_fabric if lane == network.root else fund_ethereum)(ledgers, account, amount)


async def fund_fabric(ledgers: Ledgers, account: SigningKey, amount: int) -> int:
    """Give `amount` (u128) to the account on Fabric; returns its registry balance then.

    Raises:
        Refusal, ChainError: Of the registry or the peer.
    """
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(ledgers.gateway(0))
        chaincode = ledgers.fabric.plan.chaincode
        registry = FabricRegistry(gateway, lane=ledgers.fabric_lane, chaincode=chaincode)
        stack.push_async_callback(registry.close)
        board = FabricBoard(gateway, registry, chaincode=chaincode)
        deadline = UnixSeconds(int(time.time()) + _VALID_S)
        at, owner = ledgers.fabric_lane, account.address
        mint = Mint(at=at, account=owner, amount=amount, nonce=Bytes32(os.urandom(32)), deadline=deadline)
        signed = ledgers.keys.deployer.sign(typed_digest(ledgers.network, mint)).to_bytes()
        await _post(board, encode_call("mint", mint, signed))
        fund = Funding(at=at, account=owner, amount=amount, nonce=Bytes32(os.urandom(32)), deadline=deadline)
        signed = account.sign(typed_digest(ledgers.network, fund)).to_bytes()
        await _post(board, encode_call("fund", fund, signed))
        return await PatientReader(registry).balance(owner)


async def fund_ethereum(ledgers: Ledgers, account: SigningKey, amount: int) -> int:
    """Give `amount` (u128) to the account on Ethereum; returns its registry balance when that is final.

    Raises:
        Refusal, ChainError: Of the registry or the node.
    """
    deployer = ledgers.keys.deployer
    async with RpcClient(ledgers.ethereum_url, chain_id=ledgers.plan.chain_id) as rpc:
        await mint_tokens(rpc, issuer=deployer, token=ledgers.token, account=account.address, amount=amount)
        registry = EthereumRegistry(rpc, ledgers.site, sender=deployer)
        call = sign_funding(
            PermitToken(chain_id=ledgers.plan.chain_id, contract=ledgers.token),
            account,
            registry=ledgers.site.contract,
            amount=amount,
            nonce=await permit_nonce(rpc, ledgers.token, account.address),
            deadline=UnixSeconds((await registry.head()).time + _VALID_S),
        )
        await _send(registry, call)
        return await registry.balance(account.address)


async def _post(board: FabricBoard, call: bytes) -> None:
    # Its nonce makes a repetition a no-op, so that a peer which is busy may be asked again.
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            await board.post(call)
            return
        except ChainUnavailable:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(_PAUSE_S)


async def _send(registry: EthereumRegistry, call: bytes) -> None:
    prepared = await registry.prepare(call, slot=None)
    await registry.send(prepared)
    async with asyncio.timeout(_WAIT_S):
        while True:
            status = await registry.status(prepared)
            # Who was told of the money spends it: it must not vanish with a block.
            if isinstance(status, Included) and status.final:
                return
            if isinstance(status, Reverted):
                raise ChainError(f"{prepared.transaction} reverted: {status.cause}")
            await asyncio.sleep(0.1)
