"""Pipeline files with variants: the same pipeline several times, each time with other values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError, unknown_name
from featurebank.pipeline.config import FileProblem, Pipeline, override, parse_pipeline
from featurebank.system.toml_files import read_toml
from featurebank.words import problem_lines, shown


@dataclass(frozen=True)
class Variant:
    """One of the pipelines of a file."""

    name: str
    """Empty where the file has no variants."""
    pipeline: Pipeline


def read_variants(path: str | Path, overrides: Iterable[str] = (), only: Iterable[str] = ()) -> list[Variant]:
    """Reads a pipeline file, with or without variants.

    A `[[variant]]` has a `name` and any of the sections. Its keys lie over those of the file; what it does not give
    stays. `false` takes away what the file gives: `finetune = false`, `dataset.classes = false`.

    Args:
        path: the TOML file.
        overrides: as in `read_pipeline`. They change the sections of the file, and variants lie over them;
            "VARIANT.SECTION.KEY=VALUE" changes those of one variant.
        only: the names of the variants wanted; none for all.

    Returns:
        The variants in the order of the file; one without a name where the file has none.

    Raises:
        UnknownNameError: there is no variant of a name in `only`.
        ConfigError: the file cannot be read or is wrong; the message has every problem.
    """
    _, value = read_toml(Path(path), "pipeline file")
    blocks = value.pop("variant", None)
    problems = [] if blocks is None else list(_wrong_blocks(blocks))
    if problems:
        raise ConfigError(problem_lines(problems, f"{path}: "))
    own: list[dict[str, Any]] = [{}] if blocks is None else blocks
    for text in overrides:
        _override(value, own, text)
    found = [
        parse_pipeline(_laid_over(value, {name: v for name, v in block.items() if name != "name"}), Path(path).parent)
        for block in own
    ]
    if problems := list(_told(own, [part if isinstance(part, list) else [] for part in found])):
        raise ConfigError(problem_lines(problems, f"{path}: "))
    pairs = zip(own, found, strict=True)
    variants = [Variant(block.get("name", ""), part) for block, part in pairs if isinstance(part, Pipeline)]
    return _chosen(variants, list(only), str(path))


def _override(value: dict[str, Any], blocks: Sequence[dict[str, Any]], text: str) -> None:
    """Puts one value into a variant, where the text begins with the name of one, else into the file's sections."""
    for block in blocks:
        start = f"{block.get('name', '')}."
        if text.startswith(start) and "." in text.removeprefix(start).partition("=")[0]:
            override(block, text.removeprefix(start))
            return
    override(value, text)


def _wrong_blocks(blocks: Any) -> Iterator[str]:
    """Yields what is wrong with the form and the names of variants."""
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


def _laid_over(below: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sections of a file, or the keys of one, with those of a variant over them."""
    made = dict(below)
    for name, value in own.items():
        under = below.get(name)
        if isinstance(under, dict) and isinstance(value, dict):
            made[name] = _laid_over(under, value)
        elif value is False and (name == "finetune" or (name in below and not isinstance(under, bool))):
            made.pop(name, None)
        else:
            made[name] = value
    return made


def _told(blocks: Sequence[Mapping[str, Any]], found: Sequence[Sequence[FileProblem]]) -> Iterator[str]:
    """Yields each problem once: with the name of its variant where that gives the value, else as one of the file."""
    missing = Counter(problem for problems in found for problem in problems)
    told = set()
    for block, problems in zip(blocks, found, strict=True):
        for problem in problems:
            everywhere = missing[problem] == len(blocks) and not _gives(block, problem.place)
            text = problem.text if everywhere or "name" not in block else f"variant '{block['name']}': {problem.text}"
            if text not in told:
                told.add(text)
                yield text


def _gives(block: Mapping[str, Any], place: Sequence[str]) -> bool:
    """Tells whether a variant itself has a value at a place."""
    section = block.get(place[0])
    return section is not None and (not isinstance(section, dict) or len(place) == 1 or place[1] in section)


def _chosen(variants: list[Variant], only: Sequence[str], path: str) -> list[Variant]:
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
