"""Notebooks that are stored with their results: whether they are up to date, and their execution."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.tutorials.results import cleaned, problems, without_colours

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MOST_BYTES = 1_500_000
"""The size of a notebook with its results: a page that loads at once, and a repository that stays small."""
LIMIT_S = 1800
"""A cell that takes longer is an error."""
_SETUP = "from docs.tutorials import results\nresults.prepare_kernel()\ndel results"


class TutorialError(Exception):
    """A notebook cannot be executed, or its results cannot be stored."""


def notebooks() -> list[Path]:
    """Returns the tutorials, by name."""
    return sorted(HERE.glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    """Returns a notebook as JSON values."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the code cells of a notebook, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    """Returns the text of a cell, which a file may have as a list of lines."""
    return "".join(cell["source"])


def digest(notebook: dict[str, Any]) -> str:
    """Returns the digest of the code of a notebook. Its text may change without a new execution.

    Example:
        >>> cell = {"cell_type": "code", "source": ["a = 1"]}
        >>> digest({"cells": [cell]}) == digest({"cells": [{"cell_type": "markdown", "source": "Text"}, cell]})
        True
    """
    text = json.dumps([source(cell) for cell in code_cells(notebook)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_up_to_date(notebook: dict[str, Any]) -> bool:
    """Returns whether the stored results are those of the code."""
    return bool(notebook["metadata"].get("featurebank", {}).get("digest") == digest(notebook))


def checked(notebook: dict[str, Any]) -> Iterator[str]:
    """Yields what is wrong with the stored results of a notebook, one line each."""
    if not is_up_to_date(notebook):
        yield "the results are not those of the code: run `python -m docs.tutorials`"
    for number, cell in enumerate(code_cells(notebook), 1):
        if cell["execution_count"] != number:
            yield f"code cell {number} has the number {cell['execution_count']}"
        yield from (f"code cell {number} {problem}" for problem in problems(cell))
    if (size := len(json.dumps(notebook))) > MOST_BYTES:
        yield f"has {size} bytes: expected at most {MOST_BYTES}; show fewer or smaller pictures"


def execute(path: Path, data: Path | None) -> None:
    """Executes a notebook and stores it with its results. The file changes only if all cells succeed.

    The notebook runs in an empty temporary directory, in a fresh kernel and with a fresh cache. The key `data` of its
    metadata names the folders that it reads, `{"featurebank": {"data": ["flower_photos"]}}`; they are copied there.

    Args:
        path: the notebook.
        data: where these folders are.

    Raises:
        TutorialError: a folder is missing, a cell fails, or the results contain what must not be stored.
    """
    import nbformat
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve() / "tutorial"
        place.mkdir()
        for folder in notebook.metadata.get("featurebank", {}).get("data", []):
            if data is None or not (data / folder).is_dir():
                message = f"{path.name} reads the folder '{folder}', which is not in {data}: give its parent as --data"
                raise TutorialError(message)
            shutil.copytree(data / folder, place / folder)
        try:
            outputs = _run([source(cell) for cell in code_cells(notebook)], place)
        except CellExecutionError as error:
            message = f"{path.name}: {without_colours(str(error))}"
            raise TutorialError(message) from None
    results = [[cleaned(output, place) for output in cell] for cell in outputs]
    store(notebook, [[output for output in cell if output.get("text") != ""] for cell in results])
    if wrong := list(checked(notebook)):
        raise TutorialError("\n".join(f"{path.name}: {line}" for line in wrong))
    partial = path.with_suffix(".partial")
    nbformat.write(nbformat.from_dict(notebook), partial)
    partial.replace(path)


def store(notebook: dict[str, Any], outputs: list[list[dict[str, Any]]]) -> None:
    """Puts results and their digest into a notebook.

    Args:
        notebook: the notebook; it is changed.
        outputs: those of each code cell.
    """
    for number, (cell, results) in enumerate(zip(code_cells(notebook), outputs, strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, results
        for output in results:
            if output["output_type"] == "execute_result":
                output["execution_count"] = number
        for key in ("execution", "ExecuteTime"):  # what editors note of an execution
            cell["metadata"].pop(key, None)
        if pictured := [one["data"] for one in results if "image/svg+xml" in one.get("data", {})]:
            cell["metadata"].setdefault("mystnb", {"image": {"alt": pictured[0]["text/plain"]}})
    metadata = notebook["metadata"]
    metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # for lines that begin with `!`
    metadata["featurebank"] = {**metadata.get("featurebank", {}), "digest": digest(notebook)}


def _run(codes: list[str], place: Path) -> list[list[dict[str, Any]]]:
    """Runs cells in a fresh kernel of this interpreter; returns the outputs of each."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    running = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (_SETUP, *codes)])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        running, km=manager, timeout=LIMIT_S, coalesce_streams=True, resources={"metadata": {"path": str(place)}}
    )
    client.execute(cleanup_kc=True, env=_environment(place))
    return [cell.outputs for cell in running.cells[1:]]


def _environment(place: Path) -> dict[str, str]:
    """Returns the variables of a user's process whose cache and settings are under `place`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "JUPYTER", "COV"))}
    return {
        **kept, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(place.parent / "ipython"), "FEATUREBANK_CACHE": "cache",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]), "COLUMNS": "100",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
