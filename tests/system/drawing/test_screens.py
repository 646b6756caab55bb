"""Where progress is drawn: what a drawing leaves behind."""

from __future__ import annotations

import subprocess
import sys

_STREAMS = """
import contextlib, itertools, sys, time
from featurebank.system.drawing.bars import ShownWork
from featurebank.system.drawing.console import SafeConsole
from featurebank.system.drawing.screens import TerminalScreen
from featurebank.system.stderr import without_greetings

class Terminal(SafeConsole):
    is_terminal = True

work = ShownWork("extract", 8, "images", 0.0)
before = sys.stdout, sys.stderr
for order in set(itertools.permutations("draw leave enter exit".split())):
    if order.index("draw") > order.index("leave") or order.index("enter") > order.index("exit"):
        continue
    screen, quiet = TerminalScreen(Terminal(stderr=True), 0.0, lambda: 1.0), contextlib.ExitStack()
    for act in order:
        if act == "draw":
            screen.draw([work], 1.0)
        elif act == "leave":
            screen.leave(work, 1.0)
        elif act == "enter":
            quiet.enter_context(without_greetings())
        else:
            quiet.close()
        print("still there", file=sys.stderr)
    if (sys.stdout, sys.stderr) != before:
        sys.exit(f"{order}: {sys.stdout}, {sys.stderr}")
"""


def test_a_drawing_gives_the_streams_back_in_whatever_order_it_and_others_end() -> None:
    """A drawing that began while native log lines were hidden, and ended later, once left a closed standard error."""
    done = subprocess.run([sys.executable, "-c", _STREAMS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("still there") == 6 * 4
