"""The backbone that made a bank, found again by what the bank's manifest says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurebank.backbone.catalog import load_backbone
from featurebank.backbone.naming import check_named, is_user_network
from featurebank.backbone.network import Backbone
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.resize import word_of
from featurebank.backbone.spec import BackboneSpec, BatchNorm
from featurebank.backbone.table import TABLE
from featurebank.errors import ConfigError, WeightsError


def recorded_source(backbone: Backbone) -> dict[str, str]:
    """Returns how a backbone was asked for, so that `load_recorded` finds it again."""
    return {"weights": backbone.weights, "backbone": getattr(backbone.spec, "known_as", backbone.name)}


def recorded_options(recipe: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `load_backbone` takes to build the network that a bank was made with: its name as `backbone`, too.

    The rule by which images become square is left out: it is no part of the network.

    Args:
        recipe: of the bank.
        source: of its manifest: what `recorded_source` gave.

    Raises:
        ConfigError: the network was made in memory by another process.
    """
    name = str(source.get("backbone", recipe["backbone"]))
    own = is_user_network(name)
    if not name or (not own and str(recipe.get("architecture", "user:")).startswith("user:")):
        message = (
            f"the bank's network '{recipe['backbone']}' was a model in memory: expected one that can be loaded again; "
            "save it as a .keras file and extract with --backbone FILE.keras"
        )
        raise ConfigError(message)
    published = TABLE[name].preprocessing if name in TABLE else None
    declared = next((word for word, rule in DECLARED.items() if rule == recipe["preprocessing"]), None)
    return {
        "backbone": name, "weights": source.get("weights"), "image_size": recipe["image_size"],
        "preprocessing": None if published == recipe["preprocessing"] else declared,
    }  # fmt: skip


def recorded_batch_norm(recipe: Mapping[str, Any], source: Mapping[str, Any]) -> BatchNorm:
    """Returns what a fine-tune of a bank's network does with batch normalisation by default: "train" or "frozen".

    That is the `finetune_batch_norm` of the backbone; random weights have statistics that are not worth keeping.

    Args:
        recipe: of the bank.
        source: of its manifest.
    """
    own = str(recipe.get("architecture", "")).startswith("user:")
    if own or str(source.get("weights", "")).startswith("random"):
        return BackboneSpec.finetune_batch_norm
    return TABLE.get(str(recipe["backbone"]), BackboneSpec).finetune_batch_norm


def load_recorded(recipe: Mapping[str, Any], source: Mapping[str, Any], *, given: Backbone | None = None) -> Backbone:
    """Returns the backbone that a bank was made with.

    Args:
        recipe: of the bank.
        source: of its manifest: what `recorded_source` gave.
        given: the network where the caller has it; it is checked. Default: it is loaded again.

    Raises:
        ConfigError: the network was made in memory by another process, or is not there any more; or it is a function
            that the user has not named: no bank may say which code is run; or a newer featurebank made the bank.
        WeightsError: the backbone is not the one that made the bank: other weights, architecture or preprocessing.
    """
    backbone = given
    if backbone is None:
        options = recorded_options(recipe, source)
        name = options.pop("backbone")
        check_named(name, "the bank")
        backbone = load_backbone(name, **options, resize=word_of(recipe["resize"]), levels=recipe.get("levels"))
    own = backbone.recipe
    wrong = [part for part in dict.fromkeys((*own, "levels")) if recipe.get(part) != own.get(part)]
    if wrong:
        name = getattr(backbone.spec, "known_as", "") or backbone.name
        remedy = (
            "extract again with these, or bring the old ones back"
            if given is None
            else "give the network that made the bank, or leave it out"
        )
        message = (
            f"the bank was made by another {' and '.join(wrong)} than {name} with weights {backbone.weights} has now: "
            f"{remedy}"
        )
        raise WeightsError(message)
    return backbone
