"""Measures in processes of their own, so that neither memory nor caches of one measurement serve another.

`measure(function, **arguments)` runs a function of this package, named `module:function`, in a new process, and returns
its result, a JSON object, with the peak of its memory.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_MARK = "figures: "


def measure(function: str, threads: int | None = None, **arguments: Any) -> dict[str, Any]:
    """Calls a function in a new process.

    Args:
        function: as "workers:compute_pieces".
        threads: the threads that the process may use; None for all.
        arguments: of the function, values of JSON.

    Returns:
        The result of the function, with `peak_bytes` and `began`, the seconds from its start to the call.

    Raises:
        RuntimeError: the process failed; the message has the end of its output.
    """
    call = json.dumps({"function": function, "threads": threads, "began": time.time(), "arguments": arguments})
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale.child", call],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        message = f"{function} failed: {done.stderr[-3000:]}"
        raise RuntimeError(message)
    result: dict[str, Any] = json.loads(lines[-1].removeprefix(_MARK))
    return result


def peak_bytes() -> int:
    """Returns the largest memory of this process so far, without what its parent had when it was started."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    from featurebank.system.runtime import limit_threads

    call = json.loads(sys.argv[1])
    limit_threads(call["threads"])
    began = time.time() - call["began"]
    module, _, name = call["function"].partition(":")
    result = getattr(importlib.import_module(f"benchmarks.scale.{module}"), name)(**call["arguments"])
    print(_MARK + json.dumps({"began": began, **result, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
