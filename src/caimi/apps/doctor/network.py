"""Is a network that runs well: its processes, lanes and clocks, and the money of the relay's account."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from caimi.apps.devnet.running import is_running
from caimi.apps.devnet.status import HALTED, DevnetStatus
from caimi.apps.doctor.findings import Finding, Severity, Subject
from caimi.apps.key_files import open_key
from caimi.apps.process_config import EthereumLane, RelayConfig, read_config
from caimi.chains.ethereum.blocks import Block, read_block
from caimi.chains.ethereum.fees import TX_GAS_CAP, FeePolicy
from caimi.chains.ethereum.fields import as_quantity, hex_data, hex_quantity
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.ports.call_errors import FeeBoundReached, SenderUnfunded
from caimi.types.errors import CaimiError

__all__ = [
    "ask_chain",
    "judge_clock",
    "judge_lanes",
    "judge_money",
    "judge_processes",
    "judge_relay_account",
    "judge_services",
]

_RESTARTS: Final = 3
_CLOCK_S: Final = 30
_TOP_UP_WEI: Final = 10**21
_SERVICE: Final = re.compile(r"(relay|host|content store|validator \d+)(, key generation)?: ")
_ENDED: Final = "caimi --home {0} down && caimi --home {0} up"
# Of a lane at a validator.
_WELL: Final = ("following", "starting")


def judge_processes(subject: Subject, status: DevnetStatus) -> Iterator[Finding]:
    """That every child of the supervisor lives, and does not die again and again."""
    for process in status.processes:
        if process.pid is None:
            text = f"{process.name} is down, it ended with {process.exit_code}; the supervisor starts it again"
            yield Finding(
                check="processes", severity=Severity.BROKEN, text=text, mend=f"tail -n 50 {shlex.quote(process.log)}"
            )
        elif process.restarts >= _RESTARTS:
            text = f"{process.name} was started again {process.restarts} times, last after {process.exit_code}"
            yield Finding(
                check="processes", severity=Severity.NOTE, text=text, mend=f"tail -n 50 {shlex.quote(process.log)}"
            )


def judge_services(subject: Subject, status: DevnetStatus) -> Iterator[Finding]:
    """That every service answers."""
    for problem in status.problems:
        if _SERVICE.match(problem):
            yield Finding(check="services", severity=Severity.PASSING, text=problem, mend=_restart(subject))


def judge_lanes(subject: Subject, status: DevnetStatus) -> Iterator[Finding]:
    """What keeps a lane from being certified or written to."""
    for name, lane in status.lanes.items():
        yield from _conditions(subject, name, lane)
        hint = str(lane.get("hint", ""))
        # Money is looked at by itself.
        if hint and not hint.startswith(SenderUnfunded.__name__):
            mend = f"caimi --home {_home(subject)} status"
            if hint.startswith(FeeBoundReached.__name__):
                mend = f"grep -n max_fee_per_gas {_home(subject)}/processes/relay/config.json"
            yield Finding(check="lanes", severity=Severity.PASSING, text=f"lane {name}: {hint}", mend=mend)


def _conditions(subject: Subject, name: str, lane: Mapping[str, Any]) -> Iterator[Finding]:
    # Validators mostly say the same: one finding for all of them.
    same: dict[tuple[str, str], list[str]] = {}
    for index, seen in sorted(lane["validators"].items()):
        if seen["condition"] not in _WELL:
            same.setdefault((seen["condition"], seen["cause"]), []).append(index)
    for (condition, cause), validators in same.items():
        text = f"lane {name} at validators {', '.join(validators)}: {condition.upper()}: {cause}"
        if condition == "halted":
            text += f"; {HALTED}; or start anew"
            wipe = f"caimi --home {_home(subject)} down --wipe"
            yield Finding(check="lanes", severity=Severity.BROKEN, text=text, mend=wipe)
        else:
            mend = f"caimi --home {_home(subject)} status"
            yield Finding(check="lanes", severity=Severity.PASSING, text=text, mend=mend)


async def judge_relay_account(subject: Subject, *, cast: str) -> AsyncIterator[Finding]:
    """That the relay's account on Ethereum can pay for a transaction, and that this chain's clock is near ours.

    Arguments:
        cast: the program that gives test money.
    """
    folder = subject.folder
    path = folder.root / "processes" / "relay" / "config.json"
    if not path.is_file() or not is_running(folder.root):
        return
    try:
        config = read_config(RelayConfig, path)
        for lane in config.lanes:
            if isinstance(lane, EthereumLane) and lane.sender is not None:
                account = hex_data(open_key(lane.sender).address)
                block, has = await ask_chain(lane, account)
                for finding in judge_money(lane, account, block, has, cast=cast):
                    yield finding
                for finding in judge_clock(subject, lane, block):
                    yield finding
    except CaimiError as error:
        text = f"the relay's account cannot be looked at: {type(error).__name__}: {error}"
        yield Finding(check="balances", severity=Severity.PASSING, text=text, mend=_restart(subject))


async def ask_chain(lane: EthereumLane, account: str) -> tuple[Block | None, int]:
    """The latest block of a lane's chain, and the native money of an account there in wei."""
    async with RpcClient(lane.endpoints[0], chain_id=int(lane.caip2.partition(":")[2])) as rpc:
        block = read_block(await rpc.call("eth_getBlockByNumber", "latest", False), "the latest block")
        money = await rpc.call("eth_getBalance", account, "latest")
        return block, as_quantity(money, "a balance", bits=256)


def judge_money(lane: EthereumLane, account: str, block: Block | None, has: int, *, cast: str) -> Iterator[Finding]:
    """That `account`, which has `has` wei, can pay for the largest transaction after `block`."""
    if block is None:
        return
    try:
        policy = FeePolicy(most=lane.max_fee_per_gas)
        needed = TX_GAS_CAP * policy.fees(base_fee=block.base_fee, suggested_tip=0, replaced=None).max_fee
    except FeeBoundReached:
        return  # the lane itself says so
    if has < needed:
        text = (
            f"the relay's account {account} on {lane.name} has {has} wei; the largest transaction costs {needed} wei "
            f"now, {needed - has} are missing"
        )
        top_up = hex_quantity(max(_TOP_UP_WEI, 2 * needed))
        mend = f"{shlex.quote(cast)} rpc --rpc-url {lane.endpoints[0]} anvil_setBalance {account} {top_up}"
        yield Finding(check="balances", severity=Severity.BROKEN, text=text, mend=mend)


def judge_clock(subject: Subject, lane: EthereumLane, block: Block | None) -> Iterator[Finding]:
    """That the chain's clock at `block` is near this machine's."""
    if block is None:
        return
    ahead = block.time - subject.machine.now()
    if abs(ahead) > _CLOCK_S:
        way = "ahead of" if ahead > 0 else "behind"
        text = (
            f"the clock of {lane.name} is {abs(ahead):.0f} s {way} this machine's: deadlines come early or late there"
        )
        yield Finding(check="clocks", severity=Severity.PASSING, text=text, mend="timedatectl status")


def _restart(subject: Subject) -> str:
    return _ENDED.format(_home(subject))


def _home(subject: Subject) -> str:
    return shlex.quote(str(subject.folder.root))
