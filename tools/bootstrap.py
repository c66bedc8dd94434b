"""CAIMI's entry point for people and for CI: `python3 tools/bootstrap.py TARGET`. Needs nothing but Python.

This file alone must be readable by any Python 3, so that an old one is refused with a sentence instead of a syntax
error. Everything else is in `tools/toolchain/` and in `tools/targets.py`, which are imported only after the checks.
"""

import os
import platform
import sys

OLDEST = (3, 11)
NEWEST = (3, 13)

# (system, machine) -> supported or what is known about it. Nothing else in the repository asks for the platform's
# name, except the table of package suffixes in tools/toolchain/platforms.py.
SUPPORTED = {("Linux", "x86_64")}
_FOUNDRY = "nobody has run CAIMI on it; Foundry's packages for it have to be added to tools/node/package.json"
UNTRIED = {
    ("Linux", "aarch64"): _FOUNDRY,
    ("Darwin", "arm64"): _FOUNDRY,
    ("Darwin", "x86_64"): _FOUNDRY + ", and onnxruntime has no current wheels for it",
}


def python_refusal(version: "tuple[int, ...]") -> "str | None":
    """Why this Python cannot run CAIMI and what to do, or None. Only the first two numbers of `version` count."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    return (
        "Python {}.{} is not supported: CAIMI needs {}.{} to {}.{} (others lack a cryptographic library).\n"
        "  Install one of them and call it by name, for example: python3.13 tools/bootstrap.py demo\n"
        "  (with make: make demo PYTHON=python3.13)"
    ).format(version[0], version[1], *(OLDEST + NEWEST))


def platform_refusal(system: str, machine: str, allow_untried: bool) -> "str | None":
    """Why this platform cannot run CAIMI and what to do, or None."""
    if (system, machine) in SUPPORTED:
        return None
    reason = UNTRIED.get((system, machine))
    if reason is not None and allow_untried:
        return None
    text = "{} on {} is not supported: CAIMI is built and tested on Linux x86-64 only.\n".format(system, machine)
    if reason is None:
        return text + "  Use a Linux x86-64 machine, a virtual machine, or WSL 2 on Windows."
    return text + (
        "  State of this platform: {}.\n"
        "  Use a Linux x86-64 machine or virtual machine, or set CAIMI_ALLOW_UNTRIED_PLATFORM=1 to try it here."
    ).format(reason)


def main(arguments: "list[str]") -> int:
    """Refuse what cannot work, then hand over to `targets.main`. Returns the exit code."""
    allow_untried = os.environ.get("CAIMI_ALLOW_UNTRIED_PLATFORM") == "1"
    refusal = python_refusal(sys.version_info[:2]) or platform_refusal(
        platform.system(), platform.machine(), allow_untried
    )
    if refusal is not None:
        sys.stderr.write("bootstrap: " + refusal + "\n")
        return 2
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import targets

    return targets.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
