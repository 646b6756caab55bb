"""A sparse file is a file."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank.sparse import SparseFile

places = st.integers(0, 20_000)
steps = st.lists(
    st.tuples(st.just("write"), places, st.binary(max_size=9000))
    | st.tuples(st.just("read"), places, st.integers(0, 9000))
    | st.tuples(st.just("grow"), st.just(0), st.integers(0, 30_000)),
    max_size=12,
)


@given(steps)
def test_it_does_what_a_file_does(todo: list[tuple[str, int, bytes | int]]) -> None:
    sparse, plain = SparseFile(), io.BytesIO()
    for what, place, value in todo:
        if isinstance(value, bytes):
            for file in (sparse, plain):
                file.seek(place)
                file.write(value)
        elif what == "read":
            sparse.seek(place)
            plain.seek(place)
            found = bytearray(b"x" * value)
            assert sparse.readinto(found) == value
            assert bytes(found) == plain.read(value).ljust(value, b"\0")
        else:
            sparse.truncate(max(value, sparse.size))
            plain.write(bytes(max(0, value - plain.seek(0, io.SEEK_END))))
    assert sparse.seek(0, io.SEEK_END) == len(plain.getvalue()) or not plain.getvalue()
    assert b"".join(sparse.pieces({})) == plain.getvalue()


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.integers(0, 5000), st.integers(0, 100))
def test_content_stands_in_its_place(lengths: list[int], before: int, between: int) -> None:
    one = [np.full(length, number + 1, np.uint8) for number, length in enumerate(lengths)]
    two = [np.arange(300, dtype=np.float32).reshape(3, 100)]
    second = before + sum(lengths) + between
    sparse = SparseFile()
    sparse.write(b"a" * before)
    sparse.truncate(second + 1200 + 7)
    whole = b"".join(sparse.pieces({second: two, before: one}))
    assert whole == b"a" * before + b"".join(map(bytes, one)) + bytes(between) + two[0].tobytes() + bytes(7)


def test_what_is_not_written_takes_no_memory() -> None:
    sparse = SparseFile()
    sparse.truncate(1 << 40)
    sparse.seek(1 << 39)
    sparse.write(b"x")
    assert len(sparse._pages) == 1
