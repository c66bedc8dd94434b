"""Each check of the repository finds the fault that it is there for, and passes what is right."""

from pathlib import Path
from typing import Any

import grimp
import pytest
from check_docs import anchors, broken_links, cited_sections, missing_tests, spec_sections, vague_names
from check_imports import forbidden_imports, omissions
from check_purity import impure_uses
from check_sizes import go_findings, python_findings, solidity_findings


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import os\nos.urandom(32)", "os.urandom"),
        ("from os import urandom as fresh\nfresh(32)", "os.urandom"),
        ("import os as system\nsystem.urandom(1)", "os.urandom"),
        ("import os\nsystem = os\ndraw = os.urandom", "os.urandom"),
        ("import time\ntime.monotonic()", "time.monotonic"),
        ("from time import time\ntime()", "time.time"),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("import datetime as d\nd.datetime.utcnow()", "datetime.datetime.utcnow"),
        ("import secrets\nsecrets.token_bytes()", "secrets.token_bytes"),
        ("import random\nrandom.Random(1)", "random.Random"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4"),
        ("import numpy as np\nnp.random.default_rng()", "numpy.random.default_rng"),
        ("import os\nos.environ['X']", "os.environ"),
        ("def f():\n    from os import getrandom\n    return getrandom(1)", "os.getrandom"),
    ],
)
def test_purity_finds(source: str, name: str) -> None:
    assert name in {found for _, found in impure_uses(source)}


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, UTC\ndatetime.fromtimestamp(now, UTC)",
        "def f(now): return now.time()",
        "import os\nos.path.join('a', 'b')",
        "urandom = 3\nprint(urandom)",
    ],
)
def test_purity_passes(source: str) -> None:
    assert list(impure_uses(source)) == []


@pytest.mark.parametrize(("lines", "expected"), [(400, []), (401, [False]), (600, [False]), (601, [True])])
def test_sizes_of_python_modules(lines: int, expected: list[bool]) -> None:
    assert [failure for failure, _ in python_findings("x = 1\n" * lines)] == expected


@pytest.mark.parametrize(("lines", "expected"), [(50, []), (51, [True])])
@pytest.mark.parametrize("prefix", ["", "async "])
def test_sizes_of_python_functions(lines: int, expected: list[bool], prefix: str) -> None:
    text = f"{prefix}def f():\n" + "    x = 1\n" * (lines - 1)
    assert [failure for failure, _ in python_findings(text)] == expected


def test_sizes_do_not_count_the_docstring() -> None:
    assert list(python_findings('def f():\n    """A\n' + "    line\n" * 60 + '    """\n    return 1\n')) == []


@pytest.mark.parametrize(("lines", "expected"), [(70, []), (71, [True])])
def test_sizes_of_solidity_functions(lines: int, expected: list[bool]) -> None:
    text = "contract C {\n    function f() external {\n" + "        x;\n" * (lines - 2) + "    }\n}\n"
    assert [failure for failure, _ in solidity_findings(text)] == expected


def test_sizes_of_files_in_other_languages() -> None:
    assert list(solidity_findings("x\n" * 350)) == []
    assert len(list(solidity_findings("x\n" * 351))) == 1
    assert list(go_findings("x\n" * 500)) == []
    assert len(list(go_findings("x\n" * 501))) == 1


def test_links_are_checked_with_their_anchors(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One thing\n## A `b`, c\n## A `b`, c\n```\n# not a heading\n```\n")
    text = """
[ok](other.md) [ok](other.md#one-thing) [ok](other.md#a-b-c-1) [ok](#here) [ok](https://x.invalid/y)
`[code](absent)`
```
[fenced](absent)
```
# Here
[bad](absent.md) [bad](other.md#not-a-heading) [bad](#nowhere)

[ref]: gone.md
"""
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(broken_links(page, text)) == ["absent.md", "other.md#not-a-heading", "#nowhere", "gone.md"]
    assert anchors("# A\n# A\n") == {"a", "a-1"}


def test_citations_need_their_section(tmp_path: Path) -> None:
    (tmp_path / "20-certificate.md").write_text("# 20 Certificate\n## 1. Rule\n### 1.2 Detail\n## 3 Table\n")
    sections = spec_sections(tmp_path)
    text = "see spec 20 §1, spec 20 §1.2, spec 20 §3, spec 20, spec 20 §4, spec 30 §1 and spec 31"
    assert list(cited_sections(text, sections)) == ["spec 20 §4", "spec 30", "spec 31"]


def test_named_tests_exist(tmp_path: Path) -> None:
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "unit" / "test_a.py").write_text("async def test_one() -> None: ...\n")
    (tmp_path / "onchain").mkdir()
    (tmp_path / "onchain" / "A.t.sol").write_text("function test_two() public {}\n")
    (tmp_path / "onchain" / "a_test.go").write_text("func TestThree(t *testing.T) {}\n")
    found = "`tests/unit/test_a.py` `tests/unit/test_a.py::test_one` `onchain/A.t.sol::test_two` "
    found += "`onchain/a_test.go::TestThree`"
    assert not list(missing_tests(found, tmp_path))
    lost = "`tests/unit/test_b.py` `tests/unit/test_a.py::test_on` `onchain/A.t.sol::test_twofold` tests/unit/none.py"
    assert list(missing_tests(lost, tmp_path)) == [
        "tests/unit/test_b.py",
        "tests/unit/test_a.py::test_on",
        "onchain/A.t.sol::test_twofold",
    ]


