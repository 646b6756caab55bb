"""Stage: joins a backbone and a head into one model, exports it to a file, and predicts with that file.

Joining is called grafting, and the joined model is a graft: a Keras model, or a `JoinedModel` if the head cannot become
Keras layers. `stage` builds and proves it, `export_stage` and `formats` write it to a file, `prediction` and
`evaluation` use that file. Open `stage` first.
"""

from featurebank.grafting.evaluation import Evaluation, evaluate_model
from featurebank.grafting.export_stage import ExportOptions, run_export
from featurebank.grafting.loaded_model import LoadedModel, read_model
from featurebank.grafting.prediction import Prediction, classify
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.grafting.stage import grafted

__all__ = [
    "Evaluation",
    "ExportOptions",
    "JoinedModel",
    "LoadedModel",
    "Prediction",
    "classify",
    "evaluate_model",
    "grafted",
    "read_model",
    "run_export",
]
