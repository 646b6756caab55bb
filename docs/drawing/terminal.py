"""What commands print on a terminal, as pictures: rich turns their control sequences into SVG."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
from rich.text import Text

DURATION = re.compile(r"\b\d[\d.]* (s|images/s)\b")
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": DIMMED_MONOKAI}


def printed(*words: str, place: Path, columns: int) -> str:
    """Returns what a command of featurebank prints on a terminal, with its control sequences."""
    environment = {name: value for name, value in os.environ.items() if name not in {"FEATUREBANK_CACHE", "NO_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "featurebank", "-q", *words], cwd=place, check=True, text=True, stdout=subprocess.PIPE,
        env={**environment, "COLUMNS": str(columns), "FORCE_COLOR": "1", "TERM": "xterm-256color"},
    )  # fmt: skip
    return done.stdout


def session(*commands: Sequence[str], place: Path, columns: int) -> str:
    """Returns what a terminal shows after some commands of featurebank: each as it is typed, and what it prints.

    Seconds and images a second are left out, because they say more of this machine than of featurebank.
    """
    shown = "\n".join(
        f"\x1b[1m$ featurebank {' '.join(words)}\x1b[0m\n{printed(*words, place=place, columns=columns)}"
        for words in commands
    )
    return DURATION.sub(r"… \1", shown)


def window(title: str, text: str, mode: str, columns: int) -> str:
    """Returns a terminal window as SVG; it names no font of the network, and every reader has a monospaced one."""
    console = Console(record=True, width=columns, file=StringIO(), color_system="truecolor", force_terminal=True)
    for line in lines(text, columns):
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    svg = console.export_svg(title=title, theme=THEMES[mode], unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace('stroke="rgba(255,255,255,0.35)"', 'stroke="#808080"')  # a frame that is seen on white, too
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def lines(text: str, columns: int) -> Sequence[Text]:
    """Returns the lines of a text as a terminal breaks them, without empty ones at the ends."""
    whole = [Text.from_ansi(line.rstrip()) for line in text.rstrip().splitlines()]
    broken = [part for line in whole for part in line.divide(range(columns, len(line), columns))]
    while not broken[0].plain.strip():
        broken.pop(0)
    return broken
