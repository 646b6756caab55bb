"""The table of the backbones: everything that is known of a network before it is built."""

from __future__ import annotations

from featurebank.backbone.families import applications, basenet, efficientnet_lite, squeezenet
from featurebank.backbone.spec import BackboneSpec

_FAMILIES = (efficientnet_lite, applications, squeezenet, basenet)

TABLE: dict[str, BackboneSpec] = {spec.name: spec for family in _FAMILIES for spec in family.NETWORKS}
"""Every backbone by name, the default first."""
