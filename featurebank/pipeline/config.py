"""Parses pipeline files: TOML -> the options of all stages.

All problems of a file are reported at once, before anything starts. `featurebank.grid.files` reads grid files, and
`featurebank.pipeline.variants` reads files with variants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import MinLen

from featurebank.backbone import BackboneOptions
from featurebank.dataset import DatasetOptions
from featurebank.errors import ConfigError, unknown_name
from featurebank.extraction.options import ExtractOptions
from featurebank.finetuning.options import FinetuneOptions
from featurebank.grid.options import GridOptions
from featurebank.racing.options import RaceLimits
from featurebank.reporting.stage import ReportOptions
from featurebank.system.options import OptionsError, StageOptions, checked_values
from featurebank.system.toml_files import parse_value, read_toml
from featurebank.training.monitors import MONITOR, monitor_check, monitor_of
from featurebank.words import problem_lines, shown


@dataclass(frozen=True, kw_only=True)
class DatasetSection(DatasetOptions):
    """`[dataset]`: the images and their split."""

    name: str
    """As `--dataset`: "digits", a path, "manifest:FILE.csv"."""


@dataclass(frozen=True, kw_only=True)
class ExtractSection(ExtractOptions, BackboneOptions):
    """`[extract]`: the backbone, and the options of the extraction."""

    backbone: str = ""
    """A built-in name, "MODULE:FUNCTION" or the path of a model file (.keras, .onnx, .xml); none with `[race]`."""


@dataclass(frozen=True, kw_only=True)
class RaceSection(RaceLimits):
    """`[race]`: the backbones of which the best one takes the place of `extract.backbone`."""

    backbones: Annotated[Sequence[str], MinLen(2), "a list of two or more backbones, as ['resnet50', 'vgg16']"]
    """Each as NAME, NAME@WEIGHTS, NAME@SIZEpx or NAME@WEIGHTS@SIZEpx."""


@dataclass(frozen=True, kw_only=True)
class HeadsSection(GridOptions):
    """`[heads]`: the heads to train on the features, and the options of the training."""

    grid: str = "default"
    """A built-in grid or a file; a relative path starts from the pipeline file."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSection(FinetuneOptions):
    """`[finetune]`: options for training the network under a head."""

    start: str = field(default="best", metadata={"key": "from"})
    """The head to start from: "best", or the beginning of a run's id."""


ONCE = "once"


@dataclass(frozen=True, kw_only=True)
class SelectSection(StageOptions):
    """`[select]`: whether the selected run is tested."""

    test: bool | Literal["once"] = False
    """true: evaluate the selected run of each variant on the test split; "once": only that of the best variant."""
    metric: Annotated[str, MinLen(1), "the name of a metric, as 'balanced_accuracy'"] | None = None
    """What decides which run is selected; default: the metric of [heads]."""


@dataclass(frozen=True, kw_only=True)
class ReportSection(ReportOptions):
    """`[report]`: the page about the banks of the pipeline; its own earlier report is replaced without `force`."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A whole pipeline file; its sections are the options of the stages."""

    dataset: DatasetSection
    extract: ExtractSection = field(default_factory=ExtractSection)
    race: RaceSection | None = None
    heads: HeadsSection = field(default_factory=HeadsSection)
    finetune: FinetuneSection | None = None
    select: SelectSection = field(default_factory=SelectSection)
    report: ReportSection | None = None

    @property
    def metric(self) -> str:
        """The name of the metric that selects the run."""
        return self.select.metric or self.heads.metric


SECTIONS: Mapping[str, type[StageOptions]] = {
    "dataset": DatasetSection, "extract": ExtractSection, "race": RaceSection,
    "heads": HeadsSection, "finetune": FinetuneSection,
    "select": SelectSection, "report": ReportSection,
}  # fmt: skip


