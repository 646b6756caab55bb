"""Stage: many backbones -> the best one, without extracting the whole dataset with each of them.

`stage.run_race` is the entry point. `candidates` reads which networks race, and `parts` cuts parts out of the training
images. `evidence` scores a network on a part, and `halving` decides who stays and how large the next part is. `finals`
trains a grid for the survivors, and `winner` gives the interval of the best one, corrected for the choice.
"""

from __future__ import annotations

from featurebank.racing.options import RaceOptions
from featurebank.racing.outcome import Race
from featurebank.racing.stage import run_race

__all__ = ["Race", "RaceOptions", "run_race"]
