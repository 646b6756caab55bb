"""Stage: a bank and a grid in, runs out.

`train_heads` is the entry, in `stage`; `files` reads grids, `expand` makes heads of them, `worker` fits them within
the budget.
The built-in grids are TOML files in `builtin/`.
"""

from featurebank.grid.expand import default_tap, expand
from featurebank.grid.files import Grid, read_grid
from featurebank.grid.options import GridOptions
from featurebank.grid.stage import train_grid, train_heads

__all__ = ["Grid", "GridOptions", "default_tap", "expand", "read_grid", "train_grid", "train_heads"]
