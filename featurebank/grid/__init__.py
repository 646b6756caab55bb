"""Stage: a bank and a grid -> runs.

Open `stage` first: it has `train_heads`. `files` reads grids, `expand` turns them into specifications of heads, and
`worker` fits these within the time budget. The built-in grids are TOML files in `builtin/`.
"""

from featurebank.grid.expand import default_tap, expand
from featurebank.grid.files import Grid, read_grid
from featurebank.grid.options import GridOptions
from featurebank.grid.stage import train_grid, train_heads

__all__ = ["Grid", "GridOptions", "default_tap", "expand", "read_grid", "train_grid", "train_heads"]
