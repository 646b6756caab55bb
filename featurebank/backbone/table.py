"""The one table of the backbones: everything that is known of a network before it is built."""

from __future__ import annotations

from featurebank.backbone import applications, efficientnet_lite, squeezenet
from featurebank.backbone.spec import BackboneSpec

TABLE: dict[str, BackboneSpec] = {
    spec.name: spec for spec in (*efficientnet_lite.NETWORKS, *applications.NETWORKS, *squeezenet.NETWORKS)
}
"""Every backbone by name, the default first."""
