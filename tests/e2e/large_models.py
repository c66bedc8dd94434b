"""Models of any size that cost next to nothing to make: tables in sparse data files, a few rows of them not zero."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, StringStringEntryProto, TensorProto, helper

__all__ = ["COLUMNS", "MARKED", "ROWS", "expected_rows", "write_one_file", "write_tables"]

ROWS: Final = 1 << 16
COLUMNS: Final = 1 << 10
"""A table of float32 takes 256 MiB."""
MARKED: Final = (0, 7, ROWS // 2, ROWS - 1)
"""The rows that are not zero."""
_TABLE_BYTES: Final = ROWS * COLUMNS * 4


def write_tables(folder: Path, tables: int) -> int:
    """A folder with one model that adds up the same row of all its tables, each in a data file; the bytes of all files.

    The files are sparse: they take no room on the disk until somebody writes them elsewhere.
    """
    folder.mkdir()
    for table in range(tables):
        with (folder / f"table{table}.bin").open("wb") as file:
            file.truncate(_TABLE_BYTES)
            for row in MARKED:
                file.seek(row * COLUMNS * 4)
                file.write(_row(table, row).tobytes())
    graph = _graph(tables)
    graph.initializer.extend(_outside(table) for table in range(tables))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return sum(path.stat().st_size for path in folder.iterdir())


def write_one_file(path: Path, tables: int) -> int:
    """The same model with all tables in one file, sparse as well; its bytes."""
    graph, head = _graph(tables).SerializeToString(), helper.make_model(GraphProto(), ir_version=10)
    del head.opset_import[:]
    head.opset_import.append(helper.make_opsetid("", 17))
    head.ClearField("graph")
    names = [TensorProto(name=f"t{i}", data_type=1, dims=(ROWS, COLUMNS)).SerializeToString() for i in range(tables)]
    # GraphProto.initializer { name, type, dimensions, raw_data: nothing yet }
    tensors = [b"\x2a" + _length(len(b"\x4a" + _length(_TABLE_BYTES) + n) + _TABLE_BYTES) + n for n in names]
    tensors = [tensor + b"\x4a" + _length(_TABLE_BYTES) for tensor in tensors]
    whole = len(graph) + sum(len(tensor) + _TABLE_BYTES for tensor in tensors)
    with path.open("wb") as file:
        file.write(head.SerializeToString() + b"\x3a" + _length(whole) + graph)
        for table, tensor in enumerate(tensors):
            start = file.tell() + len(tensor)
            file.write(tensor)
            for row in MARKED:
                file.seek(start + row * COLUMNS * 4)
                file.write(_row(table, row).tobytes())
            file.seek(start + _TABLE_BYTES)
    return path.stat().st_size


def expected_rows(tables: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
    """What the model answers."""
    return np.stack([np.sum([_row(table, row) for table in range(tables)], axis=0) for row in rows])


def _graph(tables: int) -> GraphProto:
    nodes = [helper.make_node("Gather", [f"t{i}", "row"], [f"r{i}"], axis=0) for i in range(tables)]
    nodes.append(helper.make_node("Sum", [f"r{i}" for i in range(tables)], ["sum"]))
    return helper.make_graph(
        nodes,
        "tables",
        [helper.make_tensor_value_info("row", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N", COLUMNS])],
    )


def _length(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])


def _row(table: int, row: int) -> NDArray[np.float32]:
    return np.arange(COLUMNS, dtype=np.float32) + np.float32(1000 * table + MARKED.index(row))


def _outside(table: int) -> TensorProto:
    tensor = TensorProto(name=f"t{table}", data_type=TensorProto.FLOAT, dims=(ROWS, COLUMNS))
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": f"table{table}.bin", "offset": "0", "length": str(_TABLE_BYTES)}
    tensor.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in entries.items())
    return tensor
