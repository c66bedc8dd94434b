"""Constants in data files: by the manifest's names only, inside the file, each byte once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import onnx
import pytest
from onnx import StringStringEntryProto, TensorProto, helper

from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role
from caimi.bundle.onnx_errors import BadTensor, ExternalData, ModelRefused, ModelTooLarge
from caimi.bundle.onnx_external import external_paths, external_sizes
from caimi.bundle.onnx_inspect import InspectionLimits, inspect_model
from caimi.types.failure import Blame, Certainty, Retry
from caimi.types.primitives import ZERO32
from tests.unit.bundle.onnx_models import graph_of, make_node, model, relu, value

SIZES = {"w.data": 64, "deep/er.bin": 16, "empty": 0}


def outside(
    name: str = "w",
    *,
    dims: tuple[int, ...] = (4,),
    entries: Mapping[str, str | None] | None = None,
    **more: str | None,
) -> TensorProto:
    """A float constant in `w.data`, with any entry replaced, or left out where it is None."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    given = {"location": "w.data", "offset": "0", "length": "16", **(entries or {}), **more}
    tensor.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in given.items() if v is not None)
    return tensor


def inspected(*constants: TensorProto, external_bytes: int = 1 << 20) -> tuple[str, ...]:
    data = model(constants=list(constants)).SerializeToString()
    return inspect_model(data, limits=InspectionLimits(external_bytes=external_bytes), size_of=SIZES.get).external


def refused(error: type[ModelRefused], match: str, *constants: TensorProto, external_bytes: int = 1 << 20) -> None:
    with pytest.raises(ModelRefused, match=match) as caught:
        inspected(*constants, external_bytes=external_bytes)
    found = caught.value
    assert type(found) is error
    assert (found.blame, found.certainty, found.retry) == (Blame.PUBLISHER, Certainty.PROVEN, Retry.NEVER)


def test_constants_may_lie_in_data_files() -> None:
    assert inspected() == ()
    assert inspected(outside()) == ("w.data",)
    assert inspected(outside(offset=None)) == ("w.data",)
    # Up to the last byte, side by side, in several files, and nothing of an empty one.
    placed = [outside(f"w{i}", offset=str(16 * i)) for i in (3, 0, 2, 1)]
    others = [outside("v", location="deep/er.bin"), outside("e", dims=(0,), length="0", location="empty")]
    assert inspected(*placed, *others) == ("deep/er.bin", "empty", "w.data")


def test_what_the_common_writer_writes_is_accepted(tmp_path: object) -> None:
    made = model(constants=[helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])])
    for tensor in made.graph.initializer:
        tensor.raw_data = b"\0" * 16
        tensor.ClearField("float_data")
    cast(Any, onnx).save_model(
        made, f"{tmp_path}/m.onnx", save_as_external_data=True, location="w.data", size_threshold=0
    )
    with open(f"{tmp_path}/m.onnx", "rb") as file:
        assert inspect_model(file.read(), size_of=SIZES.get).external == ("w.data",)


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../w.data",
        "deep/../w.data",
        "./w.data",
        "deep//er.bin",
        "",
        "deep\\er.bin",
        "C:w.data",
        "w.data\0",
        "w.data/",
    ],
)
def test_rejects_names_that_are_no_path_inside_the_bundle(location: str) -> None:
    refused(ExternalData, "no relative path", outside(location=location))


@pytest.mark.parametrize(
    ("match", "entries"),
    [
        ("declares no data file", {"location": "other.data"}),
        ("declares no data file", {"location": "W.DATA"}),
        ("location or length is missing", {"location": None}),
        ("location or length is missing", {"length": None}),
        ("unknown or there twice", {"checksum": "0"}),
        ("unknown or there twice", {"basepath": "/etc"}),
        ("offset '-1' is no number", {"offset": "-1"}),
        ("offset '0x0' is no number", {"offset": "0x0"}),
        ("offset '00' is no number", {"offset": "00"}),
        ("length '١٦' is no number", {"length": "١٦"}),
        ("offset '99999999999999999' is no number", {"offset": "99999999999999999"}),
        ("17 bytes announced, the tensor has 16", {"length": "17"}),
        ("15 bytes announced, the tensor has 16", {"length": "15"}),
        ("bytes 49 to 65 of a file of 64", {"offset": "49"}),
        ("of a file of 0", {"location": "empty"}),
    ],
)
def test_rejects_entries_that_do_not_say_where_the_bytes_are(match: str, entries: dict[str, str | None]) -> None:
    refused(ExternalData, match, outside(entries=entries))


def test_rejects_an_entry_that_is_there_twice() -> None:
    twice = outside()
    twice.external_data.append(StringStringEntryProto(key="location", value="deep/er.bin"))
    refused(ExternalData, "there twice", twice)


def test_rejects_constants_that_share_bytes() -> None:
    refused(ExternalData, "overlap those of", outside("a"), outside("b", offset="15"))
    refused(ExternalData, "overlap those of", outside("a"), outside("b"))


def test_rejects_constants_that_are_inside_and_outside() -> None:
    both = outside()
    both.raw_data = bytes(16)
    refused(BadTensor, "inside and outside", both)
    unmarked = outside()
    unmarked.data_location = TensorProto.DEFAULT
    refused(ExternalData, "lie outside", unmarked)
    bare = outside()
    bare.ClearField("external_data")
    refused(ExternalData, "lie outside", bare)


def test_rejects_data_files_for_what_is_not_of_the_outermost_graph() -> None:
    branch = graph_of([relu("x", "t")], "t")
    branch.initializer.append(outside())
    node = make_node("If", ["c"], ["y"], then_branch=branch, else_branch=graph_of([relu("x", "e")], "e"))
    inner = model([node], inputs=[value("x", ["N", 3]), value("c", [], TensorProto.BOOL)])
    attribute = model([make_node("Constant", [], ["k"], value=outside()), relu()])
    for made in (inner, attribute):
        with pytest.raises(ExternalData, match="lie outside"):
            inspect_model(made.SerializeToString(), size_of=SIZES.get)


def test_rejects_more_than_the_limit() -> None:
    two = (outside("a"), outside("b", offset="16"))
    assert inspected(*two, external_bytes=32) == ("w.data",)
    refused(ModelTooLarge, "data files of more than 31 bytes", *two, external_bytes=31)


def test_a_file_alone_has_no_data_files() -> None:
    with pytest.raises(ExternalData, match="declares no data file"):
        inspect_model(model(constants=[outside()]).SerializeToString())


def test_names_are_relative_to_the_models_folder_and_only_data_files_have_one() -> None:
    files = tuple(
        FileEntry(path=path, size=size, sha256=ZERO32, role=role)
        for path, size, role in (
            ("else/w.data", 1, Role.EXTERNAL_DATA),
            ("m/deep/w.data", 2, Role.EXTERNAL_DATA),
            ("m/model.onnx", 3, Role.MODEL),
            ("m/readme", 4, Role.README),
            ("m/w.data", 5, Role.EXTERNAL_DATA),
        )
    )
    manifest = Manifest(
        kind=BundleKind.MODEL, framework=Framework.ONNX, files=files, signature=None, licence_sha256=ZERO32
    )
    assert external_paths(manifest) == {"deep/w.data": "m/deep/w.data", "w.data": "m/w.data"}
    size_of = external_sizes(manifest)
    names = ("w.data", "deep/w.data", "else/w.data", "m/w.data", "readme", "model.onnx", "../else/w.data")
    assert [size_of(name) for name in names] == [5, 2, None, None, None, None, None]
