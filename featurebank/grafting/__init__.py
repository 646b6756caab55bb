"""Stage: joins a backbone and a head into one model, exports it to a file, and predicts with that file.

`stage` builds the model, `formats` writes and reads files, `prediction` uses them. Open `stage` first.
"""

from featurebank.grafting.evaluation import Evaluation, evaluate
from featurebank.grafting.export_stage import export
from featurebank.grafting.prediction import Prediction, load_model, predict
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.grafting.stage import graft

__all__ = ["Evaluation", "JoinedModel", "Prediction", "evaluate", "export", "graft", "load_model", "predict"]
