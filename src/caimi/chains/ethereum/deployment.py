"""Putting a token and a registry on a chain, and making test tokens. For operators and devnets, not for services."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caimi.chains.ethereum.artefacts import EPOCHS, REGISTRY, TOKEN, load_artefact
from caimi.chains.ethereum.blocks import read_block
from caimi.chains.ethereum.errors import DeploymentFailed, RpcFailure
from caimi.chains.ethereum.fees import FeePolicy, gas_limit
from caimi.chains.ethereum.fields import as_address, as_object, as_quantity, hex_data
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reverts import read_revert
from caimi.chains.ethereum.transaction import Transaction, sign_transaction
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.chain import ChainUnavailable
from caimi.ports.registry_views import encode_view
from caimi.protocol.registry_state import Limits
from caimi.types.primitives import Address
from caimi.types.records import Genesis, Lane
from caimi.types.refusals import UnknownFunction
from caimi.wire.codec import encode_values
from caimi.wire.keccak import keccak256

__all__ = ["Deployment", "RegistryPlan", "attach_epochs", "deploy", "mint_tokens"]

_POLL_S: Final = 0.05
_TIMEOUT_S: Final = 60.0
_CREATION: Final = ("Genesis", "uint128", "uint64", "uint64", "uint128", "address", "Lane")
_ATTACH: Final = keccak256(b"attachEpochs(address)")[:4]
_MINT: Final = keccak256(b"mint(address,uint256)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPlan:
    """What a registry is created with."""

    genesis: Genesis
    min_deposit: int
    """u128, at least 1."""
    clock_window: int
    """Seconds."""
    limits: Limits
    """Without the cap on leases, which the board has."""
    root: Lane
    """The registry whose word governs lanes; all zero for this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where the contracts are."""

    token: Address
    registry: Address
    first_block: int
    """Block that holds the registry's creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    height: int
    contract: Address | None


async def deploy(
    rpc: RpcClient,
    plan: RegistryPlan,
    *,
    deployer: SigningKey,
    folder: Path,
    token: Address | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Deployment:
    """Put a registry on the chain, and before it a test token issued by `deployer` unless `token` names one.

    Arguments:
        folder: with the compiled contracts, see `artefact_folder`.

    Raises:
        DeploymentFailed: A transaction reverts or does not come through in time.
        BadArtefact: A compiled contract is missing.
        ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
    """
    if token is None:
        code = load_artefact(folder, TOKEN).bytecode + encode_values(("address",), (deployer.address,))
        token = _contract(await _transact(rpc, deployer, to=None, data=code, timeout_s=timeout_s))
    limits = (plan.limits.resume_delay, plan.limits.withdrawal_cap)
    arguments = (plan.genesis, plan.min_deposit, plan.clock_window, *limits, token, plan.root)
    code = load_artefact(folder, REGISTRY).bytecode + encode_values(_CREATION, arguments)
    done = await _transact(rpc, deployer, to=None, data=code, timeout_s=timeout_s)
    registry = _contract(done)
    await attach_epochs(rpc, registry, deployer=deployer, folder=folder, timeout_s=timeout_s)
    return Deployment(token=token, registry=registry, first_block=done.height)


async def attach_epochs(
    rpc: RpcClient, registry: Address, *, deployer: SigningKey, folder: Path, timeout_s: float = _TIMEOUT_S
) -> None:
    """Give a registry the code that changes its validator set (spec 42), unless it has it. `deploy` has done so.

    One transaction cannot create all of a registry, and one that was stopped in between, or whose chain lost its last
    blocks, has no such code.

    Arguments:
        deployer: pays; anybody may.

    Raises:
        DeploymentFailed: The registry knows other code, or a transaction does not come through in time.
        BadArtefact: The compiled contract is missing.
        ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
    """
    try:
        question = {"to": hex_data(registry), "data": hex_data(encode_view("epochs"))}
        if await rpc.call("eth_call", question, "latest") == "0x":
            raise DeploymentFailed(f"there is no registry at {hex_data(registry)}")
        return
    except RpcFailure as error:
        if not isinstance(read_revert(error.data or b""), UnknownFunction):
            raise
    code = load_artefact(folder, EPOCHS).bytecode
    epochs = _contract(await _transact(rpc, deployer, to=None, data=code, timeout_s=timeout_s))
    attaching = _ATTACH + encode_values(("address",), (epochs,))
    await _transact(rpc, deployer, to=registry, data=attaching, timeout_s=timeout_s)


async def mint_tokens(
    rpc: RpcClient,
    *,
    issuer: SigningKey,
    token: Address,
    account: Address,
    amount: int,
    timeout_s: float = _TIMEOUT_S,
) -> None:
    """Make `amount` (u256) test tokens for `account` and wait until they are there.

    Raises:
        DeploymentFailed: `issuer` is not the token's issuer, or it takes too long.
        ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
    """
    data = _MINT + encode_values(("address", "uint256"), (account, amount))
    await _transact(rpc, issuer, to=token, data=data, timeout_s=timeout_s)


def _contract(done: _Done) -> Address:
    if done.contract is None:
        raise DeploymentFailed("the receipt names no contract")
    return done.contract


async def _transact(rpc: RpcClient, key: SigningKey, *, to: Address | None, data: bytes, timeout_s: float) -> _Done:
    sender = hex_data(key.address)
    trial = {"from": sender, "data": hex_data(data)} | ({} if to is None else {"to": hex_data(to)})
    try:
        estimate = await rpc.call("eth_estimateGas", trial, "latest")
    except RpcFailure as error:
        raise DeploymentFailed(f"{error.message}: {read_revert(error.data or b'')}") from error
    nonce = as_quantity(await rpc.call("eth_getTransactionCount", sender, "latest"), "the transaction count")
    block = read_block(await rpc.call("eth_getBlockByNumber", "latest", False), "the latest block")
    if block is None:
        raise ChainUnavailable(f"{rpc.node} has no block yet")
    prices = FeePolicy().fees(base_fee=block.base_fee, suggested_tip=0, replaced=None)
    transaction = Transaction(
        chain_id=rpc.chain_id,
        nonce=nonce,
        max_priority_fee=prices.max_priority_fee,
        max_fee=prices.max_fee,
        gas=gas_limit(as_quantity(estimate, "the gas estimate"), block_gas_limit=block.gas_limit),
        to=to,
        data=data,
    )
    signed = sign_transaction(transaction, key)
    await rpc.call("eth_sendRawTransaction", hex_data(signed.raw))
    return await _wait(rpc, hex_data(signed.hash), timeout_s)


async def _wait(rpc: RpcClient, transaction: str, timeout_s: float) -> _Done:
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                answer = await rpc.call("eth_getTransactionReceipt", transaction)
                if answer is not None:
                    break
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise DeploymentFailed(f"{transaction} is not on the chain after {timeout_s} s") from error
    receipt = as_object(answer, "a receipt")
    if as_quantity(receipt.get("status"), "a receipt's status", bits=1) != 1:
        raise DeploymentFailed(f"{transaction} reverted")
    contract = receipt.get("contractAddress")
    return _Done(
        height=as_quantity(receipt.get("blockNumber"), "a receipt's block number"),
        contract=None if contract is None else as_address(contract, "a contract's address"),
    )
