"""Datasets of every kind, made on the spot."""

from made_datasets import make, no_cifar, prepared, server, spec

__all__ = ["make", "no_cifar", "prepared", "server", "spec"]
