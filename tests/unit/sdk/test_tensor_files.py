"""Tensors in files: what is read, what is written, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from caimi.apps.demo.answers import TOLERANCE, matches
from caimi.sdk.errors import BadTensors, OutputRefused
from caimi.sdk.tensor_files import check_writable, payload_of, read_arrays, write_payload

_ARRAYS = {"image": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([1, 2], dtype=np.int64)}


def _npz(path: Path) -> str:
    cast(Any, np).savez(path, **_ARRAYS)
    return str(path)


def test_every_kind_of_file_gives_the_same_payload(tmp_path: Path) -> None:
    payload = payload_of([_npz(tmp_path / "a.npz")])
    write_payload(tmp_path / "b.safetensors", payload)
    write_payload(tmp_path / "c.npz", payload)
    np.save(tmp_path / "image.npy", _ARRAYS["image"])
    np.save(tmp_path / "n.npy", _ARRAYS["n"])
    assert payload_of([str(tmp_path / "b.safetensors")]) == payload
    assert payload_of([str(tmp_path / "c.npz")]) == payload
    assert payload_of([f"n={tmp_path / 'n.npy'}", f"image={tmp_path / 'image.npy'}"]) == payload


def test_order_of_memory_and_bytes_do_not_matter(tmp_path: Path) -> None:
    payload = payload_of([_npz(tmp_path / "a.npz")])
    image = _ARRAYS["image"]
    np.savez(tmp_path / "b.npz", image=np.asfortranarray(image.astype(">f4")), n=_ARRAYS["n"])
    assert payload_of([str(tmp_path / "b.npz")]) == payload
    assert np.array_equal(read_arrays([str(tmp_path / "a.npz")])["image"], image)


@pytest.mark.parametrize("word", ["x.txt", "x.npy", "a=x.npz", "a=x.safetensors", "x", "missing.npz"])
def test_rejects_another_kind_of_file(tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadTensors):
        read_arrays([word])


def test_rejects_a_pickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", a=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(BadTensors, match="pickle"):
        read_arrays([str(tmp_path / "p.npz")])


def test_rejects_a_name_that_comes_twice(tmp_path: Path) -> None:
    word = _npz(tmp_path / "a.npz")
    with pytest.raises(BadTensors, match="two tensors"):
        read_arrays([word, word])


def test_rejects_nothing_at_all_and_nonsense(tmp_path: Path) -> None:
    with pytest.raises(BadTensors):
        read_arrays([])
    (tmp_path / "x.safetensors").write_bytes(b"hello, I am no tensor")
    with pytest.raises(BadTensors):
        read_arrays([str(tmp_path / "x.safetensors")])


def test_rejects_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(BadTensors, match="limit"):
        read_arrays([str(tmp_path / "x.npz")])


def test_rejects_another_ending_for_an_answer(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="ends neither"):
        write_payload(tmp_path / "answer.txt", b"")
    with pytest.raises(OutputRefused, match="cannot write"):
        write_payload(tmp_path / "nowhere" / "answer.safetensors", b"")


def test_whether_an_answer_can_be_written_is_known_before_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "old.npz").write_bytes(b"x")
    for name in ("new.safetensors", "new.npz", "old.npz"):
        check_writable(tmp_path / name, tensors=True)
    check_writable(tmp_path / "receipt.json", tensors=False)
    assert [p.name for p in tmp_path.iterdir()] == ["old.npz"]


@pytest.mark.parametrize(
    ("name", "told"), [("a.txt", "ends neither"), ("folder.npz", "is a folder"), ("no/a.npz", "there is no folder")]
)
def test_rejects_a_place_where_no_answer_can_be_written(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OutputRefused, match=told):
        check_writable(tmp_path / name, tensors=True)


def test_rejects_a_folder_without_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked of the system: whoever runs this test may be allowed everything.
    def denied(path: Path, mode: int) -> bool:
        return False

    monkeypatch.setattr("caimi.sdk.tensor_files.os.access", denied)
    with pytest.raises(OutputRefused, match="no right"):
        check_writable(tmp_path / "a.npz", tensors=True)


def test_answers_match_only_within_the_tolerance() -> None:
    local = np.array([[0.0, 10.0, 5.0], [3.0, 1.0, 2.0]], dtype=np.float32)
    assert matches(local, local)
    assert matches(local, local + np.float32(10 * TOLERANCE * 0.5))
    assert not matches(local, local + np.float32(10 * TOLERANCE * 2))
    assert not matches(local, local[:, ::-1])
    assert not matches(local, local[:1])
    assert not matches(local, np.full_like(local, np.nan))
    near = np.array([[1.0, 1.0 + 1e-7]], dtype=np.float32)
    assert not matches(near, near[:, ::-1])
