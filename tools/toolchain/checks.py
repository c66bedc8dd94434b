"""The checks that `make test`, `make lint` and their kin consist of."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import ToolchainError
from .process import call, call_watching
from .python_env import site_packages
from .setup import Toolchain, complete
from .steps import Step

__all__ = ["Checks"]

_VECTORS_VARIABLE = "CAIMI_VECTORS"
_SOLIDITY_VECTORS = "test/**/*Vector*.t.sol"
_GO_VECTORS = "Vector"
_NOTHING_COLLECTED = 5
_SEARCHED_CASES = 1_000_000
# Each of them runs whole transactions.
_SOLIDITY_RUNS = 20_000
_GO_SEARCHES = (
    ("wire", "FuzzDecode"),
    ("wire", "FuzzRecord"),
    ("wire", "FuzzEvent"),
    ("certificate", "FuzzCertificate"),
    ("contract", "FuzzArguments"),
)


class Checks:
    """Makes the steps of each target for one toolchain."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain
        self._repository = toolchain.repository
        self._python = toolchain.repository / ".venv" / "bin"
        self._ethereum = toolchain.repository / "onchain" / "ethereum"
        self._fabric = toolchain.repository / "onchain" / "fabric"
        self._tests = toolchain.repository / "tests"

    def lint(self) -> list[Step]:
        """Form and types of every language; runs no code of ours."""
        return [
            self._tool("ruff check", ["ruff", "check", "."]),
            self._tool("ruff format", ["ruff", "format", "--check", "."]),
            self._tool("pyright", ["pyright"]),
            self._tool("import layers", ["lint-imports", "--no-logo"]),
            *(self._script(name) for name in ("check_imports", "check_purity", "check_sizes", "check_docs")),
            self._forge("forge fmt", ["fmt", "--check"], self._ethereum / "foundry.toml"),
            Step("gofmt", self._gofmt, self._fabric / "go.mod"),
            self._go("go vet", ["vet", "./..."]),
        ]

    def build(self) -> list[Step]:
        """Our own programs; what comes after reads the manifest that this writes."""
        return [Step("build the chaincode", self._chaincode)]

    def generated(self) -> list[Step]:
        """Every committed file that a program makes is what the program makes now."""
        tools = sorted((self._repository / "tools").glob("gen_*.py"))
        return [self._script(path.stem, "--check") for path in tools]

    def tests(self) -> list[Step]:
        """The tests of every language, without the slow ones."""
        fast = ["-m", "not slow and not devnet", "-n", "2", "--dist", "worksteal"]
        return [
            self._pytest("pytest", fast, self._tests),
            self._pytest("pytest, real ledgers", ["-m", "devnet and not slow", "--durations", "25"], self._tests),
            self._forge("forge test", ["test"], self._ethereum / "test"),
            self._go("go test", ["test", "./..."]),
        ]

    def slow(self) -> list[Step]:
        """What takes minutes each."""
        words = ["-m", "slow", "--timeout", "3600", "--hypothesis-profile", "long"]
        return [
            self._pytest("pytest, slow", words, self._tests),
            self._schedules(),
            *self.searches(),
            self._without_guards(),
        ]

    def _schedules(self) -> Step:
        # 10,000 of them; every fault has to strike at every step (src/caimi/apps/simulation/campaign.py).
        words = [self._python / "python", "-m", "caimi.apps.simulation"]
        return Step("simulated schedules", lambda: self._call(words))

    def _without_guards(self) -> Step:
        # One guard after the other is removed; a named test has to fail (tests/mutation).
        words = [self._python / "python", "-m", "tests.mutation"]
        more = {"PYTHONPATH": str(self._repository / "tools")}
        return Step("without each guard", lambda: self._call(words, more=more), self._tests / "mutation")

    def searches(self) -> list[Step]:
        """Long searches of every decoder, in every language that has one (tests/fuzz)."""
        engine = site_packages(self._repository) / "atheris"
        more = {"PYTHONPATH": str(self._repository / "tools")}
        words = [self._python / "python", "-m", "tests.fuzz", "--runs", str(_SEARCHED_CASES)]
        return [
            Step("search, Python", lambda: self._call(words, more=more), engine),
            *(self._go_search(package, name) for package, name in _GO_SEARCHES),
            self._forge(
                "search, Solidity",
                ["test", "--match-test", "testFuzz_"],
                self._ethereum / "test",
                {"FOUNDRY_FUZZ_RUNS": str(_SOLIDITY_RUNS)},
            ),
        ]

    def _go_search(self, package: str, name: str) -> Step:
        words = ["test", f"./internal/{package}", "-run", "^$", "-fuzz", f"^{name}$", "-parallel", "2"]
        return self._go(f"search, Go: {name}", [*words, "-fuzztime", f"{_SEARCHED_CASES}x"])

    def vectors(self, folder: Path) -> list[Step]:
        """Each language's readers of the shared vectors, run on `folder`."""
        environment = {_VECTORS_VARIABLE: str(folder)}
        return [
            self._pytest("vectors, Python", ["tests/vectors", "-n", "2"], self._tests / "vectors", environment),
            Step("vectors, Solidity", lambda: self._solidity_vectors(folder, environment), self._ethereum / "test"),
            Step("vectors, Go", lambda: self._go_vectors(environment), self._fabric / "go.mod"),
        ]

    def _solidity_vectors(self, folder: Path, environment: dict[str, str]) -> int:
        # Forge takes the folders that a test may read from its configuration file only, never from a variable.
        text = (self._ethereum / "foundry.toml").read_text(encoding="utf-8")
        permitted = text.replace('path = "../../vectors"', f"path = {json.dumps(str(folder))}")
        if permitted == text:
            print("onchain/ethereum/foundry.toml no longer permits reading ../../vectors")
            return 1
        with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as configuration:
            configuration.write(permitted)
            configuration.flush()
            command = [self._toolchain.forge, "test", "--root", ".", "--match-path", _SOLIDITY_VECTORS]
            more = {**environment, "FOUNDRY_SOLC": str(self._toolchain.solc), "FOUNDRY_CONFIG": configuration.name}
            return self._readers(command, cwd=self._ethereum, more=more, ran="Ran ")

    def _go_vectors(self, environment: dict[str, str]) -> int:
        go = self._toolchain.go
        # -count=1: Go would answer from its cache of test results, which does not see the folder's files.
        command = [go.program, "test", "-v", "-count=1", "-run", _GO_VECTORS, "./..."]
        more = {**go.environment, **environment}
        return self._readers(command, cwd=self._fabric, more=more, ran="--- ")

    def _tool(self, name: str, words: Sequence[str]) -> Step:
        return Step(name, lambda: self._call([self._python / words[0], *words[1:]]))

    def _script(self, name: str, *arguments: str) -> Step:
        script = self._repository / "tools" / f"{name}.py"
        return Step(name, lambda: self._call([self._python / "python", script, *arguments]), script)

    def _pytest(self, name: str, words: Sequence[str], needs: Path, more: dict[str, str] | None = None) -> Step:
        def run() -> int:
            code = self._call([self._python / "python", "-m", "pytest", "-q", *words], more=more)
            if code == _NOTHING_COLLECTED:
                print(f"{name}: no test was found, which is not a pass")
            return code

        return Step(name, run, needs)

    def _forge(self, name: str, words: Sequence[str], needs: Path, more: dict[str, str] | None = None) -> Step:
        environment = {"FOUNDRY_SOLC": str(self._toolchain.solc), **(more or {})}
        command = [self._toolchain.forge, *words]
        return Step(name, lambda: self._call(command, cwd=self._ethereum, more=environment), needs)

    def _go(self, name: str, words: Sequence[str], more: dict[str, str] | None = None) -> Step:
        go = self._toolchain.go
        environment = {**self._toolchain.environment, **go.environment, **(more or {})}
        return Step(
            name,
            lambda: call([go.program, *words], cwd=self._fabric, environment=environment),
            self._fabric / "go.mod",
        )

    def _chaincode(self) -> int:
        try:
            complete(self._toolchain)
        except ToolchainError as error:
            print(error)
            return 1
        return 0

    def _gofmt(self) -> int:
        go = self._toolchain.go
        command = [str(go.program.with_name("gofmt")), "-l", "."]
        done = subprocess.run(
            command, cwd=self._fabric, env=go.environment, check=False, capture_output=True, text=True
        )
        print(done.stdout + done.stderr, end="")
        # gofmt ends with 0 also when it has listed files that it would change.
        return 1 if done.returncode != 0 or done.stdout.strip() else 0

    def _readers(self, command: Sequence[str | Path], *, cwd: Path, more: dict[str, str], ran: str) -> int:
        # forge and go end with 0 when a filter matches nothing; for a reader that would be a silent pass.
        code, seen = call_watching(command, marker=ran, cwd=cwd, environment={**self._toolchain.environment, **more})
        if not seen:
            print("no reader of the vectors was found, which is not a pass")
        return code or (0 if seen else 1)

    def _call(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, more: dict[str, str] | None = None
    ) -> int:
        environment = {**self._toolchain.environment, **(more or {})}
        return call(command, cwd=cwd or self._repository, environment=environment)
