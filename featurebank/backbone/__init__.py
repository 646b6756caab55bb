"""Backbones: frozen networks with their weights, preprocessing and input size.

`load_backbone` returns a `Backbone`; `network` defines it, and `spec` defines the contract of a family. Importing this
package does not import Keras.
"""

from featurebank.backbone.catalog import list_backbones, load_backbone, load_network
from featurebank.backbone.families.user import backbone_from_model
from featurebank.backbone.naming import is_user_network
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.recorded import load_recorded, recorded_source

__all__ = [
    "Backbone",
    "BackboneOptions",
    "backbone_from_model",
    "is_user_network",
    "list_backbones",
    "load_backbone",
    "load_network",
    "load_recorded",
    "recorded_source",
]
