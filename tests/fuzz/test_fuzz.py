"""Every decoder meets its seeds, the kept corpus and a few thousand fresh cases; the search finds a planted fault."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Generator
from random import Random

import pytest

from tests.conformance.chaincode_driver import build_driver
from tests.fuzz import arguments
from tests.fuzz.campaign import CORPUS, campaign, shown
from tests.fuzz.mutation import Mutation, change_json, change_messages, change_tensors, change_words
from tests.fuzz.planted import PLANTED
from tests.fuzz.target import refusal_of, same_bytes
from tests.fuzz.targets import TARGETS

# Each search begins a process that imports all that it searches.
pytestmark = pytest.mark.timeout(900)

_SHORT_RUN = 2_000
_CORPUS_BYTES = 400 << 10
ISSUE = ("arguments", "capsule", "certificate", "event", "http", "manifest", "onnx", "unixfs")
"""The decoders of which the project promises a search."""

needs_engine = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the search engine has no wheel for this platform"
)


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(arguments.DRIVER_VARIABLE, str(build_driver(tmp_path_factory.mktemp("drive"))))
        yield


def test_every_promised_decoder_has_a_target_and_a_corpus() -> None:
    assert set(ISSUE) <= TARGETS.keys()
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()
    assert all(any((CORPUS / name).iterdir()) for name in ISSUE)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < _CORPUS_BYTES


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_seeds_and_kept_corpus(name: str) -> None:
    target = TARGETS[name]
    check = target.prepare()
    seeds = [*target.seeds(), *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]
    verdicts = {check(data) for data in seeds}
    # A target that refuses or accepts everything tries nothing.
    assert "accepted" in verdicts
    assert len(verdicts) > 1


@needs_engine
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_short_search(name: str) -> None:
    rows = campaign([name], runs=_SHORT_RUN, seed=1, jobs=1)
    print(shown(rows))
    assert [row.finding for row in rows] == [None], shown(rows)
    assert rows[0].cases >= _SHORT_RUN
    assert rows[0].verdicts.keys() > {"accepted"}


@needs_engine
@pytest.mark.parametrize("name", sorted(PLANTED.keys() - {"planted-deep", "planted-late"}))
def test_a_planted_fault_is_found_with_its_input(name: str) -> None:
    (row,) = campaign([name], runs=20_000, seed=1, jobs=1)
    assert row.finding is not None
    assert row.finding.input
    assert row.finding.input.hex() in shown([row])


@needs_engine
def test_a_part_of_a_search_follows_the_branches() -> None:
    (row,) = campaign(["planted-deep"], runs=200_000, seed=1, jobs=1)
    assert row.finding is not None
    assert "behind three branches" in row.finding.text


@needs_engine
def test_the_other_part_goes_on_from_what_was_reached() -> None:
    (row,) = campaign(["planted-late"], runs=20_000, seed=1, jobs=1)
    assert row.finding is not None
    assert "full" in row.finding.text
    assert row.guided < row.cases
    (row,) = campaign(["capsule"], runs=3_000, seed=1, jobs=1)
    assert row.finding is None
    assert 0 < row.guided < row.cases
    assert row.cases == sum(row.verdicts.values())


@pytest.mark.parametrize(
    ("name", "error"), [("planted-unclassed", IndexError), ("planted-two-encodings", AssertionError)]
)
def test_a_case_fails_by_itself_too(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        PLANTED[name].prepare()(b"\x01" + bytes(31))


def test_errors_that_are_not_declared_go_through() -> None:
    def fails(error: Exception) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    assert refusal_of(fails(KeyError("x")), (KeyError,)) == "KeyError"
    with pytest.raises(IndexError):
        refusal_of(fails(IndexError("x")), (KeyError,))
    with pytest.raises(AssertionError):
        same_bytes(b"a", b"b")


@pytest.mark.parametrize(
    ("change", "data"),
    [
        (change_words, bytes(range(96))),
        (change_messages, bytes.fromhex("0a03616263100118ffff03")),
        (change_json, b'{"a":["0x00ff",1,null,"b"]}'),
        (change_tensors, (2).to_bytes(8, "little") + b"{}" + bytes(4)),
    ],
)
def test_changes_are_many_and_the_same_for_one_seed(change: Mutation, data: bytes) -> None:
    def outcomes() -> list[bytes]:
        return [change(data, Random(seed)) for seed in range(200)]

    assert outcomes() == outcomes()
    assert len(set(outcomes())) > 20
    # Also of what is empty, or of another form, something is made.
    assert all(isinstance(change(junk, Random(1)), bytes) for junk in (b"", b"\xff", b"{", bytes(31)))
