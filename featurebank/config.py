"""Pipeline files: TOML in, validated and frozen specifications out.

Every problem of a file is found before anything starts, and all of them are told at once. What a grid file says depends
on the heads that there are: `featurebank.grid.files` reads those. `featurebank.variants` reads files with variants.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from featurebank.errors import ConfigError, unknown_name
from featurebank.files import read_regular
from featurebank.words import one_line, problem_lines, shown


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatasetSection(_Section):
    """`[dataset]`: which images, and how they are split."""

    name: str
    """As `--dataset`: "digits", a path, "manifest:FILE.csv"."""
    split: Annotated[list[float], Field(min_length=2, max_length=3)] | None = None
    """Fractions of training, validation and test images."""
    seed: int = 0
    """Of the split."""
    test: str | None = None
    """Another dataset, as `name`, whose images are the test split; `split` has two fractions then."""
    classes: Annotated[list[str], Field(min_length=2)] | None = None
    """Of these classes only."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """So many images in all."""
    per_class: Annotated[int, Field(ge=1)] | None = None
    """So many images of each class."""


class ExtractSection(_Section):
    """`[extract]`: the backbone and what is stored of it."""

    backbone: str
    """A known name, "MODULE:FUNCTION" or the path of a .keras file."""
    weights: str | None = None
    """"imagenet", "random:SEED" or a file; by default the network's own."""
    preprocessing: str | None = None
    """Of a network of your own that does not declare it; of a known one in place of its own."""
    image_size: int | None = None
    resize: str | None = None
    """How images become square: "auto" (the default), "crop", "whole", "stretch" or "pad"."""
    levels: str | None = None
    """What becomes black and white in grey images of more than eight bits, as "0,4095", "auto" or "auto:1,99"."""
    taps: Annotated[list[str], Field(min_length=1)] = ["pooled"]
    engine: str = "auto"
    batch_size: Annotated[int, Field(ge=1)] = 32
    store: Literal["float32", "float16"] | None = None
    on_bad_image: Literal["skip", "fail"] = "skip"
    max_bad: Annotated[float, Field(ge=0, le=1)] | None = None
    """The share of images that may be bad before the run fails; by default any number of broken ones, a tenth lost."""
    views: Annotated[int, Field(ge=0)] = 0
    """Augmented views of each image beside the clean one."""
    augment: str | None = None
    """What the views are, as "flip,rotate=10,zoom=.2"."""
    precision: Literal["float32", "bfloat16"] = "float32"
    wait: bool = False
    """Wait for another process that writes the bank."""


def _folds(value: Any) -> Any:
    """Checks a number of folds; a union of types would give a line for each type."""
    if value is None or value == "given" or (isinstance(value, int) and not isinstance(value, bool) and value >= 2):  # noqa: PLR2004
        return value
    message = "expected a whole number of 2 or more, or 'given' for the dataset's own"
    raise ValueError(message)


class HeadsSection(_Section):
    """`[heads]`: what is trained on the features."""

    grid: str = "default"
    """A built-in grid or a file; a relative path starts from the pipeline file."""
    seeds: Annotated[int, Field(ge=1)] = 1
    taps: Annotated[list[str], Field(min_length=1)] | None = None
    """What heads are trained on that name no tap themselves, one after another."""
    search: Literal["all", "random", "halving"] = "all"
    """Which heads of the grid are trained."""
    runs: Annotated[int, Field(ge=1)] | None = None
    """So many heads of the grid at random, with search = "random"."""
    folds: Annotated[int | Literal["given"] | None, PlainValidator(_folds)] = None
    """Judge heads on so many folds of the training and validation images, in place of the validation images; "given"
    are the dataset's own."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """So many different divisions into folds."""
    budget: Annotated[float, Field(gt=0)] | None = None
    """Seconds that the heads may take."""
    retry_failed: bool = False
    """Train anew what failed before."""


class FinetuneSection(_Section):
    """`[finetune]`: the network under a head is trained, too; see `featurebank.finetuning.Options`."""

    start: str = Field("best", alias="from")
    """The head that it begins with: "best", or the beginning of a run's id."""
    unfreeze: list[str] = []
    """One phase each: the beginning of the names of layers, a cut point, "all" or "head"."""
    progressive: bool = False
    """Instead: one phase for each size of map, back from the top."""
    epochs: int | list[int] = 6
    """Of each phase at most, or one for each; so are the next two."""
    learning_rate: float | list[float] | None = None
    patience: int | list[int] = 3
    keep_going: bool = False
    batch_norm: str | None = None
    """"train" or "frozen"; by default what the backbone says."""
    batch_norm_momentum: float | None = None
    layer_decay: float = 1.0
    global_clipnorm: float | None = None
    augment: str | None = None
    """What training images go through in each epoch."""
    dropout: float = 0.0
    normalize: bool = False
    mixed_precision: bool = False
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float | None = None
    schedule: str = "cosine"
    decay: float = 0.0
    warmup: float = 0.0
    plateau_factor: float = 0.1
    plateau_patience: int = 2
    plateau_floor: float = 0.0
    label_smoothing: float = 0.0
    class_weight: str | list[float] | None = None
    batch_size: int = 32
    min_delta: float = 0.0
    monitor: str = "val_accuracy"
    seed: int = 0
    validate_every: int | None = None
    validate_on: str = "all"
    """Within an epoch: "all" validation images, or the "part" whose turn it is."""
    checkpoint_every: int | None = 200


