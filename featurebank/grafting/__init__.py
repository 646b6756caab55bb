"""Trunk and head as one model: images in, probabilities out; one file to take home, and predictions from it."""

from featurebank.grafting.evaluation import Evaluation, evaluate
from featurebank.grafting.joined import JoinedModel
from featurebank.grafting.prediction import Prediction, load_model, predict
from featurebank.grafting.stage import graft
from featurebank.grafting.writing import export

__all__ = ["Evaluation", "JoinedModel", "Prediction", "evaluate", "export", "graft", "load_model", "predict"]
