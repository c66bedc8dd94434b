"""Cutting streams into pieces."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from caimi.bundle.buffers import cut


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 9), st.integers(1, 9))
def test_pieces_are_the_stream_in_exact_sizes(chunks: list[bytes], first: int, rest: int) -> None:
    pieces = [(bytes(p.data), p.is_last) for p in cut(chunks, first=first, rest=rest)]
    whole = b"".join(chunks)
    assert b"".join(data for data, _ in pieces) == whole
    assert [is_last for _, is_last in pieces] == [False] * (len(pieces) - 1) + [True]
    sizes = [len(data) for data, _ in pieces]
    assert sizes[:-1] == [first if i == 0 else rest for i in range(len(sizes) - 1)]
    assert sizes[-1] <= (first if len(sizes) == 1 else rest)
    assert sizes[-1] > 0 or whole == b""


def test_a_source_that_is_no_byte_array_is_read_as_bytes() -> None:
    chunks = [bytearray(b"ab"), memoryview(b"cd")]
    assert [bytes(p.data) for p in cut(chunks, first=3, rest=3)] == [b"abc", b"d"]


def test_nothing_is_read_ahead_of_the_piece_asked_for() -> None:
    taken: list[int] = []

    def source() -> Iterator[bytes]:
        for number in range(10):
            taken.append(number)
            yield b"xx"

    pieces = cut(source(), first=2, rest=2)
    next(pieces)
    assert taken == [0, 1]  # the second chunk shows that the first piece is not the last
