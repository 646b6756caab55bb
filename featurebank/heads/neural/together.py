"""Training of dense heads, those of one shape in one program."""

from __future__ import annotations

from featurebank.heads.joint_network import programs
from featurebank.heads.neural.network import DenseData, DenseNetwork
from featurebank.heads.trained import Trainer

train_together = Trainer(DenseData.of, programs, DenseNetwork)
"""Trains heads on vectors; maps are flattened."""
