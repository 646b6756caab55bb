"""Reads a model file in a process of its own first, because OpenVINO can end a process, or take all of its memory.

python -P -c "..." PATH SIDE BYTES        see `_START`
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featurebank.errors import ArchiveError
from featurebank.system import digest
from featurebank.system.imports.openvino import import_openvino, preserve_signal_stack
from featurebank.words import one_line

BATCH = 11
"""The number of images for which a model is examined. No network has an axis of this length by itself."""

_ROOT = Path(__file__).resolve().parents[3]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from featurebank.system.model_files import trial; "
    "trial.main(*sys.argv[2:])"
)
_MEMORY = 2 << 30
"""Bytes that reading any model may take, for OpenVINO itself and the stacks of its threads."""
_COPIES = 4
"""Bytes that reading may take for each byte of the files."""
_SECONDS, _BYTES_A_SECOND = 120, 20e6
_IMAGE_AXES = 4

_read: set[tuple[int | str, ...]] = set()
"""The files that were read without harm: a side, and the digests."""


def try_reading(files: Sequence[Path], side: int = 224, *, digests: Sequence[str] = ()) -> None:
    """Reads a model file in another process, which has a limit of memory and of time; each content is read once.

    Args:
        files: the .onnx or .xml file, and those with its weights.
        side: the side of the images for which the shapes of a model are inferred that leaves it open.
        digests: those of the files, if the caller has them.

    Raises:
        ArchiveError: OpenVINO cannot read the file; the message is only the reason.
    """
    key = (side, *(digests or map(digest.of_file, files)))
    if key in _read:
        return
    size = sum(file.stat().st_size for file in files)
    arguments = [str(_ROOT), str(files[0].absolute()), str(side), str(_MEMORY + _COPIES * size)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _START, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_SECONDS + size / _BYTES_A_SECOND, check=False, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = f"OpenVINO reads it for more than {error.timeout:.0f} s"
        raise ArchiveError(message) from error
    if problem := _problem(done):
        raise ArchiveError(problem)
    _read.add(key)


def main(path: str, side: str, memory: str) -> None:
    """Runs in the other process: reads the file, and prints a JSON object with the problem, if there is one."""
    _limit_memory(int(memory))
    problem = ""
    try:
        core = import_openvino().Core()
        _infer_shapes(core.read_model(path), int(side))
    except Exception as error:  # noqa: BLE001 - OpenVINO raises anything
        problem = "it needs too much memory" if isinstance(error, MemoryError) else openvino_line(error)
    sys.stdout.write("\n" + json.dumps({"problem": problem}) + "\n")
    sys.stdout.flush()


def openvino_line(error: BaseException) -> str:
    """Returns the message of an error of OpenVINO, in one line without places in its source code."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if "bad_alloc" in text:
        return "it needs too much memory"
    parts = []
    for line in text.splitlines():
        bare = re.sub(r"^(Exception from|Check '.*' failed at|FrontEnd API failed with|Caught exception:).*", "", line)
        bare = re.sub(r"^\s*(--|While validating node.*|Converting input model|Loading input model)\s*", "", bare)
        if bare.strip(" :\t"):
            parts.append(bare.strip())
    return one_line(" ".join(parts) or text, 200) or type(error).__name__


def _infer_shapes(model: Any, side: int) -> None:
    """Infers the shapes for `BATCH` images, as they are inferred when the model is used; some models have none."""
    if len(model.inputs) != 1 or model.inputs[0].get_partial_shape().rank.is_dynamic:
        return
    shape = model.inputs[0].get_partial_shape()
    if len(shape) == _IMAGE_AXES:
        sides = [side if length.is_dynamic else length.get_length() for length in shape]
        with contextlib.suppress(RuntimeError), preserve_signal_stack():
            model.reshape([BATCH, *sides[1:]])


def _problem(done: subprocess.CompletedProcess[str]) -> str:
    """Returns why the other process could not read the file; empty if it could."""
    if done.returncode < 0:
        name = next((one.name for one in signal.Signals if one == -done.returncode), str(-done.returncode))
        return f"OpenVINO crashes on it ({name}): export the model again"
    try:
        return str(json.loads(done.stdout.strip().splitlines()[-1])["problem"])
    except (ValueError, LookupError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"OpenVINO fails on it ({one_line(last, 200)}): export the model again"


def _limit_memory(most: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
