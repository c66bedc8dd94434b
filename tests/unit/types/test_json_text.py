"""Deep JSON is refused before the parser can overflow the stack, whatever the interpreter's recursion limit is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from caimi.types.json_text import MAX_DEPTH, JsonTooDeep, load_json


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)])
def test_rejects_deep_nesting(text: str) -> None:
    with pytest.raises(JsonTooDeep):
        load_json(text)
    with pytest.raises(JsonTooDeep):
        load_json(text.encode())


def test_rejects_deep_nesting_under_a_raised_recursion_limit() -> None:
    script = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from caimi.types.json_text import JsonTooDeep, load_json\n"
        "try:\n    load_json('[' * 10**6)\nexcept JsonTooDeep:\n    print('refused')"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "refused\n", ran


def test_allowed_depth() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert load_json(text) == json.loads(text)


def test_brackets_inside_strings_do_not_count() -> None:
    value = ["[{" * 200, 'a\\"[' * 100, {"k[": "]"}]
    assert load_json(json.dumps(value)) == value


def test_wide_is_not_deep() -> None:
    value = [[i] for i in range(1_000)]
    assert load_json(json.dumps(value)) == value


def test_rejects_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        load_json("nonsense")
