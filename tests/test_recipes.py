"""The recipes of docs/guide/scale.md work: those that need only this machine run, and Slurm's job script is built."""

from __future__ import annotations

import ast
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import ended

from featurebank.bank.catalog import banks_of

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    """Returns the block of a language that contains a word; there is one."""
    (found,) = [text for text in re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S) if word in text]
    return found.replace("resnet50", "efficientnet_lite0")  # whose weights are installed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with photos, 40 of two classes."""
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "photos" / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 48, 3), np.uint8)).save(path)
    return tmp_path


def environment() -> dict[str, str]:
    values = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False"}
    values.pop("FEATUREBANK_CACHE", None)
    return values


def images_in(cache: Path) -> list[int | None]:
    return [bank.images for bank in banks_of(cache)]


@pytest.mark.slow
def test_a_scheduler_in_ones_own_python(place: Path) -> None:
    (place / "own.py").write_text("import featurebank as fb\n" + block("python", "LocalCluster").replace("=4", "=2"))
    done = subprocess.run(
        [sys.executable, "own.py"], cwd=place, env=environment(), capture_output=True, text=True, check=False,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert images_in(place / "cache") == [40]


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.slow
def test_a_scheduler_and_workers_of_any_machines(place: Path, started: ExitStack) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = block("bash", "on each machine").replace("192.0.2.10:8786", f"127.0.0.1:{port}")
    scheduler, worker, extract = [shlex.split(line, comments=True) for line in text.splitlines()]
    for words in ([*scheduler, "--host", "127.0.0.1", "--port", str(port)], worker):
        command = [sys.executable, "-m", *words, "--no-dashboard"]
        started.enter_context(
            ended(subprocess.Popen(command, cwd=place, env=environment(), stderr=subprocess.DEVNULL, text=True))
        )
    done = subprocess.run(
        [sys.executable, "-m", *extract], cwd=place, env=environment(), capture_output=True, text=True, check=False,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert images_in(place / "cache") == [40]


@pytest.mark.filterwarnings("ignore:Port 8787 is already in use")
def test_slurm_gets_a_job_for_each_worker() -> None:
    import dask
    import dask_jobqueue  # noqa: F401 - it adds its part to Dask's configuration

    code = ast.parse(block("python", "SLURMCluster"))
    until = next(number for number, line in enumerate(code.body) if "scale(" in ast.unparse(line))
    names: dict[str, object] = {}
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with dask.config.set({"jobqueue.slurm.scheduler-options": quiet}):
        exec(compile(ast.Module(code.body[:until], []), "recipe", "exec"), names)
    with names["cluster"] as cluster:  # type: ignore[attr-defined]
        script = cluster.job_script()
    assert "#SBATCH --cpus-per-task=8" in script
    assert "#SBATCH -t 04:00:00" in script
    assert re.search(r"dask_worker tcp://\S+ .*--nthreads 8 ", script)
