"""The columns of a bank's table of images that have a role: `weight` holds how much each image counts, `group` which
images belong together.

They are metadata columns, and the manifest says that they have the role. A column of that name in a bank whose manifest
does not say so is metadata like any other.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurebank.bank.items import Items
from featurebank.bank.pages.page import damaged
from featurebank.bank.pages.stored_items import REMEDY
from featurebank.dataset.grouping.components import GROUP, GROUPS, components
from featurebank.dataset.splits import UNLABELLED
from featurebank.dataset.unlabelled_option import unlabelled_line
from featurebank.dataset.weights import WEIGHT, describe_weights
from featurebank.system import digest

if TYPE_CHECKING:
    from featurebank.bank.manifest import Manifest


def group_names(items: Items, path: Path) -> np.ndarray:
    """Returns the name of each image's group in a bank with groups, (n,) texts.

    Raises:
        BankDamagedError: the bank at `path` lists groups that it does not have.
    """
    names = items.metadata.get(GROUP)
    if names is None or names.dtype.kind != "U":
        raise damaged(path, REMEDY)
    return names


def image_weights(items: Items, path: Path) -> np.ndarray:
    """Returns the weight of each image in a bank with weights, (n,) float64 of 0 or more.

    Raises:
        BankDamagedError: the bank at `path` lists weights that it does not have.
    """
    column = items.metadata.get(WEIGHT)
    weights = None if column is None or column.dtype.kind not in "iuf" else np.asarray(column, np.float64)
    if weights is None or not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise damaged(path, REMEDY)
    return weights


class RoleColumns:
    """What a bank says about the columns with a role."""

    path: Path
    manifest: Manifest
    _items: Items

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of labels: those of the classes, and "unlabelled", which label -1 is an index of, too.

        Example:
            >>> bank.label_names[-1], bank.label_names[:-1] == bank.classes
            ('unlabelled', True)
        """
        return (*self.manifest.dataset["classes"], UNLABELLED)

    def unlabelled_line(self) -> str | None:
        """Returns one line for the user about the images without a label; None if all have one."""
        return next(unlabelled_line(np.full(len(self._positions(UNLABELLED)), -1)), None)

    @property
    def weight_column(self) -> str | None:
        """The column of the dataset's table that holds the weights of the images; None without weights."""
        column: str | None = self.manifest.dataset.get(WEIGHT)
        return column

    def sample_weights(self, split: str | None = None) -> np.ndarray | None:
        """Returns how much each image counts in the training: (n,) float64 of 0 or more, in the order of `ids`.

        Heads and fine-tunes use the weights of the training images; metrics weigh all images alike.

        Args:
            split: "train", "val" or "test"; None for all.

        Returns:
            The weights; None if the dataset has none, so that all images count alike.

        Raises:
            UnknownNameError: there is no such split.
            BankDamagedError: the bank lists weights that it does not have.

        Example:
            >>> bank.sample_weights("train") is None
            True
        """
        positions = self._positions(split)
        return None if self.weight_column is None else self._weights()[positions]

    def weight_line(self) -> str | None:
        """Returns one line for the user about the weights of the training images; None without weights."""
        weights = self.sample_weights("train")
        return None if weights is None else describe_weights(weights, self.weight_column or "")

    def groups(self, split: str | None = None) -> np.ndarray | None:
        """Returns which images belong together: those that share a group or a content, directly or through others.

        Args:
            split: "train", "val" or "test"; None for all.

        Returns:
            A number for each image, (n,) int64, in the order of `ids`: the same for images that belong together. None
            if the dataset has no groups. The names of the groups are `metadata()["group"]`.

        Raises:
            UnknownNameError: there is no such split.
            BankDamagedError: the bank lists groups that it does not have.

        Example:
            >>> bank.groups("train") is None
            True
        """
        positions = self._positions(split)
        return None if self._components is None else np.asarray(self._components[positions])

    @cached_property
    def _components(self) -> np.ndarray | None:
        if GROUPS not in self.manifest.dataset:
            return None
        return components(group_names(self._items, self.path), self._items.digests)

    def _weights(self) -> np.ndarray:
        return image_weights(self._items, self.path)

    def _identity(self, table: str) -> str:
        """Returns the digest of all that heads are trained on, from that of the table of images."""
        recipe = [self.manifest.key, table, list(self.manifest.dataset["classes"]), *self._role_digests()]
        return digest.of_recipe(recipe)

    def _role_digests(self) -> list[dict[str, str]]:
        """Returns the digests of these columns, for the digest of the bank; empty without any."""
        roles = {} if self.weight_column is None else {WEIGHT: self._items.column_digest(self._weights())}
        if self._components is not None:
            roles[GROUPS] = digest.of_array(self._components)  # images of one content are in one component
        return [roles] if roles else []

    def _positions(self, split: str | None) -> np.ndarray:
        raise NotImplementedError
