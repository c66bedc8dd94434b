"""A copy of the sources for each ledger, in which one guard at a time is missing and the named tests are run."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tests.mutation.guard import Guard, Ledger, mutated

__all__ = ["ChaincodeShop", "ContractShop", "ModelShop", "Verdict", "Workshop", "run_pytest"]

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_LONGEST_S: Final = 3600
_PYTEST_FAILED: Final = 1
_NOT_TESTED: Final = 99
# Not pytest and its plugins, which have to be the first to import some of what they use.
_LIBRARIES: Final = ("numpy", "onnx", "pydantic", "cryptography", "coincurve")
# Between two searches of what is random the same code must give the same answer, and the whole run end.
_FEW_RUNS: Final = {"FOUNDRY_FUZZ_RUNS": "16", "FOUNDRY_INVARIANT_RUNS": "2"}
_HASHED: Final = "CaimiEpochs"
_PRAGMA: Final = "pragma solidity ^0.8.30;\n"
_LIBRARY: Final = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

library Mutants {
    function on(uint256 number) internal pure returns (bool) {
        function(uint256) view returns (bool) read = _chosen;
        function(uint256) pure returns (bool) said;
        // Guards stand in pure functions too, which may not read the block: the compiler is told that this does not.
        assembly ("memory-safe") {
            said := read
        }
        return said(number);
    }

    function _chosen(uint256 number) private view returns (bool) {
        return uint160(address(block.coinbase)) == number;
    }
}
"""


class Verdict(Enum):
    """What a test said."""

    PASSED = "passed"
    FAILED = "failed"
    BROKEN = "broken"
    """Nothing was tested: it did not compile, or there is no such test."""


class Workshop(ABC):
    """One ledger's copy."""

    ledger: Ledger

    def __init__(self, folder: Path, tools: Mapping[str, str]) -> None:
        """Copy the sources into `folder`; `tools` are the paths of what tools/bootstrap.py set up."""
        self.folder = folder
        self._tools = tools
        self.output = ""
        """What the last test printed."""

    @abstractmethod
    def judge(self, test: str, guard: Guard | None) -> Verdict:
        """Run one test on the mutant; on the sources as they are where there is no guard."""

    def prepare(self, tests: Sequence[str]) -> dict[str, Verdict]:
        """What each test says of the sources as they are."""
        return {test: self.judge(test, None) for test in tests}

    def _run(self, words: Sequence[str | Path], cwd: Path, more: Mapping[str, str]) -> int:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env={**os.environ, **more},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_LONGEST_S,
        )
        self.output = done.stdout
        return done.returncode


class _OneAtATime(Workshop):
    # The file is written for each mutant, and the original put back.

    def judge(self, test: str, guard: Guard | None) -> Verdict:
        if guard is None:
            return self._test(test)
        path = self.folder / guard.ledger.source / guard.file
        original = path.read_text(encoding="utf-8")
        path.write_text(mutated(original, guard), encoding="utf-8")
        try:
            return self._test(test)
        finally:
            path.write_text(original, encoding="utf-8")

    @abstractmethod
    def _test(self, test: str) -> Verdict: ...


