"""Anvil as a process of the devnet: its first state, its command line, where its state is kept.

Anvil writes its state now and then and on a soft stop; what a hard kill loses is made again from the journal of its
blocks (`block_journal`), but for a block of the last moment: to its readers that looks like a reorganisation. It takes
either a genesis or a state, hence the genesis is written as the state of a chain that has only block 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caimi.devnet.process import ProcessSpec, RestartPolicy
from caimi.types.primitives import Address

__all__ = ["HOST", "AnvilPlan", "anvil_process", "replaying_arguments", "write_first_state"]

HOST: Final = "127.0.0.1"
"""The only address that Anvil listens on."""
_STATE_NAME: Final = "state.json"
_GAS_LIMIT: Final = 60_000_000
_PAST_STATES: Final = 64
"""Blocks whose state is kept. Anvil otherwise keeps hundreds in memory and thousands in the home folder, for ever."""
_FIRST_BASE_FEE: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AnvilPlan:
    """What is fixed when the chain is made."""

    port: int
    """TCP port on the loopback, 1 to 65535."""
    chain_id: int
    """EIP-155; a number of its own keeps two devnets apart."""
    folder: Path
    """Holds the state."""
    block_time_ms: int = 1_000
    """Between blocks; 0 makes a block for each transaction."""
    state_interval_s: int = 10
    """Between two writings of the whole state, which grows with every block; what was made since is journaled."""

    @property
    def url(self) -> str:
        """Address of the JSON-RPC interface."""
        return f"http://{HOST}:{self.port}"

    @property
    def state(self) -> Path:
        """File that `write_first_state` writes and Anvil keeps."""
        return self.folder / _STATE_NAME


def write_first_state(plan: AnvilPlan, *, balances: Mapping[Address, int], time: int) -> None:
    """Write the state of a new chain, once.

    Arguments:
        balances: wei by account; nobody else has any, and the well-known development keys have none.
        time: of block 0, Unix seconds.

    Raises:
        FileExistsError: There is one already: another would be another chain.
    """
    empty: dict[str, object] = {"nonce": 0, "code": "0x", "storage": {}}
    state: dict[str, object] = {
        "block": {
            "number": 0,
            "beneficiary": "0x" + bytes(20).hex(),
            "timestamp": hex(time),
            "gas_limit": _GAS_LIMIT,
            "basefee": _FIRST_BASE_FEE,
            "difficulty": "0x0",
            "prevrandao": "0x" + bytes(32).hex(),
            "blob_excess_gas_and_price": {"excess_blob_gas": 0, "blob_gasprice": 1},
        },
        "accounts": {"0x" + account.hex(): {**empty, "balance": hex(wei)} for account, wei in balances.items()},
        "best_block_number": 0,
        "blocks": [],
        "transactions": [],
        "historical_states": None,
    }
    plan.folder.mkdir(parents=True, exist_ok=True)
    with plan.state.open("x", encoding="ascii") as file:
        json.dump(state, file)


def replaying_arguments(plan: AnvilPlan, *, port: int) -> list[str]:
    """Words for a node that makes blocks when it is told to, of what it is given in order, and writes at the end."""
    return [*_arguments(plan, port=port), "--no-mining", "--order", "fifo"]


def _arguments(plan: AnvilPlan, *, port: int) -> list[str]:
    return [
        *("--silent", "--host", HOST, "--port", str(port), "--chain-id", str(plan.chain_id)),
        *("--hardfork", "osaka", "--enable-tx-gas-limit", "--gas-limit", str(_GAS_LIMIT), "--accounts", "0"),
        *("--state", str(plan.state), "--no-cors", "--prune-history", str(_PAST_STATES)),
    ]


def anvil_process(plan: AnvilPlan, *, anvil: Path, log: Path, mend: Callable[[], None] | None = None) -> ProcessSpec:
    """The process; it goes on from the state, which `write_first_state` has to have written.

    Arguments:
        anvil: absolute path of the program.
        mend: puts the state right before each start (`restore`).
    """
    arguments = [*_arguments(plan, port=plan.port), "--state-interval", str(plan.state_interval_s)]
    if plan.block_time_ms:
        arguments += ["--block-time", f"{plan.block_time_ms / 1_000:g}"]
    return ProcessSpec(
        name="ethereum",
        argv=(str(anvil), *arguments),
        cwd=plan.folder,
        log_path=log,
        health_url=f"tcp://{HOST}:{plan.port}",
        restart=RestartPolicy.ALWAYS,
        mend=mend,
    )
