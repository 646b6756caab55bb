"""Searches texts for a regular expression within a limit of time: some expressions take years on an ordinary path.

Python's `re` goes back and forth, so that "(a+)+$" doubles its time with each further letter, and it holds up all
threads meanwhile. So it works in a process of its own, which is ended when the time is over.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from featurebank.errors import ConfigError
from featurebank.words import counted

_PROGRAM = """
import json, re, sys
pattern, group, texts = json.load(sys.stdin)
json.dump([match and match[group] for match in map(re.compile(pattern).search, texts)], sys.stdout)
"""
_SECONDS, _TEXTS_A_SECOND = 20.0, 10_000


def search_all(pattern: re.Pattern[str], group: str, texts: Sequence[str]) -> list[str]:
    """Returns the part of each text that a group of a regular expression finds; "" where it finds none.

    Args:
        pattern: the regular expression, which has the group.
        group: the name of the group.
        texts: what is searched.

    Raises:
        ConfigError: it takes too long, or needs too much memory.

    Example:
        >>> search_all(re.compile("(?P<group>[a-z]+)/"), "group", ["ant/1.png", "2.png"])
        ['ant', '']
    """
    limit = _SECONDS + len(texts) / _TEXTS_A_SECOND
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM], input=json.dumps([pattern.pattern, group, list(texts)]),
            capture_output=True, encoding="utf-8", errors="replace", timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _refused(pattern, texts, f"takes more than {limit:.0f} s") from error
    if done.returncode:
        raise _refused(pattern, texts, f"fails ({done.stderr.strip().rpartition(chr(10))[2] or done.returncode})")
    return [found or "" for found in json.loads(done.stdout)]


def _refused(pattern: re.Pattern[str], texts: Sequence[str], what: str) -> ConfigError:
    return ConfigError(
        f"the regular expression '{pattern.pattern}' {what} for {counted(len(texts), 'path')}: expected one without "
        "repetitions inside of repetitions, as [^/]+ in place of (.+)+"
    )
