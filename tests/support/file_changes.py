"""What happens to the files of a dataset: some are added, removed, renamed or duplicated."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def changes(names: st.SearchStrategy[str], contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[Any]:
    """Steps for `change`, at most eight."""
    return st.lists(
        st.tuples(st.just("add"), names, contents)
        | st.tuples(st.just("remove"), names, names)
        | st.tuples(st.just("rename"), names, names)
        | st.tuples(st.just("duplicate"), names, names),
        max_size=8,
    )


def change(files: dict[str, bytes], steps: list[tuple[str, str, str | bytes]]) -> dict[str, bytes]:
    """Returns the files {id: content} after some of them were added, removed, renamed or duplicated."""
    files = dict(files)
    for what, name, other in steps:
        if isinstance(other, bytes):
            files[name] = other
        elif name in files:
            content = files[name] if what == "duplicate" else files.pop(name)
            if what != "remove":
                files[other] = content
    return files
