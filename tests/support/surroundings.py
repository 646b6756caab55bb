"""What the tests of a process find around them; imported before anything reads it."""

import atexit
import ctypes
import gc
import inspect
import os
import shutil
import signal
import sys
import tempfile
from importlib.metadata import version
from typing import Any

import psutil

for _name in ("COLUMNS", "LINES"):  # what is printed does not depend on the terminal the tests are started from
    os.environ.pop(_name, None)

# Hundreds of processes import the package and the tests: one of them compiles, the others read what it has written.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Images that tests download are not for the user's folder.
_DOWNLOADS = f"{tempfile.gettempdir()}/featurebank-tests-{os.getpid()}"
os.environ["FEATUREBANK_DOWNLOADS"] = _DOWNLOADS
atexit.register(shutil.rmtree, _DOWNLOADS, ignore_errors=True)

# The tests compile hundreds of small programs and run each for milliseconds: what counts is how long compiling takes.
# Level 1 takes half the time of the users' level 2. Level 0 computes NaN for some heads. A test that wants the code of
# users takes `XLA_FLAGS` out of the environment of a process of its own.
_QUICK = "--xla_cpu_parallel_codegen_split_count=1"
if version("tensorflow").startswith("2.21."):  # XLA ends a process at a flag that it does not know
    _QUICK += " --xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _QUICK)

# Python looks through all objects again and again, and TensorFlow with 5000 tests has a million: a tenth of the time.
gc.set_threshold(20_000, 20, 10)
atexit.register(gc.freeze)

_MORE_BYTES = 400_000_000
_process = psutil.Process()
_resident_bytes = 0
"""The memory of the process after the last collection by `collect_if_grown`."""
_is_frozen = False


def forget_stacks() -> None:
    """Lets TensorFlow note no stack of Python for each operation: XLA keeps them with each program, and frees none.

    Under pytest the stacks are deep: they were two fifths of what each program takes for ever. They show in no message.
    """
    ops: Any = sys.modules.get("tensorflow.python.framework.ops")
    create = getattr(ops, "_create_c_op", None)
    if create and "extract_traceback" in inspect.signature(create).parameters and create.__name__ != "stackless":

        def stackless(*arguments: Any, **options: Any) -> Any:
            return create(*arguments, **{**options, "extract_traceback": False})

        ops._create_c_op = stackless


def collect_if_grown() -> None:
    """Gives memory back if the process has grown much: whole networks wait in cycles, and freed arrays in pools."""
    global _resident_bytes, _is_frozen  # noqa: PLW0603 - the memory belongs to the process
    if _process.memory_info().rss > _resident_bytes + _MORE_BYTES:
        gc.collect()
        if not _is_frozen and "keras" in sys.modules:  # its 200,000 objects stay, and need not be looked at again
            gc.freeze()
            _is_frozen = True
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of the GNU library alone
            trim(0)
        _resident_bytes = _process.memory_info().rss


if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several processes would wait for each other, and spin meanwhile
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell runs in the background is deaf to Ctrl-C, and so is every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
