"""Check that the documentation points at things that exist, and that nothing has a name that says nothing.

Links, headings and tests that Markdown files name; the spec sections that source code cites; folder and module names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

__all__ = ["anchors", "broken_links", "cited_sections", "missing_tests", "spec_sections", "vague_names"]

_ROOT = Path(__file__).resolve().parent.parent
_SKIP = frozenset({".git", ".venv", "node_modules", "out", "cache", "build", "dist", "__pycache__", ".hypothesis"})
_VAGUE = frozenset({"utils", "util", "common", "helpers", "helper", "misc", "core"})
_SOURCE_SUFFIXES = (".py", ".sol", ".go")

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_TEST = re.compile(r"`((?:tests|onchain)/[\w./-]+\.(?:py|sol|go))(?:::(\w+))?`")
_CITATION = re.compile(r"\bspec (\d\d)(?: §(\d+(?:\.\d+)?))?")
_NUMBERED = re.compile(r"^#{1,6}\s+§?(\d+(?:\.\d+)?)[.\s]", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The link targets inside a Markdown text: its headings in the form that GitHub and others make of them."""
    found: set[str] = set()
    for title in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")
        candidate, number = plain, 0
        while candidate in found:
            number += 1
            candidate = f"{plain}-{number}"
        found.add(candidate)
    return found


def broken_links(path: Path, text: str) -> Iterator[str]:
    """The links of one Markdown file that lead nowhere. Addresses on the web are not followed."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    for link in [*_LINK.findall(prose), *_REFERENCE.findall(prose)]:
        if _EXTERNAL.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name) if name else path
        if not _leads_somewhere(target, anchor):
            yield link


def _leads_somewhere(target: Path, anchor: str) -> bool:
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target.read_text(encoding="utf-8"))


def spec_sections(folder: Path) -> dict[str, set[str]]:
    """The numbered headings of each spec text, by the two digits of its file name."""
    return {
        path.name[:2]: set(_NUMBERED.findall(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("[0-9][0-9]-*.md"))
    }


def cited_sections(text: str, sections: dict[str, set[str]]) -> Iterator[str]:
    """The citations of the form `spec 20 §3` in a source text that no spec text has."""
    for number, section in _CITATION.findall(text):
        if number not in sections:
            yield f"spec {number}"
        elif section and section not in sections[number]:
            yield f"spec {number} §{section}"


def missing_tests(text: str, root: Path) -> Iterator[str]:
    """The tests that a Markdown text names, as `path` or `path::name`, and that do not exist."""
    for path, name in _TEST.findall(_FENCE.sub("", text)):
        file = root / path
        if not file.is_file():
            yield path
        elif name and not re.search(rf"\b(?:def|function|func) {name}\(", file.read_text(encoding="utf-8")):
            yield f"{path}::{name}"


def vague_names(paths: Iterator[Path]) -> Iterator[Path]:
    """The folders and modules whose name only says that somebody did not find one."""
    for path in paths:
        if path.stem.lower() in _VAGUE and (path.is_dir() or path.suffix in _SOURCE_SUFFIXES):
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _SKIP or path.is_symlink():
            continue
        yield path
        if path.is_dir():
            yield from _walk(path)


def _findings() -> Iterator[str]:
    sections = spec_sections(_ROOT / "spec")
    for path in _walk(_ROOT):
        name = path.relative_to(_ROOT)
        if path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            for link in broken_links(path, text):
                yield f"{name}: link to {link} leads nowhere"
            for test in missing_tests(text, _ROOT):
                yield f"{name}: names the test {test}, which does not exist"
        elif path.suffix in _SOURCE_SUFFIXES and sections and name.parts[0] != "tests":
            for citation in sorted(set(cited_sections(path.read_text(encoding="utf-8"), sections))):
                yield f"{name}: cites {citation}, which does not exist"
    for path in vague_names(_walk(_ROOT)):
        yield f"{path.relative_to(_ROOT)}: name the thing; utils, common, helpers and core are not subjects"


def main() -> int:
    """Check the repository. Returns 1 if something is wrong."""
    found = list(_findings())
    for what in found:
        print(f"error: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
