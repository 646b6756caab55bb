"""Greetings of native code are hidden, and nothing else: not what comes before a failure or a crash."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from featurebank.system.stderr import without_tracing_advice

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import os, sys
from featurebank.system.stderr import without_greetings
def greet():
    os.write(2, b"I0000 00:00:1.2 port.cc:153] oneDNN custom operations are on.\\n")
    os.write(2, b"2026-11-29 10:00:00.1: E external/cuda.cc:52] failed call to cuInit: UNKNOWN ERROR (303)\\n")
with without_greetings():
    greet()
    os.write(2, b"F0000 00:00:1.2 fatal.cc:1] a real fault\\n")
    print("python speaks", file=sys.stderr, flush=True)
    {end}
os.write(2, b"after\\n")
"""


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ("pass", ["a real fault", "python speaks", "after"]),
        ("raise ValueError('broken')", ["oneDNN", "cuInit", "a real fault", "python speaks", "broken"]),
        ("os.abort()", ["oneDNN", "cuInit", "a real fault", "python speaks"]),
        ("os.kill(os.getpid(), 9)", ["oneDNN", "cuInit", "a real fault", "python speaks"]),
    ],
)
def test_what_is_shown(end: str, shown: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("{end}", end)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    for words in ("oneDNN", "cuInit", "a real fault", "python speaks", "broken", "after"):
        assert (words in done.stderr.replace(end, "")) == (words in shown), done.stderr


def test_advice_to_trace_less_is_hidden_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tensorflow")
    advice = "%s out of the last %s calls to %s triggered tf.function retracing. Tracing is expensive"
    with without_tracing_advice():
        logger.warning(advice, 5, 5, "step")
        logger.warning("another line")
    logger.warning(advice, 6, 6, "step")
    assert [record.args for record in caplog.records] == [(), (6, 6, "step")]


_HANDLER = """
import logging, os, sys
from featurebank.system.stderr import without_greetings
for number in range(3):
    with without_greetings():
        logging.getLogger("library").addHandler(logging.StreamHandler())
    logging.getLogger("library").warning("warned %d", number)
print(len(os.listdir("/proc/self/fd")), file=sys.stderr)
"""


def test_a_handler_of_a_log_that_was_set_up_meanwhile_goes_on() -> None:
    """TensorFlow sets one up when it is imported: the stream that it found was closed once, and each line an error."""
    done = subprocess.run(
        [sys.executable, "-c", _HANDLER], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
        text=True, check=False,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert lines[:-1] == ["warned 0", *["warned 1"] * 2, *["warned 2"] * 3]
    assert int(lines[-1]) == 5, "three standard streams, the lasting one, and the directory being listed"
