"""The schema of a run's record: each key with its type, checked whenever a record is read.

A checksum proves that a file is unchanged, not that featurebank wrote it. Readers of records rely on this schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from featurebank.errors import BankDamagedError

_LONGEST = 60
"""Largest number of characters of a value in a message."""


def check_run_record(value: Mapping[str, Any], file: Path) -> None:
    """Validates the record of a run, without its checksum.

    Args:
        value: the record.
        file: path of the record, for the message.

    Raises:
        BankDamagedError: a key is missing or unknown, or its value has the wrong type.
    """
    import pydantic

    try:
        _schema().validate_python(value)
        problem = _contradiction(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:_LONGEST]
        got = "" if first["type"] == "missing" else f" is {_shown(first['input'])}"
        problem = f"{place}{got} ({first['msg'][:1].lower()}{first['msg'][1:]})"
    if problem:
        message = f"'{file}' is not a record of a run: {problem}; delete it, and 'featurebank heads' trains it again"
        raise BankDamagedError(message)


def _contradiction(value: Mapping[str, Any]) -> str | None:
    """Returns a description of a contradiction within a record; None if there is none."""
    metrics = value["metrics"]
    missing = [split for split in ("train", "val") if split not in metrics]
    if missing and not value.get("failure"):
        return f"metrics has no '{missing[0]}', but there is no failure"
    right, images = value.get("right"), metrics.get("val", {}).get("images")
    if right is not None and images is not None and len(right) != 2 * ((images + 7) // 8):
        return f"right has {len(right)} digits, but metrics.val.images is {images}"
    joined = value.get("joined")
    if joined is not None and not _is_identity(joined):
        return "joined does not have a list of parts and a table of columns"
    return None


def _is_identity(joined: Mapping[str, Any]) -> bool:
    """Returns whether a value has the parts and the columns of a joined tap."""
    if {name: type(value) for name, value in joined.items()} != {"parts": list, "columns": dict}:
        return False
    tables = [*joined["parts"], joined["columns"]]
    return all(isinstance(table, dict) and all(isinstance(text, str) for text in table.values()) for table in tables)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@lru_cache(maxsize=1)
def _schema() -> Any:
    """Returns the schema; it is built on first use, because pydantic takes a moment to load."""
    from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, create_model

    strict, lenient = (ConfigDict(strict=True, extra=extra) for extra in ("forbid", "allow"))
    count: Any = Annotated[int, Field(ge=0, lt=1 << 53)]
    share: Any = Annotated[float, Field(ge=0, le=1)]
    three: Any = Annotated[list[Annotated[int, Field(gt=-(1 << 53), lt=1 << 53)]], Field(min_length=3, max_length=3)]
    pair: Any = Annotated[list[float], Field(min_length=2, max_length=2)]
    hexadecimal: Any = Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]
    free: Any = dict[str, JsonValue]

    def table(name: str, required: dict[str, Any], optional: dict[str, Any], *, known_alone: bool = True) -> Any:
        fields: dict[str, Any] = {key: (kind, ...) for key, kind in required.items()}
        fields.update({key: (kind, None) for key, kind in optional.items()})
        return create_model(name, __config__=strict if known_alone else lenient, **fields)

    scores: Any = table(
        "Scores", {"accuracy": share, "loss": float},
        {"images": count, "macro_f1": float, "top5_accuracy": share, "brier": float, "calibration_error": float,
         "recall": list[float | None], "groups": count, "opened_before": count, "accuracy_interval": pair,
         "top5_accuracy_interval": pair, "loss_interval": pair, "macro_f1_interval": pair, "brier_interval": pair},
        known_alone=False,
    )  # fmt: skip
    start: Any = table("Start", {"accuracy": float, "loss": float}, {})
    gain = _gain(table, pair)
    phase: Any = table(
        "Phase", {"unfreeze": str, "from": str, "layers": count, "trained": count, "epochs": count, "improved": bool},
        {},
    )  # fmt: skip
    finetune: Any = table(
        "Finetune", {"from": str, "phases": list[phase], "epoch_0": start, "gain": gain}, {"batch_norm": str | None}
    )
    steps: Any = list[dict[str, float | None]]
    curves: Any = dict[str, count | list[float | None] | steps]
    return TypeAdapter(table(
        "Record",
        {"run": str, "head": str, "params": free, "tap": str, "seed": int, "seconds": float,
         "metrics": dict[str, scores], "bank": str, "created": str},
        {"together": count, "history": curves | None, "failure": str | None, "notes": list[str],
         "tested": str | None, "weights": str | None, "fold": three | None, "rung": three | None,
         "parameters": count | None, "right": hexadecimal | None, "graft": free | None, "finetune": finetune | None,
         "revision": count, "views": count | None, "name": str, "sample": count | None, "joined": free | None},
    ))  # fmt: skip


def _gain(table: Callable[..., Any], pair: Any) -> Any:
    """Returns the schema of the gain of a fine-tune; `metric` is there if it is another than the accuracy."""
    by = table(
        "GainBy", {"name": str, "before": float | None, "after": float | None},
        {"interval": pair | None, "p_value": float | None},
    )  # fmt: skip
    return table(
        "Gain", {"accuracy": float, "accuracy_interval": pair, "worth": str},
        {"over": str, "p_value": float, "loss": float, "metric": by},
    )  # fmt: skip
