"""The grid: from a bank and what to try on it to runs."""

from featurebank.grid.expand import default_tap, expand
from featurebank.grid.files import Grid, read_grid
from featurebank.grid.options import GridOptions
from featurebank.grid.stage import train_grid, train_heads

__all__ = ["Grid", "GridOptions", "default_tap", "expand", "read_grid", "train_grid", "train_heads"]
