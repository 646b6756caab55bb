"""Backbones: frozen networks with their weights, preprocessing and input size."""

from featurebank.backbone.catalog import list_backbones, load_backbone
from featurebank.backbone.network import Backbone

__all__ = ["Backbone", "list_backbones", "load_backbone"]