def pipeline_from_file(path: Path, overrides: Iterable[str] = ()) -> Pipeline:
    """Reads a pipeline file without variants; see `featurebank.read_pipeline`."""
    _, value = read_toml(path, "pipeline file")
    for text in overrides:
        override(value, text)
    if "variant" in value:
        message = f"{path} has variants: 'featurebank run' runs them one after another, read_variants reads them"
        raise ConfigError(message)
    result = parse_pipeline(value, path.parent)
    if isinstance(result, Pipeline):
        return result
    raise ConfigError(problem_lines((problem.text for problem in result), f"{path}: "))


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
        folder: the folder of the pipeline file; a relative path of a grid starts from it.

    Returns:
        The pipeline, or all problems.
    """
    problems = [
        FileProblem((name,), str(unknown_name("key", name, SECTIONS))) for name in value if name not in SECTIONS
    ]
    sections: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        if name in value:
            sections[name] = _section(name, kind, value[name], problems)
        elif name == "dataset" or (name == "extract" and "race" not in value):
            problems.append(FileProblem((name,), f"'{name}' is missing"))
    problems += _wrong_networks(value)
    if problems:
        return problems
    pipeline = _with_monitor(Pipeline(**sections), value)
    grid = folder / pipeline.heads.grid
    if pipeline.heads.grid.endswith(".toml") and grid.is_file():
        return replace(pipeline, heads=replace(pipeline.heads, grid=str(grid)))
    return pipeline


def _with_monitor(pipeline: Pipeline, value: Mapping[str, Any]) -> Pipeline:
    """Returns a pipeline whose fine-tune monitors what selects the run, unless its section names a monitor."""
    if pipeline.finetune is None or MONITOR in value["finetune"]:
        return pipeline
    monitor = monitor_of(pipeline.metric)
    if not monitor_check(monitor).holds:  # an unknown metric, which is refused with all other problems later
        return pipeline
    return replace(pipeline, finetune=replace(pipeline.finetune, monitor=monitor))


def _wrong_networks(value: Mapping[str, Any]) -> list[FileProblem]:
    """Returns the problem of a file that names no network, or one beside those of a race."""
    extract = value.get("extract", {})
    if not isinstance(extract, Mapping):
        return []
    if "race" in value and "backbone" in extract:
        text = "'extract.backbone' and [race] exclude each other: leave one of them out"
        return [FileProblem(("extract", "backbone"), text)]
    if "extract" in value and "race" not in value and not extract.get("backbone"):
        return [FileProblem(("extract", "backbone"), "'extract.backbone' is missing")]
    return []


def _section(name: str, kind: type[StageOptions], value: Any, problems: list[FileProblem]) -> StageOptions | None:
    """Returns the options of a section; if they are invalid, adds their problems to `problems` and returns None."""
    if not isinstance(value, Mapping):
        problems.append(FileProblem((name,), f"'{name}' is {shown(value)}: expected a section, as [{name}]"))
        return None
    known = {key_of(one): one for one in fields(kind)}
    for key in value:
        if key not in known:
            message = str(unknown_name("key", f"{name}.{key}", [f"{name}.{other}" for other in known]))
            problems.append(FileProblem((name, key), message))
    missing = [key for key, one in known.items() if key not in value and one.default is MISSING]
    problems += [FileProblem((name, key), f"'{name}.{key}' is missing") for key in missing]
    values = {one.name: value[key] for key, one in known.items() if key in value}
    keys = {one.name: key for key, one in known.items()}
    try:
        if not missing:
            return kind(**values)
        wrong = checked_values(kind, values)[1]
    except OptionsError as error:
        wrong = list(error.problems)
    problems += [
        FileProblem((name, keys.get(one.name, "")), one.sentence(lambda option: f"'{name}.{keys[option]}'"))
        for one in wrong
    ]
    return None


def key_of(one: Any) -> str:
    """Returns the key in the file for a field."""
    return str(one.metadata.get("key", one.name))


def override(value: dict[str, Any], text: str) -> None:
    """Sets one value in the sections of a pipeline file.

    Args:
        value: a dict for each section; changed in place.
        text: "SECTION.KEY=VALUE".

    Raises:
        ConfigError: the text has another form, or the section does not exist.
    """
    name, equals, new = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        message = f"--set {text}: expected SECTION.KEY=VALUE, as --set heads.seeds=3"
        raise ConfigError(message)
    if not isinstance(value.setdefault(section, {}), dict):
        message = f"--set {text}: '{section}' is no section of the file"
        raise ConfigError(message)
    value[section][key] = parse_value(new.strip())
