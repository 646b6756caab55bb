"""Backbones: frozen networks with their weights, preprocessing and input size.

`load_network` returns a `Backbone`; `network` defines it, and `spec` defines the contract of a family. Importing this
package does not import Keras.
"""

from featurebank.backbone.catalog import known_backbones, load_network
from featurebank.backbone.families.user import make_backbone
from featurebank.backbone.naming import is_user_network
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.recorded import load_recorded, recorded_source

__all__ = [
    "Backbone",
    "BackboneOptions",
    "is_user_network",
    "known_backbones",
    "load_network",
    "load_recorded",
    "make_backbone",
    "recorded_source",
]
