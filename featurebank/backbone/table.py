"""The table of the backbones: everything that is known of a network before it is built."""

from __future__ import annotations

from featurebank.backbone.families import applications, basenet, efficientnet_lite, squeezenet
from featurebank.backbone.keras_networks.spec import KerasSpec

_FAMILIES = (efficientnet_lite, applications, squeezenet, basenet)

TABLE: dict[str, KerasSpec] = {spec.name: spec for family in _FAMILIES for spec in family.NETWORKS}
"""Every backbone by name, the default first."""