def test_vague_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "utils").mkdir()
    (tmp_path / "Helpers.sol").touch()
    (tmp_path / "common.go").touch()
    (tmp_path / "common.md").touch()
    (tmp_path / "commons").mkdir()
    found = {path.name for path in vague_names(iter(sorted(tmp_path.iterdir())))}
    assert found == {"utils", "Helpers.sol", "common.go"}


def _contracts(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    contracts: dict[str, dict[str, Any]] = {
        "layers": {"exhaustive": True, "containers": ["caimi"]},
        "pure": {"source_modules": ["caimi.types", "caimi.wire"]},
        "chains": {"modules": ["caimi.chains.*"]},
    }
    return [{"id": name, **body, **changes.get(name, {})} for name, body in contracts.items()]


_ROOMS = {"types", "wire", "chains", "sdk", "relay"}


def test_imports_complete_contracts_pass() -> None:
    assert list(omissions(_contracts(), _ROOMS)) == []


@pytest.mark.parametrize(
    ("changes", "rooms"),
    [
        ({}, {*_ROOMS, "crypto"}),
        ({"layers": {"exhaustive": False}}, _ROOMS),
        ({"layers": {"containers": []}}, _ROOMS),
        ({"layers": {"id": "other"}}, _ROOMS),
        ({"pure": {"source_modules": ["caimi.types"]}}, _ROOMS),
        ({"chains": {"modules": ["caimi.chains.fabric"]}}, _ROOMS),
    ],
)
def test_imports_reject_a_contract_that_leaves_a_room_out(changes: dict[str, Any], rooms: set[str]) -> None:
    assert list(omissions(_contracts(**changes), rooms)) != []


def _graph(*imports: tuple[str, str]) -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for module in ("", ".sdk", ".sdk.client", ".ports", ".relay", ".relay.engine", ".chains", ".apps", ".apps.devnet"):
        graph.add_module(f"caimi{module}")
    for module in ("caimi.simulators", "caimi.simulators.chain", "caimi.apps.relayd", "caimi.simulators_view"):
        graph.add_module(module)
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    return graph


def test_imports_accept_what_is_allowed() -> None:
    graph = _graph(
        ("caimi.sdk.client", "caimi.ports"),
        ("caimi.apps.devnet", "caimi.simulators.chain"),
        ("caimi.simulators.chain", "caimi.simulators"),
        ("caimi.relay.engine", "caimi.ports"),
    )
    assert list(forbidden_imports(graph)) == []


@pytest.mark.parametrize(
    ("imports", "found"),
    [
        ([("caimi.sdk", "caimi.relay")], "caimi.sdk -> caimi.relay"),
        ([("caimi.sdk.client", "caimi.relay.engine")], "caimi.sdk.client -> caimi.relay.engine"),
        (
            [("caimi.sdk.client", "caimi.chains"), ("caimi.chains", "caimi.relay")],
            "caimi.sdk.client -> caimi.chains -> caimi.relay",
        ),
        ([("caimi.apps.relayd", "caimi.simulators.chain")], "caimi.apps.relayd -> caimi.simulators.chain"),
        ([("caimi.simulators_view", "caimi.simulators")], "caimi.simulators_view -> caimi.simulators"),
    ],
)
def test_imports_reject_services_in_the_client_and_strangers_at_the_simulators(
    imports: list[tuple[str, str]], found: str
) -> None:
    assert list(forbidden_imports(_graph(*imports))) == [found]
