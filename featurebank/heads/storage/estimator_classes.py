"""The closed list of the classes of which a saved estimator may consist."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

_MODULES: dict[str, tuple[str, ...]] = {
    "featurebank.heads.estimators": ("EstimatorHead",),
    "sklearn.calibration": (
        "CalibratedClassifierCV", "_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling",
    ),
    "sklearn.decomposition": ("PCA", "TruncatedSVD"),
    "sklearn.discriminant_analysis": ("LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"),
    "sklearn.dummy": ("DummyClassifier",),
    "sklearn.ensemble": (
        "AdaBoostClassifier", "BaggingClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier",
        "HistGradientBoostingClassifier", "RandomForestClassifier", "StackingClassifier", "VotingClassifier",
    ),
    "sklearn.ensemble._hist_gradient_boosting.binning": ("_BinMapper",),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.gaussian_process": ("GaussianProcessClassifier",),
    "sklearn.gaussian_process._gpc": ("_BinaryGaussianProcessClassifierLaplace",),
    "sklearn.gaussian_process.kernels": (
        "RBF", "ConstantKernel", "WhiteKernel", "Matern", "RationalQuadratic", "ExpSineSquared", "DotProduct", "Sum",
        "Product", "Exponentiation", "CompoundKernel",
    ),
    "sklearn.isotonic": ("IsotonicRegression",),
    "sklearn.kernel_approximation": ("Nystroem", "RBFSampler"),
    "sklearn.linear_model": (
        "LogisticRegression", "LogisticRegressionCV", "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier",
        "RidgeClassifierCV", "SGDClassifier",
    ),
    "sklearn._loss.link": ("MultinomialLogit", "LogitLink", "HalfLogitLink", "IdentityLink", "LogLink", "Interval"),
    "sklearn._loss.loss": ("HalfMultinomialLoss", "HalfBinomialLoss", "ExponentialLoss"),
    "sklearn.multiclass": ("OneVsOneClassifier", "OneVsRestClassifier", "OutputCodeClassifier", "_ConstantPredictor"),
    "sklearn.naive_bayes": ("BernoulliNB", "CategoricalNB", "ComplementNB", "GaussianNB", "MultinomialNB"),
    "sklearn.neighbors": ("KNeighborsClassifier", "NearestCentroid", "NearestNeighbors", "RadiusNeighborsClassifier"),
    "sklearn.neural_network": ("MLPClassifier",),
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing": (
        "LabelBinarizer", "LabelEncoder", "MaxAbsScaler", "MinMaxScaler", "Normalizer", "PowerTransformer",
        "QuantileTransformer", "RobustScaler", "StandardScaler",
    ),
    "sklearn.semi_supervised": ("LabelPropagation", "LabelSpreading", "SelfTrainingClassifier"),
    "sklearn.svm": ("LinearSVC", "NuSVC", "SVC"),
    "sklearn.tree": ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"),
    "sklearn.tree._tree": ("Tree",),
    "sklearn.utils": ("Bunch",),
}  # fmt: skip
CLASSES = frozenset(f"{module}.{name}" for module, names in _MODULES.items() for name in names)
"""What a saved estimator may be made of: the classifiers of scikit-learn and the parts that they are fitted with."""
ROOT = "featurebank.heads.estimators.EstimatorHead"

_TRAINING_ONLY = (
    "numpy.random.", "sklearn._loss._loss.", "sklearn.linear_model._sgd_fast.",
    "sklearn.neural_network._stochastic_optimizers.", "sklearn.neighbors._kd_tree.", "sklearn.neighbors._ball_tree.",
)  # fmt: skip
"""Where the classes are whose instances no prediction needs, or that are built again."""


def known_class(module: str, name: str) -> str | None:
    """Returns the entry of `CLASSES` for a class in a module or in one below it; None where there is none.

    Example:
        >>> known_class("sklearn.ensemble._forest", "RandomForestClassifier")
        'sklearn.ensemble.RandomForestClassifier'
    """
    for known, names in _MODULES.items():
        if name in names and (module == known or module.startswith(f"{known}.")):
            return f"{known}.{name}"
    return None


def is_training_only(module: str, name: str) -> bool:
    """Returns whether instances of a class are left out of a file."""
    return f"{module}.{name}".startswith(_TRAINING_ONLY)


@cache
def class_of(name: str) -> Any:
    """Returns a class of `CLASSES`; None where the installed scikit-learn has none of this name."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
