"""The chaincode on a ledger in memory: `onchain/fabric/cmd/drive`, one JSON object per line each way."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from toolchain.cache import Cache, default_root
from toolchain.golang import Go

from caimi.protocol.registry_state import RegistryConfig
from caimi.types.primitives import ZERO32, Address
from caimi.types.records import Lane
from caimi.wire.codec import abi_type, decode_values, encode_values
from caimi.wire.keccak import keccak256

__all__ = ["CHAINCODE", "CHANNEL", "Driver", "Reply", "build_driver"]

CHANNEL = "caimi"
CHAINCODE = "registry"
_REPOSITORY = Path(__file__).resolve().parents[2]
_CONFIG = (
    "Genesis",
    "uint128",
    "uint64",
    "string",
    "string",
    "address",
    "bytes32",
    "uint64",
    "uint128",
    "uint64",
    "Lane",
)
_HERE = Lane(chain=ZERO32, registry=ZERO32)


def build_driver(folder: Path) -> Path:
    """Compile the driver with the pinned Go."""
    program = folder / "drive"
    go = Go(_REPOSITORY, Cache(default_root(dict(os.environ)), say=print), dict(os.environ))
    module = _REPOSITORY / "onchain" / "fabric"
    command = [str(go.program), "build", "-o", str(program), "./cmd/drive"]
    subprocess.run(command, cwd=module, env=go.environment, check=True, capture_output=True)
    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one invocation gave."""

    ok: bool
    message: str
    payload: bytes
    event: dict[str, Any]
    """Empty if there was none."""


class Driver:
    """One chaincode process."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program, CHANNEL, CHAINCODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End the process by closing its input."""
        cast(IO[str], self._process.stdin).close()
        cast(IO[str], self._process.stdout).close()
        assert self._process.wait(timeout=20) == 0

    def send(
        self, function: str, argument: bytes, *, now: int, clock: int = 0, transient: Mapping[str, bytes] | None = None
    ) -> Reply:
        """Invoke; what succeeds, other than a view, is committed."""
        self._ask(function, argument, now=now, clock=clock, transient=transient or {})
        return self.answered()

    def begin_trying(self, argument: bytes, *, now: int) -> None:
        """Ask what a call would answer now, which commits nothing; `answered` gives it."""
        self._ask("call", argument, now=now, clock=0, transient={}, dry=True)

    def _ask(
        self, function: str, argument: bytes, *, now: int, clock: int, transient: Mapping[str, bytes], dry: bool = False
    ) -> None:
        hidden = {name: "0x" + value.hex() for name, value in transient.items()}
        line = {
            "function": function,
            "argument": "0x" + argument.hex(),
            "now": now,
            "clock": clock,
            "transient": hidden,
            "dry": dry,
        }
        pipe = cast(IO[str], self._process.stdin)
        pipe.write(json.dumps(line) + "\n")
        pipe.flush()

    def answered(self) -> Reply:
        """The answer to the one question that is open."""
        answer = json.loads(cast(IO[str], self._process.stdout).readline())
        return Reply(
            ok=answer["status"] == 200,
            message=answer["message"],
            payload=bytes.fromhex(answer["payload"][2:]),
            event=answer["event"] or {},
        )

    def create(self, config: RegistryConfig, *, issuer: Address, now: int) -> None:
        """Initialise the registry."""
        limits = (config.limits.resume_delay, config.limits.withdrawal_cap, config.limits.lease_cap)
        named = (CHANNEL, CHAINCODE, issuer, config.lane.chain)
        first = (config.genesis, config.min_deposit, config.clock_window)
        data = encode_values(_CONFIG, (*first, *named, *limits, config.root or _HERE))
        reply = self.send("init", data, now=now)
        assert reply.ok, reply.message

    def view(
        self, name: str, kinds: tuple[str, ...], values: tuple[Any, ...], answer: tuple[str, ...], *, now: int
    ) -> Any:
        """Read; a single result comes as itself, several as a tuple."""
        signature = f"{name}({','.join(abi_type(k) for k in kinds)})"
        reply = self.send("view", keccak256(signature.encode())[:4] + encode_values(kinds, values), now=now)
        assert reply.ok, reply.message
        results = decode_values(answer, reply.payload)
        return results[0] if len(results) == 1 else results
