"""A kernel of a notebook in this interpreter, without the variables by which pytest is recognised."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def environment(place: Path) -> dict[str, str]:
    """The variables of a user's process whose cache and settings are under `place`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "JUPYTER", "COV"))}
    return {
        **kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
        "JUPYTER_DATA_DIR": str(place / "jupyter"), "IPYTHONDIR": str(place / "ipython"), "FEATUREBANK_CACHE": "cache",
    }  # fmt: skip


def this_interpreter() -> dict[str, Any]:
    """The arguments of a kernel manager by which its kernel runs in this interpreter, whatever a user has installed."""
    from jupyter_client.kernelspec import KernelSpecManager

    return {"kernel_name": "python3", "kernel_spec_manager": KernelSpecManager(kernel_dirs=[])}


class Kernel:
    """A running kernel."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self._client = manager, client
        self.pages = ""
        """The HTML of all that was displayed so far, each drawing as it is now."""
        self._displays: dict[str, str] = {}

    def run(self, code: str, *, at: str = "", then: Callable[[Any], None] = lambda manager: None) -> str:
        """Runs a cell and returns what it prints and its error.

        Args:
            code: the cell.
            at: when this was printed, `then` is called, once.
            then: takes the kernel's manager.
        """
        request, text, limit = self._client.execute(code), "", time.monotonic() + 120
        while time.monotonic() < limit:
            message = self._client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
            if "data" in content:
                key = content.get("transient", {}).get("display_id") or str(len(self._displays))
                self._displays[key] = content["data"].get("text/html", "")
                self.pages = "".join(self._displays.values())
            if message["msg_type"] == "error":
                text += f"{content['ename']}: {content['evalue']}\n"
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return text
            if at and at in text:
                at = ""
                then(self.manager)
                if not self.manager.has_kernel or not self.manager.is_alive():
                    return text
        raise AssertionError(text)


@contextlib.contextmanager
def kernel(place: Path) -> Iterator[Kernel]:
    """A kernel that works in the folder `place`."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(**this_interpreter())
    manager.start_kernel(cwd=str(place), env=environment(place))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
