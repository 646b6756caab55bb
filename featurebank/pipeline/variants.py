"""Reads pipeline files with variants, which run the same pipeline several times with other values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError, unknown_name
from featurebank.pipeline.config import SECTIONS, FileProblem, Pipeline, key_of, override, parse_pipeline
from featurebank.system.toml_files import read_toml
from featurebank.words import problem_lines, shown


@dataclass(frozen=True)
class Variant:
    """One of the pipelines of a file."""

    name: str
    """Empty if the file has no variants."""
    pipeline: Pipeline


def variants_from_file(path: Path, overrides: Iterable[str] = (), only: Iterable[str] = ()) -> list[Variant]:
    """Reads a pipeline file, with or without variants; see `featurebank.read_variants`."""
    _, value = read_toml(path, "pipeline file")
    blocks = value.pop("variant", None)
    problems = [] if blocks is None else list(_wrong_blocks(blocks))
    if problems:
        raise ConfigError(problem_lines(problems, f"{path}: "))
    own: list[dict[str, Any]] = [{}] if blocks is None else blocks
    for text in overrides:
        _override(value, own, text)
    pipelines = [
        parse_pipeline(_merged(value, {name: v for name, v in block.items() if name != "name"}), path.parent)
        for block in own
    ]
    if problems := list(_problem_texts(own, [part if isinstance(part, list) else [] for part in pipelines])):
        raise ConfigError(problem_lines(problems, f"{path}: "))
    pairs = zip(own, pipelines, strict=True)
    variants = [Variant(block.get("name", ""), part) for block, part in pairs if isinstance(part, Pipeline)]
    return _select(variants, list(only), str(path))


def _override(value: dict[str, Any], blocks: Sequence[dict[str, Any]], text: str) -> None:
    """Sets one value in a variant if the text starts with its name, or otherwise in the sections of the file."""
    for block in blocks:
        start = f"{block.get('name', '')}."
        if text.startswith(start) and "." in text.removeprefix(start).partition("=")[0]:
            override(block, text.removeprefix(start))
            return
    override(value, text)


def _wrong_blocks(blocks: Any) -> Iterator[str]:
    """Yields problems with the form and the names of variants."""
    if not (isinstance(blocks, list) and blocks and all(isinstance(block, dict) for block in blocks)):
        yield f"'variant' is {shown(blocks)}: expected [[variant]] blocks, each with a name"
        return
    for number, block in enumerate(blocks, 1):
        if "name" not in block:
            yield f"variant {number}: 'name' is missing"
        elif not isinstance(block["name"], str) or not block["name"].strip():
            yield f"variant {number}: 'name' is {shown(block['name'])}: expected a word or more"
    names = Counter(block["name"] for block in blocks if isinstance(block.get("name"), str))
    yield from (f"{count} variants have the name '{name}'" for name, count in names.items() if count > 1)


def _merged(below: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sections of a file, overridden by those of a variant; `false` leaves out a section or a key."""
    merged = dict(below)
    for name, value in own.items():
        if name not in SECTIONS:  # an error, which is reported with the others
            merged[name] = value
        elif value is False:
            merged.pop(name, None)
        else:
            keys = [key_of(one) for one in fields(SECTIONS[name]) if not isinstance(one.default, bool)]
            merged[name] = _overridden(below.get(name), value, keys)
    return merged


def _overridden(below: Any, own: Any, left_out: Collection[str] | None = None) -> Any:
    """Returns the value of a variant: a table has the keys of the file's table, too.

    Args:
        below: the value of the file.
        own: that of the variant.
        left_out: the keys that `false` leaves out, as it is no value of theirs; by default all.
    """
    if not isinstance(own, dict):
        return own
    joined = dict(below) if isinstance(below, dict) else {}
    for key, value in own.items():
        if value is False and (left_out is None or key in left_out):
            joined.pop(key, None)
        else:
            joined[key] = _overridden(joined.get(key), value)
    return joined


def _problem_texts(
    blocks: Sequence[Mapping[str, Any]], problem_lists: Sequence[Sequence[FileProblem]]
) -> Iterator[str]:
    """Yields each problem once, with the name of the variant if the variant sets the value."""
    missing = Counter(problem for problems in problem_lists for problem in problems)
    texts = set()
    for block, problems in zip(blocks, problem_lists, strict=True):
        for problem in problems:
            everywhere = missing[problem] == len(blocks) and not _sets(block, problem.place)
            text = problem.text if everywhere or "name" not in block else f"variant '{block['name']}': {problem.text}"
            if text not in texts:
                texts.add(text)
                yield text


def _sets(block: Mapping[str, Any], place: Sequence[str]) -> bool:
    """Returns whether a variant itself sets the value at a place."""
    section = block.get(place[0])
    return section is not None and (not isinstance(section, dict) or len(place) == 1 or place[1] in section)


def _select(variants: list[Variant], only: Sequence[str], path: str) -> list[Variant]:
    if not only:
        return variants
    names = [variant.name for variant in variants if variant.name]
    if not names:
        message = f"{path} has no variants, so there is none of the name '{only[0]}': leave --variant out"
        raise ConfigError(message)
    for name in only:
        if name not in names:
            raise unknown_name("variant", name, names)
    return [variant for variant in variants if variant.name in only]
