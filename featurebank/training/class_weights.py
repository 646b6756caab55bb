"""Weights of classes: how `class_weight` of any head becomes one number for each class."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.system.validation import ParameterCheck, number
from featurebank.words import counted, one_line

CLASS_WEIGHT = "class_weight"
"""The parameter."""
ClassWeight = str | Sequence[float] | Mapping[Any, float] | None
"""None, "balanced", a number for each class in the order of `classes_`, or a dictionary from labels to numbers."""


def class_weight_check(value: Any) -> ParameterCheck:
    """Checks the form of `class_weight`; whether it fits the classes is checked by `weights_of_classes`."""
    holds = value is None or (isinstance(value, str) and value == "balanced")
    if isinstance(value, list | tuple | Mapping):
        numbers = list(value.values()) if isinstance(value, Mapping) else value
        holds = bool(numbers) and all(number("", weight, above=0).holds for weight in numbers)
    return ParameterCheck(
        "class_weight", value, '"balanced", a list of numbers above 0, or a dictionary {label: number}', holds
    )


def weights_of_classes(class_weight: ClassWeight, counts: np.ndarray, labels: Sequence[Any] | None) -> np.ndarray:
    """Returns the weight of each class (classes,) float64.

    Args:
        class_weight: a value that `class_weight_check` accepts.
        counts: (classes,) the number of training images of each class, or the sum of their weights.
        labels: of the classes; None if they are not known, and a dictionary is refused.

    Raises:
        HeadInputError: a list has another length, or a dictionary has a label that is no class.

    Example:
        >>> weights_of_classes("balanced", np.array([1, 3]), None)
        array([2.        , 0.66666667])
        >>> weights_of_classes({"cat": 5}, np.array([1, 3]), ["ant", "cat"])
        array([1., 5.])
    """
    classes = len(counts)
    if class_weight is None:
        return np.ones(classes)
    if isinstance(class_weight, str):
        return np.asarray(counts.sum() / (classes * counts))
    if isinstance(class_weight, Mapping):
        return _of_labels(class_weight, list(labels or []))
    if len(class_weight) != classes:
        message = (
            f"class_weight has {counted(len(class_weight), 'number')}, the training images have "
            f"{counted(classes, 'class')}"
        )
        raise HeadInputError(message)
    return np.asarray(class_weight, np.float64)


def class_numbers(class_weight: ClassWeight, names: Sequence[str]) -> ClassWeight:
    """Returns a dictionary with the numbers of classes in place of their names; other values as they are.

    A key that is the name of a class is this class, any other one is the number of a class.

    Args:
        class_weight: a value that `class_weight_check` accepts.
        names: the names of the classes; the number of a class is its index here.

    Raises:
        HeadInputError: a key is neither a name nor a number, or a class has two.

    Example:
        >>> class_numbers({"bee": 2.0, "0": 0.5}, ["ant", "bee"])
        {'1': 2.0, '0': 0.5}
    """
    if not isinstance(class_weight, Mapping):
        return class_weight
    number_of = {name: str(number) for number, name in enumerate(names)}
    numbers = [number_of.get(str(key), str(key)) for key in class_weight]
    wrong = [key for key, number in zip(class_weight, numbers, strict=True) if not number.isdecimal()]
    if wrong:
        near = difflib.get_close_matches(str(wrong[0]), names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"expected some of {one_line(', '.join(names[:5]))}"
        message = f"class_weight names {one_line(', '.join(map(str, wrong[:5])))}, which is no class: {hint}"
        raise HeadInputError(message)
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        shown = names[int(twice[0])] if int(twice[0]) < len(names) else twice[0]
        message = f"class_weight has two numbers for class '{one_line(shown)}': expected one"
        raise HeadInputError(message)
    return dict(zip(numbers, class_weight.values(), strict=True))


def named_weights(class_weight: ClassWeight, names: Sequence[str]) -> ClassWeight:
    """Returns a dictionary with the names of classes in place of their numbers, to show it; other values as they are.

    Example:
        >>> named_weights({"1": 2.0, "7": 0.5}, ["ant", "bee"])
        {'bee': 2.0, '7': 0.5}
    """
    if not isinstance(class_weight, Mapping):
        return class_weight
    name_of = {str(number): name for number, name in enumerate(names)}
    return {name_of.get(str(key), key): weight for key, weight in class_weight.items()}


def _of_labels(class_weight: Mapping[Any, float], labels: list[Any]) -> np.ndarray:
    """Returns the weights of labels, 1 for those without one; labels are compared as text, as JSON's keys are."""
    numbers = {str(label): float(weight) for label, weight in class_weight.items()}
    unknown = sorted(set(numbers) - set(map(str, labels)))
    known = len(numbers) - len(unknown)
    if unknown and (known < len(labels) or not labels):  # labels of no image do no harm if all others are there
        message = (
            f"class_weight names {one_line(', '.join(unknown[:5]))}: expected labels of the training images, such as "
            f"{one_line(', '.join(map(str, labels[:5])))}"
        )
        raise HeadInputError(message)
    return np.array([numbers.get(str(label), 1.0) for label in labels])
