"""The control of every publication benchmark: home itself refuses what its publisher has not signed."""

from __future__ import annotations

from benchmarks.devnet import BenchDevnet
from benchmarks.publications import forged
from caimi.apps.devnet.ledgers import Ledgers
from caimi.chains.ethereum.errors import RpcFailure
from caimi.chains.ethereum.fields import hex_data
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reverts import read_revert
from caimi.chains.fabric.errors import ChaincodeRefusal
from caimi.sdk.publishing import SignedPublication
from caimi.wire.functions import encode_call

__all__ = ["ControlFailed", "check_signature_counts"]

_EXPECTED = "WrongSigner"


class ControlFailed(Exception):
    """A registry takes a publication that its publisher has not signed: no number of this run would mean anything."""


async def check_signature_counts(devnet: BenchDevnet, rpc: RpcClient, home: str, good: SignedPublication) -> None:
    """Ask home, without changing it, to lock a publication as signed and with another signature.

    Raises:
        ControlFailed: It refuses the first, or does not refuse the second for its signature.
    """
    answers: list[str] = []
    for one in (good, forged(good)):
        call = encode_call("lockModel", one.publication, one.signature)
        answers.append(await (_fabric if home == "fabric" else _ethereum)(devnet.ledgers, rpc, call))
    if answers != ["", _EXPECTED]:
        raise ControlFailed(f"{home} answers {answers} to a signed and to a forged publication")


async def _fabric(ledgers: Ledgers, rpc: RpcClient, call: bytes) -> str:
    del rpc
    async with ledgers.gateway(0) as gateway:
        try:
            await gateway.evaluate(ledgers.fabric.plan.chaincode, "call", (call,))
        except ChaincodeRefusal as refusal:
            return refusal.code
    return ""


async def _ethereum(ledgers: Ledgers, rpc: RpcClient, call: bytes) -> str:
    question = {"to": hex_data(ledgers.site.contract), "data": hex_data(call)}
    try:
        await rpc.call("eth_call", question, "latest")
    except RpcFailure as failure:
        return type(read_revert(failure.data or b"")).__name__
    return ""
