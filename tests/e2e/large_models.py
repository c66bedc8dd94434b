"""Models of any size that cost next to nothing to make: tables in sparse data files, a few rows of them not zero."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import StringStringEntryProto, TensorProto, helper

__all__ = ["COLUMNS", "MARKED", "ROWS", "expected_rows", "write_tables"]

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
    nodes = [helper.make_node("Gather", [f"t{i}", "row"], [f"r{i}"], axis=0) for i in range(tables)]
    nodes.append(helper.make_node("Sum", [f"r{i}" for i in range(tables)], ["sum"]))
    graph = helper.make_graph(
        nodes,
        "tables",
        [helper.make_tensor_value_info("row", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N", COLUMNS])],
        [_outside(table) for table in range(tables)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return sum(path.stat().st_size for path in folder.iterdir())


def expected_rows(tables: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
    """What the model answers."""
    return np.stack([np.sum([_row(table, row) for table in range(tables)], axis=0) for row in rows])


def _row(table: int, row: int) -> NDArray[np.float32]:
    return np.arange(COLUMNS, dtype=np.float32) + np.float32(1000 * table + MARKED.index(row))


def _outside(table: int) -> TensorProto:
    tensor = TensorProto(name=f"t{table}", data_type=TensorProto.FLOAT, dims=(ROWS, COLUMNS))
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": f"table{table}.bin", "offset": "0", "length": str(_TABLE_BYTES)}
    tensor.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in entries.items())
    return tensor
