"""Write vectors/{unixfs,stream,bundle}. CIDs come from Kubo, ciphertexts are confirmed by Tink.

`--check` fails when a file differs; where the toolchain has not built Kubo it compares with the own builder instead.
`--ipfs PROGRAM` names another Kubo than the toolchain's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from vectorgen.content_recipe import content  # noqa: E402 - the path is set above
from vectorgen.kubo_node import KuboNode, kubo_program  # noqa: E402
from vectorgen.manifest_suite import manifest_suite  # noqa: E402
from vectorgen.stream_suite import stream_suite  # noqa: E402
from vectorgen.unixfs_suite import AddFile, cid_suite, files_suite, trees_suite  # noqa: E402

from caimi.bundle.cid import format_cid  # noqa: E402
from caimi.bundle.unixfs import Profile, UnixFsBuilder  # noqa: E402


def suites(add: AddFile) -> dict[str, dict[str, Any]]:
    """File name and content of every suite of this generator."""
    return {
        "unixfs/files.json": files_suite(add),
        "unixfs/trees.json": trees_suite(),
        "unixfs/cid.json": cid_suite(),
        "stream/segments.json": stream_suite(),
        "bundle/manifest.json": manifest_suite(),
    }


@contextlib.contextmanager
def kubo(program: Path) -> Generator[AddFile, None, None]:
    """The CIDs that a real node gives."""
    with KuboNode(program) as node:

        def add(seed: str, size: int, profile: Profile) -> str:
            return node.add(content(seed, size), chunk_bytes=profile.chunk_bytes, links_per_node=profile.links_per_node)

        yield add


def own_builder(seed: str, size: int, profile: Profile) -> str:
    """The CIDs that our builder gives: only to compare files that Kubo made."""
    builder = UnixFsBuilder(profile)
    for _ in builder.blocks(content(seed, size)):
        pass
    return format_cid(builder.root.cid)


def main() -> int:
    """Write the files, or with `--check` compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--ipfs", type=Path, default=kubo_program())
    options = parser.parse_args()
    if options.ipfs is None and not options.check:
        sys.exit("Kubo is not built: `python3 tools/bootstrap.py test-long` builds it, or name one with --ipfs")
    with contextlib.ExitStack() as stack:
        add = own_builder if options.ipfs is None else stack.enter_context(kubo(options.ipfs))
        made = suites(add)
    stale: list[str] = []
    for name, suite in made.items():
        path, text = ROOT / "vectors" / name, json.dumps(suite, indent=1) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if options.check:
        print("\n".join(f"stale: vectors/{n}; run tools/gen_vectors_bundle.py" for n in stale))
        return 1 if stale else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
