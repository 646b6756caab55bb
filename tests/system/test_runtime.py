"""One knob for the threads, one place for the cache, and no greetings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from featurebank.errors import ConfigError
from featurebank.system import runtime

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]
IMPORT = "from featurebank.system.runtime import *; limit_threads(1); tf = import_tensorflow(); "


@pytest.fixture(autouse=True)
def every_core() -> Iterator[None]:
    yield
    runtime.limit_threads(None)


def test_threads_are_the_usable_cores_unless_chosen() -> None:
    assert runtime.threads() == len(os.sched_getaffinity(0))
    runtime.limit_threads(7)
    assert runtime.threads() == 7
    runtime.limit_threads(None)
    assert runtime.threads() == runtime.usable_cores()


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"--threads is {count}"):
        runtime.limit_threads(count)
    assert runtime.threads() >= 1


def test_blas_is_limited_inside_the_block() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with runtime.limited_blas(1):
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}


def run(code: str, redirect: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CODE": code}
    command = f'exec "{sys.executable}" -c "$CODE" {redirect}'
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


def test_tensorflow_needs_no_standard_error() -> None:
    assert run(IMPORT + "print('in')", "2>&-").stdout == "in\n"


def test_what_was_held_back_is_told_where_the_import_fails(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'reason'); raise ImportError('broken')")
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + IMPORT)
    assert done.returncode == 1
    assert done.stderr.startswith("reason")
    assert "broken" in done.stderr


def test_side_by_side_gives_each_piece_one_thread() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    runtime.limit_threads(3)
    with runtime.side_by_side() as count:
        assert count == 3
        assert runtime.threads() == 1
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
    assert runtime.threads() == 3


def test_side_by_side_ends_with_the_last_thread_that_is_inside() -> None:
    runtime.limit_threads(3)
    first, second = runtime.side_by_side(), runtime.side_by_side()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert runtime.threads() == 1
    assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
    second.__exit__(None, None, None)
    assert runtime.threads() == 3


def test_openmp_is_limited_for_the_thread_that_asks() -> None:
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    def count() -> int:
        with runtime.limited_openmp():
            return int(_openmp_effective_n_threads())

    with runtime.limited_blas(1), ThreadPoolExecutor(1) as pool:  # a new thread takes over no limit of another
        assert pool.submit(count).result() == 1


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("8GB", 8 * 10**9), ("500 MB", 500 * 10**6), ("2e9", 2 * 10**9), (2**30, 2**30), ("1.5g", 1_500_000_000),
        ("2GiB", 2 * 2**30), ("512 mib", 512 * 2**20), ("1Ti", 2**40), ("1000kB", 10**6), ("1000000B", 10**6),
    ],
)  # fmt: skip
def test_bytes_are_read_with_decimal_and_binary_units(text: str | int, bytes_: int) -> None:
    assert runtime.parse_bytes(text, "--ram") == bytes_


@pytest.mark.parametrize("text", ["", "GB", "8XB", "-1GB", "1e", "8iB", "1.2.3GB", "1e999GB", "999kB", 0])
def test_what_is_no_number_of_bytes_is_told(text: str | int) -> None:
    with pytest.raises(ConfigError, match=f"--ram is '{text}': expected a number of bytes of 1.0 MB or more"):
        runtime.parse_bytes(text, "--ram")


def test_a_smaller_least() -> None:
    assert runtime.parse_bytes("1.5kB", "it", least=1) == 1500
    with pytest.raises(ConfigError, match="of 1 B or more"):
        runtime.parse_bytes("0", "it", least=1)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (401408, "401.4 kB"), (1.2e9, "1.2 GB"), (3.4e13, "34.0 TB")],
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert runtime.tidy_bytes(count) == text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_tensorflow_comes_in_silence_with_its_threads_and_what_forks_is_told_so_and_does_not_hang() -> None:
    """One process shows all: to import TensorFlow takes three seconds. A download of Keras is silent, too."""
    download = "from featurebank.system.downloads import keras_downloads\nwith keras_downloads('nothing'): pass\n"
    code = IMPORT.replace("tf =", f"\n{download}tf =") + (
        "import os\n"
        "print(tf.config.threading.get_intra_op_parallelism_threads(), flush=True)\n"
        "if os.fork() == 0:\n"
        "    try: import_tensorflow()\n"
        "    except RuntimeError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait(); import_tensorflow(); print('parent', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    threads, first, second = done.stdout.splitlines()
    assert threads == "1"
    assert "forked after TensorFlow had been imported" in first
    assert "get_context('spawn')" in first
    assert second == "parent"
