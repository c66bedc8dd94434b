"""vectors/bundle: manifests with their canonical bytes and commitments, and texts that are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from caimi.bundle.framing import manifest_commitment
from caimi.bundle.manifest import (
    BundleKind,
    FileEntry,
    Framework,
    Manifest,
    Role,
    encode_manifest,
)
from caimi.bundle.signature import DType, ModelSignature, TensorSpec
from caimi.types.primitives import Bytes32

__all__ = ["manifest_suite"]


def _hash(text: str) -> Bytes32:
    return Bytes32(hashlib.sha256(text.encode()).digest())


def _file(path: str, size: int, role: Role) -> FileEntry:
    return FileEntry(path=path, size=size, sha256=_hash(path), role=role)


_MODEL = Manifest(
    kind=BundleKind.MODEL,
    framework=Framework.ONNX,
    files=(
        _file("LICENCE", 11357, Role.LICENCE),
        _file("model.onnx", 99_340_288, Role.MODEL),
        _file("tokenizer/vocabulaire-é.json", 0, Role.TOKENIZER),
    ),
    signature=ModelSignature(
        inputs=(TensorSpec(name="input", dtype=DType.FLOAT32, shape=("N", 3, 224, "?")),),
        outputs=(TensorSpec(name="logits", dtype=DType.FLOAT32, shape=("N", 1000)),),
    ),
    licence_sha256=_hash("LICENCE"),
)
_DATASET = Manifest(
    kind=BundleKind.DATASET,
    framework=Framework.NONE,
    files=(_file("data/part-0.bin", (1 << 53) - 1, Role.DATA),),
    signature=None,
    licence_sha256=_hash("CC0-1.0"),
)


def manifest_suite() -> dict[str, Any]:
    """bundle/manifest.json: `encoded` decodes and encodes again; `text` is refused by the decoder."""
    cases: list[dict[str, Any]] = []
    for number, (comment, manifest) in enumerate((("a model", _MODEL), ("a dataset", _DATASET)), 1):
        encoded, salt = encode_manifest(manifest), _hash(f"salt {number}")
        cases.append(
            {
                "tcId": number,
                "comment": comment,
                "encoded": "0x" + encoded.hex(),
                "salt": "0x" + salt.hex(),
                "commitment": "0x" + manifest_commitment(salt, encoded).hex(),
                "contentBytes": str(manifest.content_bytes),
            }
        )
    refusals = [*_text_refusals(), *_file_refusals(), *_value_refusals()]
    return {
        "cases": cases,
        "refusals": [
            {"tcId": 1000 + i, "comment": c, "text": t, "error": "ManifestRefused"} for i, (c, t) in enumerate(refusals)
        ],
    }


def _text_refusals() -> list[tuple[str, str]]:
    good = encode_manifest(_MODEL).decode()
    return [
        ("empty", ""),
        ("not JSON", "{"),
        ("a byte order mark", "\ufeff" + good),
        ("white space", good.replace(":", ": ", 1)),
        ("a final newline", good + "\n"),
        ("something after the document", good + "{}"),
        ("keys in another order", good.replace('"format":1,', "", 1).replace("}}", '},"format":1}')),
        ("a key twice", good.replace('"format":1', '"format":1,"format":1')),
        ("a float", good.replace('"format":1', '"format":1.0')),
        ("an exponent", good.replace('"format":1', '"format":1e0')),
        ("a negative number", good.replace('"size":0', '"size":-1')),
        ("negative zero", good.replace('"size":0', '"size":-0')),
        ("a number of 2^53", good.replace('"size":0', '"size":9007199254740992')),
        ("a number of 5000 digits", good.replace('"size":0', '"size":' + "9" * 5000)),
        ("a boolean", good.replace('"size":0', '"size":false')),
        ("not a number", good.replace('"size":0', '"size":NaN')),
        ("an escaped letter", good.replace('"model.onnx"', '"\\u006dodel.onnx"')),
        ("a lone surrogate", good.replace('"model.onnx"', '"\\ud800"')),
        ("deep nesting", "[" * 9 + "]" * 9),
        ("very deep nesting", "[" * 5000),
        ("an array", "[]"),
        ("null", "null"),
    ]


def _changed(comment: str, change: Callable[[Any], object], base: Manifest = _MODEL) -> tuple[str, str]:
    # A canonical text whose content breaks one rule.
    document = json.loads(encode_manifest(base))
    change(document)
    return comment, json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _file_refusals() -> list[tuple[str, str]]:
    def path(value: str) -> tuple[str, str]:
        return _changed(f"path {value[:20]!a}", lambda d: d["files"][2].update(path=value))

    def files(document: Any, *names: str) -> None:
        hash_ = "00" * 32
        document["files"] += [{"path": n, "role": "config", "sha256": hash_, "size": 0} for n in names]
        document["files"].sort(key=_path_bytes)

    bad_paths = ["", "/z", "z/", "z//z", "z/./z", "z/../z", "..", "z\\z", "C:z", "z\x00", "z\n", "ze\u0301"]
    bad_paths += ["z" * 256, "z/" * 600 + "z", "z ", "z.", "znul/nul.txt", "zz|"]
    return [
        *[path(value) for value in bad_paths],
        _changed("a model without model file", lambda d: d["files"][1].update(role="config")),
        _changed("two model files", lambda d: d["files"][2].update(role="model")),
        _changed("an unknown role", lambda d: d["files"][2].update(role="script")),
        _changed("no files", lambda d: d.update(files=[])),
        _changed("too many files", lambda d: files(d, *[f"z{i:04}" for i in range(1022)])),
        _changed("files in another order", lambda d: d["files"].reverse()),
        _changed("a path twice", lambda d: files(d, "model.onnx")),
        _changed("paths that differ in case", lambda d: files(d, "MODEL.onnx")),
        _changed("a file below a file", lambda d: files(d, "model.onnx/x")),
        _changed("a file below a file in other case", lambda d: files(d, "Model.ONNX/x")),
        _changed("sizes of 2^53 together", lambda d: d["files"][2].update(size=(1 << 53) - 1)),
        _changed("a short hash", lambda d: d["files"][2].update(sha256="00")),
        _changed("an upper-case hash", lambda d: d["files"][2].update(sha256="AB" * 32)),
        _changed("a size in quotes", lambda d: d["files"][2].update(size="0")),
    ]


def _value_refusals() -> list[tuple[str, str]]:
    def tensor(comment: str, **fields: Any) -> tuple[str, str]:
        return _changed(f"tensor: {comment}", lambda d: d["signature"]["inputs"][0].update(fields))

    return [
        _changed("format 2", lambda d: d.update(format=2)),
        _changed("an unknown member", lambda d: d.update(extra=1)),
        _changed("a missing member", lambda d: d.pop("licence_sha256")),
        _changed("an unknown kind", lambda d: d.update(kind="program")),
        _changed("an unknown framework", lambda d: d.update(framework="pickle")),
        _changed("a model without framework", lambda d: d.update(framework="none")),
        _changed("a model without signature", lambda d: d.update(signature=None)),
        _changed("another licence hash than the file's", lambda d: d.update(licence_sha256="00" * 32)),
        _changed("no inputs", lambda d: d["signature"].update(inputs=[])),
        _changed("no outputs", lambda d: d["signature"].update(outputs=[])),
        _changed("an input twice", lambda d: d["signature"].update(inputs=d["signature"]["inputs"] * 2)),
        tensor("no name", name=""),
        tensor("a control character in the name", name="a\tb"),
        tensor("a long name", name="n" * 257),
        tensor("strings", dtype="string"),
        tensor("a dimension of 2^31", shape=[1 << 31]),
        tensor("a dimension that is an array", shape=[[1]]),
        tensor("an empty dimension name", shape=[""]),
        tensor("17 dimensions", shape=[1] * 17),
        _changed("a dataset with a signature", lambda d: d.update(signature=_signature()), _DATASET),
        _changed("a dataset with framework onnx", lambda d: d.update(framework="onnx"), _DATASET),
        _changed("a dataset with a model file", lambda d: d["files"][0].update(role="model"), _DATASET),
    ]


def _path_bytes(file: dict[str, Any]) -> bytes:
    return file["path"].encode()


def _signature() -> Any:
    return json.loads(encode_manifest(_MODEL))["signature"]
