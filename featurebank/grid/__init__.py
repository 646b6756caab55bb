"""Stage: a bank and a grid -> runs.

`files` reads a grid, and `expand` turns it into specifications of heads. Each specification becomes one job for each
seed and fold (`jobs`), and each job ends as a run: a record in the `runs` folder of the bank (`journal`). `worker`
trains the jobs within the time budget; several processes may train the same grid, because each claims its jobs.

Open `stage` first: it has `train_grid`. The built-in grids are TOML files in `builtin/`.
"""

from featurebank.grid.expand import default_tap, expand
from featurebank.grid.files import Grid, GridBlock, built_in_grids, read_grid
from featurebank.grid.options import GridOptions
from featurebank.grid.stage import train_grid

__all__ = ["Grid", "GridBlock", "GridOptions", "built_in_grids", "default_tap", "expand", "read_grid", "train_grid"]
