"""The subjects of the Python interface: which names stand on which page, and in which order."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import featurebank


class Subject(NamedTuple):
    """A page of the Python interface."""

    slug: str
    title: str
    about: str
    """What the names of this page are for, in one or two sentences."""
    names: tuple[str, ...]
    """Public names of featurebank."""
    results: tuple[str, ...] = ()
    """Classes whose objects these names return or take, as "MODULE:CLASS" below `featurebank`; users do not make them
    themselves."""


SUBJECTS = (
    Subject(
        "datasets", "Datasets",
        "Load labelled images from folders, tables, arrays or archives, and find out what is wrong with them.",
        ("load_dataset", "list_datasets", "inspect_dataset", "Dataset", "Inspection"),
        (
            "dataset.catalog:DatasetInfo", "dataset.core:Skipped", "dataset.decoding.decode:Facts",
            "inspection.survey:Distribution", "inspection.survey:DuplicateList", "inspection.survey:Duplicates",
            "inspection.survey:ImagePlace", "inspection.near_duplicates:NearDuplicates",
            "inspection.near_duplicates:NearPair", "inspection.stage:Views", "inspection.group_columns:GroupColumn",
        ),
    ),
    Subject(
        "backbones", "Backbones",
        "Load the network that turns images into features: a built-in one, one of another library, or your own.",
        ("load_backbone", "backbone_from_model", "list_backbones", "Backbone"),
        (
            "backbone.spec:BackboneSpec", "backbone.libraries:LibraryEntry", "backbone.outline:Outline",
            "backbone.outline:CutPoint", "backbone.outline:TokenLayout", "backbone.outline:ResolvedTap",
            "backbone.outline:LayerFacts", "backbone.taps:Tap",
        ),
    ),
    Subject(
        "banks", "Extraction and banks",
        "Compute the features of a dataset once, and open the bank that stores them.",
        ("extract", "open_bank", "find_bank", "list_banks", "Bank", "FeatureBank"),
        ("bank.catalog:BankSummary", "bank.rows:RowBlock"),
    ),
    Subject(
        "heads", "Heads and runs",
        "Train heads on the features of a bank, and choose among their runs by validation alone.",
        ("train_heads", "make_head", "leaderboard", "select", "evaluate_test", "Run"),
        (
            "runs.leaderboard:Leaderboard", "runs.comparison:Entry", "fitting.spec:HeadSpec", "heads.kinds:HeadKind",
            "heads.kinds:Family", "metrics.metric:Metric", "metrics.gains:PairedGain", "api.curves:Curves",
            "api.predictions:Predictions", "api.predictions:ConfusionMatrix", "certainty.measured:MeasuredCertainty",
            "certainty.measured:MeasuredSets", "certainty.measured:MeasuredAnswers",
        ),
    ),
    Subject(
        "choosing", "Choosing a backbone, and advice about the data",
        "Find the best of several backbones without a full extraction with each, and learn what a bank shows about its "
        "images and labels.",
        ("race", "advise", "correct_labels", "similar", "Race", "Advice", "Relabelling"),
        (
            "racing.outcome:RoundScore", "racing.winner:WinnerInterval", "advice.result:DoubtfulLabel",
            "advice.result:LabelConflict", "advice.result:FarImage", "advice.result:MixedClasses",
            "advice.learning_curve:LearningCurve", "advice.power_law:PowerLaws", "advice.learning_curve:Forecast",
            "advice.result:ClassForecast", "advice.result:Labelling", "advice.result:QueuedImage",
            "advice.result:ExaminedImage", "advice.corrections:LabelChange", "similarity.neighbours:SimilarImages",
            "similarity.neighbours:Neighbours", "similarity.neighbours:Neighbour",
        ),
    ),
    Subject(
        "finetuning", "Fine-tuning",
        "Train the network under a head as well.",
        ("finetune", "finetune_all"),
    ),
    Subject(
        "models", "Models and predictions",
        "Join network and head into one model from images to probabilities, write it to a file, and use the file.",
        ("graft", "export", "load_model", "predict", "evaluate", "explain"),
        (
            "grafting.loaded_model:LoadedModel", "grafting.certainty.embedding:ModelOutputs",
            "grafting.prediction:Prediction", "certainty.abstention:Abstention", "grafting.evaluation:Evaluation",
            "grafting.evaluation:OfClass", "grafting.seen.overlap:Overlap", "grafting.seen.overlap:OverlapPart",
            "explanation.explanations:Explanations",
        ),
    ),
    Subject(
        "pipelines", "Pipelines and reports",
        "Run all stages from one file, and write a page about a bank and its heads.",
        ("run_pipeline", "run_variants", "read_pipeline", "read_variants", "report"),
        (
            "pipeline.stage:PipelineResult", "pipeline.stage:VariantResult", "pipeline.config:Pipeline",
            "pipeline.variants:Variant", "extraction.stage:Extraction", "reporting.stage:WrittenReport",
        ),
    ),
    Subject(
        "settings", "Settings and errors",
        "Limit threads, memory and disk space, say whether progress is shown, and catch errors.",
        ("set_threads", "set_ram", "set_local_cache", "set_progress", "FeatureBankError", "FeatureBankWarning"),
        ("system.progress:Reporter",),
    ),
)  # fmt: skip

INTERNAL = {
    "DatasetSection", "ExtractSection", "RaceSection", "HeadsSection", "FinetuneSection", "SelectSection",
    "ReportSection",  # the reference of pipeline files describes their keys
    "RunRecord",  # the base of `Run`
    "ConfigError",  # the page of errors describes it
}  # fmt: skip
"""Names of classes that documented objects return, and that have no page."""

HIDDEN = {
    "Backbone": {"of_options", "check_tap", "plain_tap"},
    "Bank": {"manifest", "former_digest", "unlabelled_line", "weight_line"},
    "Dataset": {"know_digests", "depth_warnings", "image_with_digest"},
    "Overlap": {"of", "warning", "summary"},
    "Run": {"of", "save", "key", "revision", "joined", "right"},
}
"""Members of classes that featurebank calls itself, and that its users need not know."""


def public_object(name: str) -> Any:
    """Returns the object of a public name."""
    return getattr(featurebank, name)


def result_class(place: str) -> Any:
    """Returns the class at "MODULE:CLASS" below `featurebank`."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"featurebank.{module}"), name)


@cache
def pages() -> dict[Any, str]:
    """Returns the full name of each documented object: the name in `featurebank` of a public one."""
    public = {public_object(name): f"featurebank.{name}" for subject in SUBJECTS for name in subject.names}
    results = {
        result_class(place): f"featurebank.{place.replace(':', '.')}"
        for subject in SUBJECTS
        for place in subject.results
    }
    return {**results, **public}