ONCE = "once"


def _test_of(value: Any) -> Any:
    """Checks `select.test` in one step, so that a wrong value is one problem, not one of each type."""
    if isinstance(value, bool) or value == ONCE:
        return value
    kind, message = "boolean", f"Input should be a valid boolean or '{ONCE}'"
    raise PydanticCustomError(kind, message)


class SelectSection(_Section):
    """`[select]`: whether the chosen run is tested."""

    test: Annotated[bool | Literal["once"], PlainValidator(_test_of)] = False
    """true: the test split is opened for the chosen run of each variant; "once": for the best variant alone."""


class Pipeline(_Section):
    """A whole pipeline file."""

    dataset: DatasetSection
    extract: ExtractSection
    heads: HeadsSection = HeadsSection()
    finetune: FinetuneSection | None = None
    select: SelectSection = SelectSection()


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


def parse_pipeline(value: Mapping[str, Any], folder: Path) -> Pipeline | list[Problem]:
    """Checks the values of a pipeline.

    Args:
        value: a dict for each section.
        folder: of the pipeline file, where a relative path of a grid starts from.

    Returns:
        The pipeline, or everything that is wrong.
    """
    try:
        pipeline = Pipeline.model_validate(value)
    except pydantic.ValidationError as error:
        found = ((tuple(map(str, e["loc"])), e) for e in error.errors())
        return [Problem(place, _problem(Pipeline, place, e["type"], e["msg"], e["input"])) for place, e in found]
    grid = folder / pipeline.heads.grid
    if pipeline.heads.grid.endswith(".toml") and grid.is_file():
        heads = pipeline.heads.model_copy(update={"grid": str(grid)})
        return pipeline.model_copy(update={"heads": heads})
    return pipeline


def read_toml(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """Reads a TOML file.

    Args:
        path: the file.
        what: what it is called in a message, as "grid file".

    Returns:
        Its text and its value.

    Raises:
        ConfigError: it is missing, cannot be read or is not TOML.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")  # some editors begin a file with a byte-order mark
        return text, _parsed(text)
    except FileNotFoundError as error:
        message = f"there is no {what} '{path}': expected the path of a TOML file"
        raise ConfigError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"the {what} '{path}' cannot be read: {one_line(error)}"
        raise ConfigError(message) from error
    except ValueError as error:
        message = f"the {what} '{path}' is not valid TOML: {one_line(error)}"
        raise ConfigError(message) from error


def _parsed(text: str) -> dict[str, Any]:
    """Returns the value of a TOML text.

    Raises:
        ValueError: it is not TOML, or holds what no file of ours has: a number beyond the 64 bits of TOML, or tables
            and lists in each other without end. So nothing that reads the value needs to look for these.
    """
    try:
        value = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if any(type(inner) is int and not -_INT64 <= inner < _INT64 for inner in level):
            message = "a number is beyond 64 bits"
            raise ValueError(message)
        level = [inner for inner in level if isinstance(inner, dict | list)]
    if level:
        raise ValueError(_TOO_DEEP)
    return value


_DEPTH = 8
_TOO_DEEP = f"tables and lists are nested more than {_DEPTH} deep"
_INT64 = 1 << 63


def parse_value(text: str) -> Any:
    """Returns the value of a "key=VALUE": TOML's spelling, else the text itself."""
    try:
        return _parsed(f"value = {text}")["value"]
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


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


def _problem(model: type[BaseModel], place: Sequence[Any], kind: str, text: str, got: Any) -> str:
    name = ".".join(str(part) for part in place)
    if kind == "extra_forbidden":
        fields: Any = model.model_fields
        for part in place[:-1]:
            inner = fields[part].annotation if part in fields else None
            fields = getattr(inner, "model_fields", {})
        return str(unknown_name("key", name, [".".join([*map(str, place[:-1]), known]) for known in fields]))
    if kind == "missing":
        return f"'{name}' is missing"
    return f"'{name}' is {shown(got)}: {text[0].lower()}{text[1:]}"
