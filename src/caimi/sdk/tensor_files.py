"""Tensors in files: .safetensors and .npz with names in them, .npy as `name=file.npy`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from caimi.bundle.tensors import TensorsRefused, decode_tensors, encode_tensors
from caimi.sdk.errors import BadTensors, OutputRefused
from caimi.sdk.inference import MAX_TENSOR_BYTES, array_of, tensors_of

__all__ = ["check_writable", "payload_of", "read_arrays", "write_payload"]

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
_SUFFIXES: Final = (".safetensors", ".npz", ".npy")


def read_arrays(words: Sequence[str]) -> Arrays:
    """The arrays of all files together.

    Arguments:
        words: Paths, or `name=path` for a single array.
    Raises:
        BadTensors: A file is missing, larger than 64 MiB, of another kind, or a name comes twice.
    """
    found: dict[str, np.ndarray[Any, Any]] = {}
    for word in words:
        for name, array in _file(word).items():
            if name in found:
                raise BadTensors(f"two tensors are named {name!r}")
            found[name] = array
    if not found:
        raise BadTensors("no tensors were given")
    return found


def payload_of(words: Sequence[str]) -> bytes:
    """The one encoding of these tensors, to which commitments are made. Raises as `read_arrays`."""
    return encode_tensors(tensors_of(read_arrays(words)))


def write_payload(path: Path, payload: bytes) -> None:
    """Write tensors as .safetensors or .npz, by the ending of the path.

    Raises:
        OutputRefused: Another ending, or the file cannot be written.
    """
    try:
        if path.suffix == ".safetensors":
            path.write_bytes(payload)
        elif path.suffix == ".npz":
            arrays = array_of(decode_tensors(payload, max_bytes=MAX_TENSOR_BYTES))
            with path.open("wb") as file:
                cast(Any, np).savez(file, **arrays)
        else:
            raise OutputRefused(f"{path} ends neither in .safetensors nor in .npz")
    except OSError as error:
        raise OutputRefused(f"cannot write {path}: {error.strerror}") from error


def check_writable(path: Path, *, tensors: bool) -> None:
    """Find out before there is a result whether it can be written. Leaves nothing behind.

    Arguments:
        tensors: whether it shall hold tensors, which its ending has to say.
    Raises:
        OutputRefused: Another ending, no such folder, or no right to write there.
    """
    if tensors and path.suffix not in (".safetensors", ".npz"):
        raise OutputRefused(f"{path} ends neither in .safetensors nor in .npz")
    if path.is_dir():
        raise OutputRefused(f"{path} is a folder")
    if not path.parent.is_dir():
        raise OutputRefused(f"there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputRefused(f"no right to write {path}")


def _file(word: str) -> Arrays:
    name, separator, rest = word.partition("=")
    path = Path(rest if separator else word)
    if path.suffix not in _SUFFIXES or (path.suffix == ".npy") != bool(separator):
        raise BadTensors(f"{word!r} is neither a .safetensors or .npz file nor name=file.npy")
    try:
        size = path.stat().st_size
        if size > MAX_TENSOR_BYTES:
            raise BadTensors(f"{path} has {size} bytes, the limit is {MAX_TENSOR_BYTES}")
        if path.suffix == ".safetensors":
            return array_of(decode_tensors(path.read_bytes(), max_bytes=MAX_TENSOR_BYTES))
        # Never pickles: they are programs.
        loaded: Any = np.load(path, allow_pickle=False)
        return {name: loaded} if separator else {key: loaded[key] for key in loaded.files}
    except OSError as error:
        raise BadTensors(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TensorsRefused) as error:
        raise BadTensors(f"{path}: {error}") from error
