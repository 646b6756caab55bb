"""Pipeline files: TOML in, the options of all stages out.

Every problem of a file is found before anything starts, and all of them are told at once. What a grid file says depends
on the heads that there are: `featurebank.grid.files` reads those, and
`featurebank.pipeline.variants` reads files with variants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from featurebank.backbone import BackboneOptions
from featurebank.dataset import DatasetOptions
from featurebank.errors import ConfigError, unknown_name
from featurebank.extraction.options import ExtractOptions
from featurebank.finetuning.options import FinetuneOptions
from featurebank.grid.options import GridOptions
from featurebank.system.options import OptionsError, StageOptions, checked_values
from featurebank.system.toml_files import parse_value, read_toml
from featurebank.words import problem_lines, shown


@dataclass(frozen=True, kw_only=True)
class DatasetSection(DatasetOptions):
    """`[dataset]`: which images, and how they are split."""

    name: str
    """As `--dataset`: "digits", a path, "manifest:FILE.csv"."""


@dataclass(frozen=True, kw_only=True)
class ExtractSection(ExtractOptions, BackboneOptions):
    """`[extract]`: the backbone, and how its features are extracted."""

    backbone: str
    """A known name, "MODULE:FUNCTION" or the path of a .keras file."""


@dataclass(frozen=True, kw_only=True)
class HeadsSection(GridOptions):
    """`[heads]`: what is trained on the features, and how."""

    grid: str = "default"
    """A built-in grid or a file; a relative path starts from the pipeline file."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSection(FinetuneOptions):
    """`[finetune]`: the network under a head is trained, too."""

    start: str = field(default="best", metadata={"key": "from"})
    """The head that it begins with: "best", or the beginning of a run's id."""


ONCE = "once"


@dataclass(frozen=True, kw_only=True)
class SelectSection(StageOptions):
    """`[select]`: whether the chosen run is tested."""

    test: bool | Literal["once"] = False
    """true: the test split is opened for the chosen run of each variant; "once": for the best variant alone."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A whole pipeline file; its sections are the options of the stages."""

    dataset: DatasetSection
    extract: ExtractSection
    heads: HeadsSection = field(default_factory=HeadsSection)
    finetune: FinetuneSection | None = None
    select: SelectSection = field(default_factory=SelectSection)


_SECTIONS: Mapping[str, type[StageOptions]] = {
    "dataset": DatasetSection, "extract": ExtractSection, "heads": HeadsSection, "finetune": FinetuneSection,
    "select": SelectSection,
}  # fmt: skip


def read_pipeline(path: str | Path, overrides: Iterable[str] = ()) -> Pipeline:
    """Reads a pipeline file without variants.

    Args:
        path: the TOML file.
        overrides: "SECTION.KEY=VALUE" each, the value in TOML's spelling (quotes around a plain word may be left out).

    Raises:
        ConfigError: the file cannot be read or is wrong, or it has variants; the message has every problem.
    """
    _, value = read_toml(Path(path), "pipeline file")
    for text in overrides:
        override(value, text)
    if "variant" in value:
        message = f"{path} has variants: 'featurebank run' runs them one after another, read_variants reads them"
        raise ConfigError(message)
    found = parse_pipeline(value, Path(path).parent)
    if isinstance(found, Pipeline):
        return found
    raise ConfigError(problem_lines((problem.text for problem in found), f"{path}: "))


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a pipeline."""

    place: tuple[str, ...]
    """Section and key."""
    text: str
    """The same and what was expected there, for people."""


class FileProblem(NamedTuple):
    """One thing that is wrong with a pipeline file."""

    place: tuple[str, ...]
    """Section and key."""
    text: str
    """The same and what was expected there, for people."""


def parse_pipeline(value: Mapping[str, Any], folder: Path) -> Pipeline | list[FileProblem]:
    """Checks the values of a pipeline.

    Args:
        value: a dict for each section.
        folder: of the pipeline file, where a relative path of a grid starts from.

    Returns:
        The pipeline, or everything that is wrong.
    """
    problems = [
        FileProblem((name,), str(unknown_name("key", name, _SECTIONS))) for name in value if name not in _SECTIONS
    ]
    sections: dict[str, Any] = {}
    for name, kind in _SECTIONS.items():
        if name in value:
            sections[name] = _section(name, kind, value[name], problems)
        elif name in {"dataset", "extract"}:
            problems.append(FileProblem((name,), f"'{name}' is missing"))
    if problems:
        return problems
    pipeline = Pipeline(**sections)
    grid = folder / pipeline.heads.grid
    if pipeline.heads.grid.endswith(".toml") and grid.is_file():
        return replace(pipeline, heads=replace(pipeline.heads, grid=str(grid)))
    return pipeline


def _section(name: str, kind: type[StageOptions], value: Any, problems: list[FileProblem]) -> StageOptions | None:
    """Makes the options of a section; where that fails, adds why to the problems and returns None."""
    if not isinstance(value, Mapping):
        problems.append(FileProblem((name,), f"'{name}' is {shown(value)}: expected a section, as [{name}]"))
        return None
    known = {_key(one): one for one in fields(kind)}
    for key in value:
        if key not in known:
            message = str(unknown_name("key", f"{name}.{key}", [f"{name}.{other}" for other in known]))
            problems.append(FileProblem((name, key), message))
    missing = [key for key, one in known.items() if key not in value and one.default is MISSING]
    problems += [FileProblem((name, key), f"'{name}.{key}' is missing") for key in missing]
    given = {one.name: value[key] for key, one in known.items() if key in value}
    keys = {one.name: key for key, one in known.items()}
    try:
        if not missing:
            return kind(**given)
        wrong = checked_values(kind, given)[1]
    except OptionsError as error:
        wrong = list(error.problems)
    problems += [
        FileProblem((name, keys.get(one.name, "")), one.told(lambda option: f"'{name}.{keys[option]}'"))
        for one in wrong
    ]
    return None


def _key(one: Any) -> str:
    """Returns the key of a file that a field has."""
    return str(one.metadata.get("key", one.name))


def override(value: dict[str, Any], text: str) -> None:
    """Puts one value into the sections of a pipeline file.

    Args:
        value: a dict for each section; changed in place.
        text: "SECTION.KEY=VALUE".

    Raises:
        ConfigError: the text has another form, or the section is none.
    """
    name, equals, given = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        message = f"--set {text}: expected SECTION.KEY=VALUE, as --set heads.seeds=3"
        raise ConfigError(message)
    if not isinstance(value.setdefault(section, {}), dict):
        message = f"--set {text}: '{section}' is no section of the file"
        raise ConfigError(message)
    value[section][key] = parse_value(given.strip())
