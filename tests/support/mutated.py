"""Files that people write, changed at random: by a slip of the hand, or into what nobody would write."""

from __future__ import annotations

import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GRIDS = sorted((ROOT / "featurebank" / "grid" / "builtin").glob("*.toml"))
PIPELINES = sorted([*(ROOT / "pipelines").glob("*.toml"), *(ROOT / "pipelines" / "small").glob("*.toml")])

VALUES = (
    '""', "''", "[]", "{}", "[[]]", "[{}]", "true", "nan", "-inf", "1e400", "-1", "0", "1.5", "-0.0", "1979-05-27",
    "07:32:00", "9" * 25, "1" + "0" * 400, "9" * 5000, "9223372036854775807", "-9223372036854775808", "0x7fffffff",
    '"' + "long " * 4000 + '"', '"a\\nb"', '"\\u0000"', '"\\u001b[31mred\\u001b[0m"', '"\\U0010ffff"', '"..a:B"', '":"',
    '"a:"', '":b"', '"."', '"sklearn.svm:LinearSVC"', '"sklearn.svm:"', '"os:getcwd"', '"None"', '" "', '"0"', '"-1"',
    '"1e9"', '"auto:"', '"auto:1.5.2GB"', '"random:"', '"random:x"', '"flip,,rotate="', '"noise=1e999"',
    "{ a = { b = 1 } }",
    "[1, [2, [3, [4]]]]", "[" * 3000 + "]" * 3000, "{a=" * 3000 + "1" + "}" * 3000, "[{ a = 1 }, 'b']", '["a", 1]',
    "[nan, inf]", "[0.5, 0.5, 0.5]", '["", ""]', "[true]", '"/dev/zero"', '"pooled"', '"map"', "[" + "1," * 3000 + "]",
)  # fmt: skip
"""What a value is replaced with, in TOML."""


def mutated(text: str, seed: int) -> str:
    """Returns a text with one to three changes."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        text = chance.choice((_value, _value, _key, _line, _letter, _table))(text, chance)
    return text


def _value(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    places = [i for i, line in enumerate(lines) if " = " in line and not line.lstrip().startswith("#")]
    if places:
        i = chance.choice(places)
        lines[i] = lines[i].partition(" = ")[0] + " = " + chance.choice(VALUES)
    return "\n".join(lines)


def _key(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    name = chance.choice(
        ("kind", "tap", "name", "calibrate", "backbone", "weights", "cut", "a.b.c", '""', '"a b"', "epochs")
    )
    lines.insert(chance.randrange(len(lines) + 1), f"{name} = {chance.choice(VALUES)}")
    return "\n".join(lines)


def _line(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    i, j = (chance.randrange(len(lines)) for _ in range(2))
    chance.choice((lambda: lines.pop(i), lambda: lines.insert(i, lines[j]), lambda: lines.insert(i, lines.pop(j))))()
    return "\n".join(lines)


def _letter(text: str, chance: random.Random) -> str:
    i = chance.randrange(len(text) + 1)
    return (
        text[:i]
        + chance.choice(("", "[", "]", '"', "=", "\n", ".", "-", "9", "\t", "#", "é", "\0", "{"))
        + text[i + 1 :]
    )


def _table(text: str, chance: random.Random) -> str:
    header = chance.choice(
        ("[head]", "[[head]]", "[[[head]]]", "[a.b]", "[[variant]]", "[dataset]", "[extract.x]", "[heads]")
    )
    return f"{header}\n{text}" if chance.random() < 0.5 else f"{text}\n{header}\n"