class ModelShop(_OneAtATime):
    """Tests are ids of pytest, run where they are; only the sources are a copy.

    Each run is a fork of a process that has the libraries already: importing them is most of a test's time.
    """

    ledger = Ledger.MODEL

    def __init__(self, folder: Path, tools: Mapping[str, str]) -> None:
        """See `Workshop`."""
        super().__init__(folder, tools)
        shutil.copytree(_REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(list(_LIBRARIES))

    def prepare(self, tests: Sequence[str]) -> dict[str, Verdict]:
        """See `Workshop`."""
        return dict.fromkeys(tests, self._all(tests))

    def _test(self, test: str) -> Verdict:
        return self._all((test,))

    def _all(self, tests: Sequence[str]) -> Verdict:
        said = self.folder / "said"
        child = self._forks.Process(target=run_pytest, args=(str(self.folder / "src"), tuple(tests), str(said)))
        child.start()
        child.join(_LONGEST_S)
        if child.is_alive():
            child.kill()
            child.join()
        self.output = said.read_text(encoding="utf-8", errors="replace")
        if child.exitcode == 0:
            return Verdict.PASSED
        return Verdict.FAILED if child.exitcode == _PYTEST_FAILED and " failed" in self.output else Verdict.BROKEN


def run_pytest(source: str, tests: tuple[str, ...], output: str) -> None:
    """In a process of its own: run the tests on the package in `source`, and end with pytest's code."""
    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    # Files of compiled code are told apart by time and size, which two mutants may share.
    sys.dont_write_bytecode = True
    sys.path.insert(0, source)
    os.chdir(_REPOSITORY)
    found = importlib.import_module("caimi").__file__ or ""
    if not found.startswith(source):
        print(f"the package is read from {found}", flush=True)
        os._exit(_NOT_TESTED)
    code = _NOT_TESTED
    pytest: Any = importlib.import_module("pytest")
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        # An exception's own code would be that of a test that failed.
        os._exit(code)


class ChaincodeShop(_OneAtATime):
    """Tests are a package and the name of a test in it."""

    ledger = Ledger.CHAINCODE

    def __init__(self, folder: Path, tools: Mapping[str, str]) -> None:
        """See `Workshop`."""
        super().__init__(folder, tools)
        shutil.copytree(_REPOSITORY / "onchain" / "fabric", folder / "onchain" / "fabric")
        (folder / "vectors").symlink_to(_REPOSITORY / "vectors")

    def _test(self, test: str) -> Verdict:
        package, name = test.split()
        words = [self._tools["go"], "test", "-count=1", "-v", "-run", f"^{name}$", f"./internal/{package}"]
        code = self._run(words, self.folder / "onchain" / "fabric", self._tools)
        if code == 0:
            return Verdict.PASSED if f"--- PASS: {name}" in self.output else Verdict.BROKEN
        ended = f"--- FAIL: {name}" in self.output or "panic:" in self.output
        return Verdict.FAILED if ended else Verdict.BROKEN


class ContractShop(Workshop):
    """Tests are a file and the name of a test in it.

    Compiling takes minutes, so all mutants are compiled together: each asks the address of the block's author whether
    it is the one that is tried. By the old code generator without limit on the code's size, which is quicker.
    """

    ledger = Ledger.CONTRACT

    def __init__(self, folder: Path, tools: Mapping[str, str], guards: Sequence[Guard]) -> None:
        """See `Workshop`; `guards` are all that will be tried."""
        super().__init__(folder, tools)
        self._numbers = {guard.says: number for number, guard in enumerate(guards, start=1)}
        self._project = folder / "onchain" / "ethereum"
        for name in ("src", "test"):
            shutil.copytree(_REPOSITORY / "onchain" / "ethereum" / name, self._project / name)
        (self._project / "node_modules").symlink_to((_REPOSITORY / "onchain" / "ethereum" / "node_modules").resolve())
        (folder / "vectors").symlink_to(_REPOSITORY / "vectors")
        text = (_REPOSITORY / "onchain" / "ethereum" / "foundry.toml").read_text(encoding="utf-8")
        (self._project / "foundry.toml").write_text(_quick(text), encoding="utf-8")
        (self._project / "src" / "Mutants.sol").write_text(_LIBRARY, encoding="utf-8")
        for guard in guards:
            self._plant(guard)

    def prepare(self, tests: Sequence[str]) -> dict[str, Verdict]:
        """See `Workshop`: all in one call, which begins with a start of the compiler."""
        self._make_known()
        names = {test: test.split()[1] for test in tests}
        self._forge(["--match-test", f"^({'|'.join(sorted(set(names.values())))})\\("], number=0)
        return {
            test: Verdict.PASSED if f"[PASS] {name}(" in self.output else Verdict.BROKEN for test, name in names.items()
        }

    def judge(self, test: str, guard: Guard | None) -> Verdict:
        """See `Workshop`."""
        file, name = test.split()
        number = 0 if guard is None else self._numbers[guard.says]
        code = self._forge(["--match-path", f"test/{file}.t.sol", "--match-test", f"^{name}\\("], number=number)
        if code == 0:
            return Verdict.PASSED if "[PASS]" in self.output else Verdict.BROKEN
        return Verdict.FAILED if "[FAIL" in self.output else Verdict.BROKEN

    def _make_known(self) -> None:
        # The registry knows this code by its hash, which is another one with mutants in it.
        self._run(
            [self._tools["forge"], "build", f"src/{_HASHED}.sol"], self._project, {"FOUNDRY_SOLC": self._tools["solc"]}
        )
        artefact = json.loads(
            (self._project / "out" / f"{_HASHED}.sol" / f"{_HASHED}.json").read_text(encoding="utf-8")
        )
        self._run([self._tools["cast"], "keccak", artefact["deployedBytecode"]["object"]], self._project, {})
        path = self._project / "src" / "libs" / "EpochsCode.sol"
        text, found = re.subn(r"0x[0-9a-f]{64}", self.output.strip(), path.read_text(encoding="utf-8"))
        if found != 1:
            raise RuntimeError(f"{path} no longer has one hash")
        path.write_text(text, encoding="utf-8")

    def _forge(self, words: Sequence[str], *, number: int) -> int:
        chosen = {"FOUNDRY_BLOCK_COINBASE": f"0x{number:040x}", "FOUNDRY_SOLC": self._tools["solc"], **_FEW_RUNS}
        return self._run([self._tools["forge"], "test", *words], self._project, chosen)

    def _plant(self, guard: Guard) -> None:
        path = self._project / "src" / guard.file
        source = mutated(path.read_text(encoding="utf-8"), guard)
        up = "../" if "/" in guard.file else "./"
        used = f'import {{Mutants}} from "{up}Mutants.sol";\n'
        if used not in source:
            source = source.replace(_PRAGMA, _PRAGMA + "\n" + used, 1)
        path.write_text(re.sub(r"\bMUTANT\b", f"Mutants.on({self._numbers[guard.says]})", source), encoding="utf-8")


def _quick(configuration: str) -> str:
    # The settings that make compilation slow, one by one: an unknown form fails here and not silently.
    slow = (
        (r"(?m)^additional_compiler_profiles = .*\n", ""),
        (r"(?m)^compilation_restrictions = .*\n", ""),
        (r"(?m)^optimizer_runs = \d+$", "optimizer_runs = 1\ncode_size_limit = 1000000"),
    )
    for pattern, instead in slow:
        configuration, count = re.subn(pattern, instead, configuration)
        if count != 1:
            raise ValueError(f"onchain/ethereum/foundry.toml no longer has {pattern}")
    return configuration
