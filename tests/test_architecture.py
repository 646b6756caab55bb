"""The rooms of the house: who may import whom. The tables here are the drawing of the architecture."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "featurebank"

LEVELS = {
    "words": 0,
    "errors": 1,
    "system": 2,
    "statistics": 2,
    "storage": 3,
    "charts": 3,
    "metrics": 3,
    "certainty": 4,
    "dataset": 3,
    "augment": 3,
    "backbone": 4,
    "bank": 4,
    "engine": 5,
    "training": 5,
    "extraction": 6,
    "inspection": 6,
    "heads": 6,
    "fitting": 7,
    "runs": 8,
    "grid": 9,
    "similarity": 9,  # its tables become data frames, as those of runs do
    "grafting": 9,
    "doctor": 9,
    "finetuning": 10,  # begins with a graft
    "explanation": 10,
    "advice": 10,  # the queue of images to label searches among similar ones
    "reporting": 11,
    "racing": 11,  # its evidence is that of the advisor; extracts and trains
    "cluster": 11,  # extractions, grids and fine-tunes on many machines
    "pipeline": 12,
    "api": 13,  # beside cli, which calls the stages itself
    "cli": 13,
    "__main__": 14,
    "__init__": 14,
}
"""Imports go towards a smaller number; inside a room, from sibling to sibling and never in a circle."""

OWNERS = {
    "tensorflow": {"system", "training", "grafting"},  # everybody else takes it from system/runtime.py
    "keras": {
        "system",
        "backbone",
        "engine",
        "heads",
        "grafting",
        "finetuning",
        "explanation",
    },  # system: downloads
    "openvino": {"system"},  # everybody else takes it from system/imports/openvino.py
    "torch": {"system", "backbone", "engine"},
    "keras_hub": {"backbone"},
    "kagglehub": {"backbone"},  # the client of the hub where KerasHub keeps its weights
    "timm": {"backbone"},
    "torchvision": {"backbone"},
    "transformers": {"backbone"},
    "huggingface_hub": {"backbone", "system", "dataset"},
    "safetensors": {"backbone"},
    "h5py": {"bank", "backbone"},
    "xgboost": {"heads"},
    "sklearn": {"api", "charts", "dataset", "heads", "errors"},  # errors: the base of NotFittedError
    "altair": {"charts"},
    "vl_convert": {"charts"},
    "umap": {"charts"},  # maps of images, where it is installed
    "pandas": {"runs"},  # the leaderboard as a data frame
    "tensorboard": {"runs"},
    "onnx": {"grafting"},
    "tf2onnx": {"grafting"},
    "onnxruntime": {"grafting"},
    "scipy": {
        "dataset",
        "heads",
        "statistics",
        "training",
    },  # dataset: components of groups; statistics: quantiles and sums of distributions
    "click": {"cli"},
    "rich": {"system", "cli"},
    "IPython": {"system"},
    "pydantic": {"system", "bank", "api"},
    "filelock": {"bank"},
    "PIL": {
        "dataset",
        "backbone",
        "explanation",
        "inspection",
        "reporting",
        "system",
    },  # system: pictures in a notebook
    "jinja2": {"reporting", "system"},  # others take it from system/html.py
    "threadpoolctl": {"system", "doctor"},
    "pyarrow": {"dataset"},
    "fsspec": {"dataset", "storage"},
    "s3fs": {"storage"},
    "botocore": {"storage"},
    "distributed": {"cluster"},
    "dask": {"cluster"},
    "aiohttp": {"dataset"},
    "pooch": {"dataset", "system"},
    "datasets": {"dataset"},
    "tensorflow_datasets": {"dataset"},
    "array_record": {"dataset"},
}
"""Which rooms may import a package."""

NARROWER = {
    "h5py": {"bank/shard.py", "bank/plain_files.py", "backbone/keras_networks/keras_file.py"},
    "xgboost": {"heads/boosted.py", "heads/storage/saving.py", "heads/streamed/binned.py"},
    "tensorflow": {
        "system/runtime.py",
        "grafting/guard.py",  # the schema of TensorFlow Lite's files
        "training/dropout.py",
        "training/programs/compilation.py",
        "training/programs/dense.py",
        "training/programs/dense_blocks.py",
        "training/programs/keras_step.py",
        "training/programs/layers.py",
        "training/programs/losses.py",
        "training/programs/maps.py",
        "training/programs/normalisation.py",
        "training/programs/tensors.py",
    },
    "onnx": {
        "grafting/converters.py",
        "grafting/guard.py",
        "grafting/foreign/onnx_file.py",
        "grafting/foreign/onnx_model.py",
    },
    "tf2onnx": {"grafting/converters.py"},
    "onnxruntime": {"grafting/formats.py", "grafting/converters.py"},
    "IPython": {"system/drawing/screens.py"},
    "openvino": {"system/imports/openvino.py"},  # it must not report home
    "torch": {
        "system/imports/torch.py",
        "backbone/torch_networks/recording.py",  # PyTorch's own tools to record operations
    },
    "keras_hub": {"backbone/keras_networks/hub/library.py"},
    "kagglehub": {"backbone/keras_networks/hub/downloads.py"},
    "timm": {"backbone/families/timm_names.py"},
    "torchvision": {"backbone/families/torchvision.py"},
    "transformers": {"backbone/families/hugging_face/library.py"},
    "pyarrow": {"dataset/readers/table_files.py"},
    "fsspec": {"dataset/remote/fetching.py", "storage/objects.py"},
    "s3fs": {"storage/objects.py"},
    "botocore": {"storage/objects.py"},
    "aiohttp": {"dataset/remote/fetching.py"},
    "pooch": {"dataset/sources/archives.py", "system/downloads.py"},
    "datasets": {"dataset/sources/huggingface.py"},
    "tensorflow_datasets": {"dataset/sources/tensorflow_datasets.py"},
    "array_record": {"dataset/sources/tensorflow_datasets.py"},
}
"""Files within those rooms, where that is decided more finely."""

HEAVY = {
    "tensorflow", "openvino", "keras", "sklearn", "xgboost", "h5py", "scipy", "pydantic", "rich",
    "pyarrow", "fsspec", "aiohttp", "pooch", "datasets", "tensorflow_datasets", "jinja2", "pandas",
    "tensorboard", "onnx", "tf2onnx", "onnxruntime", "altair", "vl_convert", "umap",
    "distributed", "dask", "s3fs", "botocore",
}  # fmt: skip
LIGHT_FILES = (
    "__init__.py",
    "__main__.py",
    "errors.py",
    "system/digest.py",
    "system/files.py",
    "system/runtime.py",
    "system/progress.py",
    "system/alike.py",
    "system/downloads.py",
    "system/stderr.py",
    "system/hints.py",
)
DRAWERS = {"cli/tables.py", "cli/inspection_view.py"}
"""What commands import inside their bodies, to draw on the terminal."""


COVERED_BY = {
    # The metrics: what one consists of, and the table, are tested by what they compute.
    "metrics/images.py": "metrics/test_scores.py",
    "metrics/metric.py": "metrics/test_named.py",
    "metrics/table.py": "metrics/test_scores.py",
    "backbone/keras_networks/hub/library.py": "backbone/keras_networks/hub/test_layers.py",
    "backbone/openvino_networks/spec.py": "backbone/families/test_openvino_files.py",
    # What a run answers with, and what notebooks show: one suite each.
    "api/curves.py": "api/test_run.py",
    "api/inputs.py": "api/test_run.py",
    "api/predictions.py": "api/test_run.py",
    # Joined taps: what is read is what heads are trained on and predict with.
    "fitting/joined/images.py": "fitting/joined/test_training.py",
    "fitting/joined/rows.py": "fitting/joined/test_training.py",
    "grafting/several/squares.py": "grafting/several/test_networks.py",
    "grafting/several/trunks.py": "grafting/several/test_networks.py",
    # Pieces: the law of one suite, that any pieces in any order make the bank of a plain extraction.
    "bank/pieces/adoption.py": "extraction/pieces/test_listing.py",
    "bank/pieces/notes.py": "extraction/pieces/test_listing.py",
    "bank/pieces/request.py": "extraction/pieces/test_listing.py",
    "bank/pieces/writer.py": "extraction/pieces/test_runner.py",
    "cli/commands/upkeep/joining.py": "extraction/pieces/test_part.py",
    "extraction/pieces/finishing.py": "extraction/pieces/test_part.py",
    "bank/maintenance/pieces.py": "extraction/pieces/test_part.py",
    "extraction/pieces/opening.py": "extraction/pieces/test_runner.py",
    "bank/pieces/waiting_rows.py": "bank/test_writer.py",
    "fitting/checks.py": "fitting/test_fit.py",
    "training/common_parameters.py": "fitting/test_weights.py",
    "dataset/unlabelled_option.py": "api/test_unlabelled_images.py",
    "heads/streamed/progress.py": "heads/streamed/test_passes.py",
    # Advice: each part is observed in the stage's results.
    "advice/display.py": "advice/test_stage.py",
    "advice/examined.py": "advice/test_stage.py",
    "advice/findings.py": "advice/test_stage.py",
    "advice/page.py": "advice/test_stage.py",
    "advice/queue.py": "advice/test_stage.py",
    "advice/result.py": "advice/test_stage.py",
    "advice/tables.py": "advice/test_stage.py",
    "api/choosing/advice.py": "advice/test_stage.py",
    "cli/advice_view.py": "cli/commands/test_advise.py",
    "bank/display.py": "system/test_html.py",
    "dataset/display.py": "system/test_html.py",
    "dataset/pictures.py": "system/test_html.py",
    "inspection/display.py": "system/test_html.py",
    "runs/display.py": "system/test_html.py",
    "runs/probabilities.py": "api/test_run.py",
    "runs/refitting.py": "runs/test_selection.py",
    "reporting/content.py": "reporting/test_gathering.py",
    "reporting/content_doubts.py": "reporting/test_gathering.py",
    "reporting/sections/certainty.py": "reporting/test_gathering.py",
    "reporting/evidence.py": "reporting/test_gathering.py",
    "reporting/pictures.py": "reporting/test_gathering.py",
    "reporting/sections/answers.py": "reporting/test_gathering.py",
    "reporting/sections/banks.py": "reporting/test_gathering.py",
    "reporting/sections/doubts.py": "reporting/test_gathering.py",
    "reporting/sections/drawings.py": "reporting/test_gathering.py",
    "reporting/sections/heat.py": "reporting/test_gathering.py",
    "reporting/sections/plane.py": "reporting/test_gathering.py",
    "reporting/sections/runs.py": "reporting/test_gathering.py",
    "reporting/sections/savings.py": "reporting/test_gathering.py",
    "reporting/sections/together.py": "reporting/test_gathering.py",
    "reporting/sections/wording_answers.py": "reporting/sections/test_wording.py",
    "reporting/sections/wording_data.py": "reporting/sections/test_wording.py",
    # The facade: whoever tests a stage calls it through its public function.
    "api/backbones.py": "backbone/test_catalog.py",
    "api/banks.py": "extraction/test_stage.py",
    "api/datasets.py": "dataset/test_catalog.py",
    "api/arguments/banks.py": "api/test_heads.py",
    "api/arguments/heads.py": "api/test_heads.py",
    "api/images.py": "similarity/test_stage.py",
    "api/inspection.py": "inspection/test_stage.py",
    "api/pipelines.py": "pipeline/test_stage.py",
    "api/choosing/race.py": "racing/test_stage.py",
    "api/report.py": "reporting/test_stage.py",
    "api/settings.py": "system/test_runtime.py",
    "system/backing/protocol.py": "system/backing/test_directories.py",
    "storage/keys.py": "storage/test_mirror.py",
    "storage/conditions.py": "storage/test_mirror.py",
    "storage/known_objects.py": "storage/test_mirror.py",
    "storage/mirror_state.py": "storage/test_mirror.py",
    "storage/refusals.py": "storage/test_objects.py",
    "storage/transfers.py": "storage/test_objects.py",
    # What a process does as a whole is tested where it is started.
    "cluster/local_worker.py": "cluster/test_local.py",
    "cluster/packages.py": "cluster/test_client.py",
    "cluster/admission.py": "cluster/test_extraction.py",
    "cli/workers_view.py": "cluster/test_extraction.py",
    "cluster/roster.py": "cluster/test_dispatch.py",
    "cluster/tasks.py": "cluster/test_dispatch.py",
    "__main__.py": "cli/test_commands.py",
    "doctor.py": "cli/test_commands.py",
    # Commands, and what they draw: through the command line.
    "cli/tables.py": "cli/test_terminal.py",
    "cli/library_view.py": "backbone/test_libraries.py",
    "cli/head_lists.py": "heads/test_lookup.py",
    "cli/network_view.py": "cli/commands/test_lists.py",
    "cli/inspection_view.py": "cli/commands/test_inspect.py",
    "cli/variants_view.py": "cli/commands/test_run.py",
    "cli/commands/upkeep/banks.py": "cli/test_commands.py",
    "cli/commands/doctor.py": "cli/test_commands.py",
    "cli/commands/evaluate.py": "grafting/test_evaluation.py",
    "cli/commands/extract.py": "cli/test_commands.py",
    "cli/extraction_view.py": "cli/test_commands.py",
    "cluster/training/head_checks.py": "cluster/training/test_heads.py",
    "cluster/training/head_tasks.py": "cluster/training/test_heads.py",
    "cluster/events.py": "cluster/training/test_heads.py",
    "cluster/training/finetune_tasks.py": "cluster/training/test_finetunes.py",
    "grafting/ranked_layers.py": "grafting/test_stage.py",
    "api/training/finetunes.py": "finetuning/test_starts.py",
    # Parts of a stage: each is observed in the stage's results.
    "extraction/places.py": "extraction/test_stage.py",
    "extraction/precision.py": "engine/test_agreement.py",
    "extraction/request.py": "extraction/test_stage.py",
    "extraction/state.py": "extraction/test_plan.py",
    "extraction/target.py": "extraction/test_stage.py",
    "finetuning/input_scaling.py": "finetuning/test_stage.py",
    "finetuning/loop.py": "finetuning/test_stage.py",
    "finetuning/outcome.py": "finetuning/test_stage.py",
    "finetuning/running_phase.py": "finetuning/test_stage.py",
    "finetuning/task.py": "finetuning/test_stage.py",
    "grafting/formats.py": "grafting/test_export_stage.py",
    "grafting/loaded_model.py": "grafting/test_prediction.py",
    "grafting/certainty/embedding.py": "grafting/certainty/test_calibration.py",
    "grafting/certainty/verdicts.py": "grafting/certainty/test_predictions.py",
    "grafting/foreign/onnx_model.py": "grafting/foreign/test_graft.py",
    "grafting/head_layers.py": "grafting/test_stage.py",
    "grafting/foreign/trunks.py": "grafting/foreign/test_graft.py",
    "grafting/interruption.py": "grafting/test_converters.py",
    "grafting/metadata.py": "grafting/test_export_stage.py",
    "grafting/proof.py": "grafting/test_stage.py",
    "grafting/resizing.py": "grafting/test_serving.py",
    "grafting/seen/reader.py": "grafting/test_evaluation.py",
    "grafting/side_by_side.py": "grafting/test_stage.py",
    "grid/jobs.py": "grid/test_worker.py",
    "grid/journal.py": "grid/test_worker.py",
    "racing/display.py": "racing/test_stage.py",
    "racing/finals.py": "racing/test_stage.py",
    "racing/options.py": "racing/test_stage.py",
    "racing/outcome.py": "racing/test_stage.py",
    "racing/rounds.py": "racing/test_stage.py",
    "pipeline/plan.py": "pipeline/test_stage.py",
    "pipeline/work.py": "pipeline/test_stage.py",
    "fitting/fitted.py": "fitting/test_fit.py",
    "fitting/programs.py": "fitting/test_fit.py",
    "fitting/scoring.py": "fitting/test_fit.py",
    "training/weights.py": "heads/test_contract.py",
    "runs/finetuned.py": "finetuning/test_stage.py",
    "runs/leaderboard.py": "runs/test_comparison.py",
    # Heat maps of a bank's images follow from the run and its stored maps.
    "explanation/cam.py": "explanation/test_heat_maps.py",
    "explanation/subject.py": "explanation/test_heat_maps.py",
    "explanation/explanations.py": "explanation/test_output.py",
    "explanation/features.py": "explanation/test_stage.py",
    "explanation/methods.py": "explanation/test_stage.py",
    "explanation/pictures.py": "explanation/test_stage.py",
    # Views: one table of laws over specifications, parameters and pixels.
    "augment/parameters.py": "augment/test_views.py",
    "augment/specification.py": "augment/test_views.py",
    "augment/warp.py": "augment/test_views.py",
    "engine/table.py": "engine/test_catalog.py",
    "engine/saved_networks.py": "engine/test_openvino.py",
    "engine/conversions/keras_models.py": "engine/test_contract.py",
    "engine/conversions/graphs.py": "engine/test_contract.py",
    "engine/conversions/table.py": "engine/test_openvino.py",
    "engine/conversions/torch_modules.py": "engine/test_contract.py",
    "engine/pytorch.py": "engine/test_contract.py",
    # The contract suite of backbones holds what every family shares.
    "backbone/keras_networks/network.py": "backbone/test_network.py",
    "backbone/keras_networks/hub/kinds.py": "backbone/keras_networks/hub/test_presets.py",
    "backbone/keras_networks/hub/parts.py": "backbone/families/test_keras_hub.py",
    "backbone/keras_networks/spec.py": "backbone/test_contract.py",
    "backbone/outline.py": "backbone/test_taps.py",
    # Networks of PyTorch: one suite runs tiny networks through all of it.
    "backbone/families/user_modules/checks.py": "backbone/families/user_modules/test_network.py",
    "backbone/families/user_modules/features.py": "backbone/families/user_modules/test_network.py",
    "backbone/families/user_modules/identity.py": "backbone/families/user_modules/test_network.py",
    "backbone/families/user_modules/passes.py": "backbone/families/user_modules/test_network.py",
    "backbone/families/hugging_face/hub.py": "backbone/families/hugging_face/test_repository.py",
    "backbone/families/hugging_face/library.py": "backbone/families/test_transformers.py",
    "backbone/families/hugging_face/tensors.py": "backbone/families/test_transformers.py",
    "backbone/torch_networks/recording.py": "backbone/torch_networks/test_structure.py",
    "backbone/torch_networks/spec.py": "backbone/torch_networks/test_network.py",
    "backbone/torch_networks/tap_module.py": "backbone/torch_networks/test_network.py",
    "system/imports/openvino.py": "engine/test_openvino.py",
    "backbone/keras_networks/graph.py": "backbone/keras_networks/test_cuts.py",
    "backbone/naming.py": "backbone/keras_networks/test_keras_file.py",
    "backbone/options.py": "cli/test_stage_options.py",
    "backbone/spec.py": "backbone/test_contract.py",
    "backbone/table.py": "backbone/test_catalog.py",
    "backbone/keras_networks/calls.py": "backbone/families/test_user.py",
    "backbone/keras_networks/traced_work.py": "backbone/keras_networks/test_work.py",
    "backbone/keras_networks/unfold.py": "backbone/families/test_user.py",
    "backbone/families/applications.py": "backbone/test_contract.py",
    "backbone/families/timm_names.py": "backbone/families/test_timm.py",
    "backbone/families/user_source.py": "backbone/families/test_user.py",
    "backbone/weights/files.py": "backbone/weights/test_source.py",
    "bank/contents.py": "bank/test_writer.py",
    "bank/plain_files.py": "bank/test_blocks.py",
    "bank/rows.py": "bank/test_reader.py",
    "bank/vectors.py": "similarity/test_search.py",
    "similarity/neighbours.py": "similarity/test_stage.py",
    "similarity/pictures.py": "similarity/test_stage.py",
    "similarity/queries.py": "similarity/test_stage.py",
    "bank/pages/item_table.py": "bank/pages/test_item_runs.py",
    "bank/pages/packed_text.py": "bank/test_items.py",
    "bank/pages/stored_items.py": "bank/pages/test_item_runs.py",
    "bank/maintenance/sharing.py": "extraction/test_together.py",
    # The contract suite of datasets reads each kind of source.
    "dataset/unlabelled.py": "api/test_transformer.py",
    "extraction/unlabelled_features.py": "api/test_transformer.py",
    "dataset/values/arrays.py": "dataset/values/test_catalog.py",
    "dataset/values/batches.py": "dataset/values/test_catalog.py",
    "dataset/values/files.py": "dataset/values/test_catalog.py",
    "dataset/values/registry.py": "dataset/values/test_catalog.py",
    "dataset/decoding/codecs.py": "dataset/decoding/test_decode.py",
    "dataset/decoding/image_bytes.py": "dataset/test_contract.py",
    "dataset/decoding/kinds.py": "dataset/decoding/test_decode.py",
    "dataset/readers/cifar_batch.py": "dataset/sources/test_cifar.py",
    "dataset/readers/cub.py": "dataset/sources/test_lists.py",
    "dataset/readers/table_files.py": "dataset/sources/test_table.py",
    "dataset/readers/text_lists.py": "dataset/sources/test_lists.py",
    "dataset/sources/announced.py": "pipeline/test_stage.py",
    "dataset/sources/archives.py": "dataset/sources/test_photos.py",
    "dataset/sources/encoded_rows.py": "dataset/test_contract.py",
    "dataset/sources/paths.py": "dataset/sources/test_starts.py",
    "dataset/sources/rows.py": "dataset/sources/test_table.py",
    # The contract suite of heads fits each kind; the trainers are compared with Keras, head by head.
    "heads/base.py": "heads/test_contract.py",
    "heads/inputs.py": "heads/test_contract.py",
    "heads/kinds.py": "heads/test_catalog.py",
    "heads/exact/left_out.py": "heads/exact/test_closed_form.py",
    "heads/exact/logistic_search.py": "heads/exact/test_logistic.py",
    "heads/exact/moments.py": "heads/exact/test_streamed.py",
    "heads/exact/streamed_discriminant.py": "heads/exact/test_streamed.py",
    "heads/exact/streamed_logistic.py": "heads/exact/test_streamed.py",
    "heads/streamed/predictions.py": "heads/exact/test_streamed.py",
    "heads/exact/coordinates.py": "heads/exact/test_closed_form.py",
    "heads/exact/discriminant.py": "heads/exact/test_closed_form.py",
    "heads/exact/gram.py": "heads/exact/test_closed_form.py",
    "heads/exact/kernel_base.py": "heads/exact/test_kernels.py",
    "heads/exact/shared.py": "heads/exact/test_base.py",
    "heads/exact/transforms.py": "heads/exact/test_base.py",
    "heads/layered/base.py": "heads/layered/test_tail.py",
    "heads/layered/network.py": "heads/layered/test_tail.py",
    "heads/joint.py": "heads/neural/test_together.py",
    "heads/joint_network.py": "heads/neural/test_together.py",
    "heads/maps/base.py": "heads/maps/test_conv.py",
    "heads/maps/conv_stem.py": "heads/maps/test_conv.py",
    "heads/maps/stems.py": "heads/maps/test_pooling.py",
    "heads/maps/data.py": "heads/maps/test_stored.py",
    "heads/maps/network.py": "heads/maps/test_conv.py",
    "heads/maps/on_maps.py": "heads/maps/test_conv.py",
    "heads/neural/base.py": "heads/neural/test_together.py",
    "heads/neural/mlp.py": "heads/neural/test_together.py",
    "heads/neural/network.py": "heads/neural/test_together.py",
    "heads/neural/softmax.py": "heads/neural/test_together.py",
    "training/activations.py": "heads/neural/test_together.py",
    "training/loop.py": "heads/neural/test_together.py",
    "training/optimizers.py": "heads/neural/test_together.py",
    "training/programs/dense.py": "heads/neural/test_together.py",
    "training/programs/layers.py": "heads/neural/test_together.py",
    "training/programs/losses.py": "heads/neural/test_together.py",
    "training/programs/maps.py": "heads/maps/test_conv.py",
    "training/programs/keras_step.py": "finetuning/test_program.py",
    "training/programs/normalisation.py": "heads/neural/test_together.py",
    "training/programs/tensors.py": "heads/neural/test_together.py",
    "system/downloads.py": "backbone/weights/test_download.py",
    "runs/logs/graph.py": "runs/logs/test_tensorboard.py",
    "dataset/readers/folder_tree.py": "dataset/readers/test_layout.py",
    "backbone/families/user_checks.py": "backbone/families/test_user.py",
    "heads/storage/estimator_classes.py": "heads/storage/test_estimator_state.py",
    "system/drawing/console.py": "cli/test_terminal.py",
    "system/drawing/reporter.py": "cli/test_reporter.py",
    "system/drawing/text.py": "cli/test_terminal.py",
    "system/validation.py": "heads/test_catalog.py",
    "training/history.py": "heads/neural/test_together.py",
    "fitting/spec.py": "runs/test_run.py",
    "heads/estimator_traits.py": "heads/test_estimators.py",
    "heads/needs.py": "heads/test_catalog.py",
}
"""Sources without a test file of their name, and the test file that covers each."""


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[tuple[int, str, bool]]:
    """Returns line, module and whether the import is at the top of the module (not for type checking alone)."""
    return list(read_imports(path))


def read_imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    tree = parsed(path)
    top = {id(node) for node in tree.body}
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the whole name"
            for alias in node.names:
                yield node.lineno, module_of(node.module or "", alias.name), id(node) in top


def module_of(package: str, name: str) -> str:
    """Returns what `from package import name` imports: a module of that name, else the package itself."""
    place = PACKAGE.parent / package.replace(".", "/")
    return f"{package}.{name}" if (place / f"{name}.py").is_file() or (place / name).is_dir() else package


def complaint(path: Path, line: int, why: str) -> str:
    source = path.read_text(encoding="utf-8").splitlines()[line - 1].strip()
    return f"{path.relative_to(PACKAGE)}:{line}: {source}   <- {why}"


def test_every_room_has_a_level() -> None:
    assert {room(path) for path in files()} <= set(LEVELS)


def test_imports_go_one_way() -> None:
    wrong = []
    for path in files():
        here = room(path)
        for line, module, _ in imports(path):
            if not module.startswith("featurebank."):
                if module == "featurebank" and here not in {"__main__"}:
                    wrong.append(complaint(path, line, "siblings do not import the facade"))
                continue
            there = module.split(".")[1]
            if LEVELS[there] >= LEVELS[here] and there != here:
                wrong.append(complaint(path, line, f"{here} is at level {LEVELS[here]}, {there} at {LEVELS[there]}"))
    assert not wrong, "\n".join(wrong)


def test_inside_a_room_modules_import_modules_not_their_facade() -> None:
    wrong = []
    for path in files():
        if path.name == "__init__.py":
            continue
        facade = f"featurebank.{room(path)}"
        if path.parent == PACKAGE:
            continue
        wrong += [complaint(path, line, "its own facade") for line, module, _ in imports(path) if module == facade]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", sorted(OWNERS))
def test_packages_have_owners(package: str) -> None:
    wrong = []
    for path in files():
        for line, module, _ in imports(path):
            if module.split(".")[0] != package:
                continue
            name = path.relative_to(PACKAGE).as_posix()
            if room(path) not in OWNERS[package] or name not in NARROWER.get(package, {name}):
                wrong.append(complaint(path, line, f"{package} belongs to {', '.join(sorted(OWNERS[package]))}"))
    assert not wrong, "\n".join(wrong)


def test_light_modules_import_nothing_heavy_at_the_top() -> None:
    wrong = []
    for path in files():
        name = path.relative_to(PACKAGE).as_posix()
        if name not in LIGHT_FILES and not name.startswith("cli/"):
            continue
        for line, module, at_top in imports(path):
            if at_top and module.split(".")[0] in HEAVY and name not in DRAWERS:
                wrong.append(complaint(path, line, "a heavy import at the top"))
    assert not wrong, "\n".join(wrong)


def test_stages_are_imported_without_libraries_of_training() -> None:
    """A command that trains nothing, as `cache export`, does not wait for them."""
    stages = ("extraction", "finetuning", "fitting.fit", "grafting", "grid", "inspection", "pipeline", "runs.ranking")
    lines = [*(f"import featurebank.{stage}" for stage in stages), "import sys", "print(*sys.modules)"]
    done = subprocess.run([sys.executable, "-c", "; ".join(lines)], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"tensorflow", "keras", "openvino", "sklearn", "xgboost", "pandas"} == set()


def test_there_is_no_circle_between_modules() -> None:
    """Imports inside functions count, too: to move one there hides a circle and does not open it."""
    graph = {}
    for path in files():
        name = "featurebank." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        graph[name.removesuffix(".__init__")] = {m for _, m, _ in imports(path) if m.startswith("featurebank.")}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name in done or name not in graph:
            return
        for there in graph[name]:
            visit(there, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_folders_stay_small() -> None:
    sizes = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in files())
    assert {folder: count for folder, count in sizes.items() if count > 18} == {}


def test_no_folder_holds_a_fifth_of_the_lines() -> None:
    lines = Counter()
    for path in files():
        lines[path.parent.relative_to(PACKAGE).as_posix()] += len(path.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) < lines.total() / 5, lines.most_common(3)


def test_a_folder_says_what_lives_in_it() -> None:
    silent = [p.parent for p in files() if p.name == "__init__.py" and not ast.get_docstring(parsed(p))]
    assert silent == []


def test_no_class_name_stands_twice() -> None:
    homes: dict[str, list[str]] = {}
    for path in files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path.relative_to(PACKAGE).as_posix())
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_every_source_has_its_test() -> None:
    """A source file has a test file of its name, or `COVERED_BY` names the one that covers it."""
    wrong = []
    for path in files():
        name = path.relative_to(PACKAGE)
        own = TESTS / name.parent / f"test_{name.name}"
        named = COVERED_BY.get(name.as_posix())
        if name.name == "__init__.py" or (own.is_file() and not named):
            continue
        if own.is_file():
            wrong.append(f"{name} has a test of its own, and COVERED_BY names another")
        elif named is None or not (TESTS / named).is_file():
            wrong.append(f"{name} has no test: {own.relative_to(TESTS)} is not there, nor is {named}")
    unknown = [name for name in COVERED_BY if not (PACKAGE / name).is_file()]
    assert [*wrong, *unknown] == []


def test_modules_stay_small() -> None:
    long = {p.relative_to(PACKAGE).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in files()}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_functions_stay_small() -> None:
    """Most functions are under 25 lines, and none has more than 45 without its docstring."""
    lengths = {}
    for path in files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body:
                    lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                    lengths[f"{path.relative_to(PACKAGE)}:{node.name}"] = lines
    assert {name: lines for name, lines in lengths.items() if lines > 45} == {}
    assert sum(lines <= 25 for lines in lengths.values()) > 0.9 * len(lengths)


@cache
def classes() -> dict[str, tuple[Path, ast.ClassDef]]:
    return {n.name: (path, n) for path in files() for n in ast.walk(parsed(path)) if isinstance(n, ast.ClassDef)}


def assigned(method: ast.FunctionDef) -> set[str]:
    """The attributes that a method assigns to its first argument."""
    first = next((a.arg for a in (*method.args.posonlyargs, *method.args.args)), "")
    stored = (n for n in ast.walk(method) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
    return {n.attr for n in stored if isinstance(n.value, ast.Name) and n.value.id == first}


def declared(name: str) -> set[str]:
    """What a class and its bases in the package declare: in the body of the class, or in the constructor."""
    found: set[str] = set()
    if name not in classes():
        return found
    for node in classes()[name][1].body:
        if isinstance(node, ast.FunctionDef):
            found |= {node.name} | (assigned(node) if node.name in {"__init__", "__post_init__"} else set())
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            found |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return found.union(*(declared(ast.unparse(base).partition("[")[0]) for base in classes()[name][1].bases))


def test_attributes_are_declared() -> None:
    """What an object holds is read at the top of its class; scikit-learn's fitted attributes end with "_"."""
    wrong = [
        f"{path.relative_to(PACKAGE)}: {name}.{attribute}"
        for name, (path, node) in classes().items()
        for method in node.body
        if isinstance(method, ast.FunctionDef) and "classmethod" not in map(ast.unparse, method.decorator_list)
        for attribute in sorted(assigned(method) - declared(name))
        if not attribute.endswith("_")
    ]
    assert wrong == []


def test_a_specification_looks_up_its_kind_in_one_place() -> None:
    """From the grid to the run's record, `HeadSpec.head_kind` alone enters the catalog.

    The schema of grid files lists all kinds, before there is any specification.
    """
    lists_all = PACKAGE / "grid" / "schema.py"
    on_the_way = [path for path in files() if room(path) in {"grid", "fitting", "runs", "pipeline"}]
    entered = {
        path for path in on_the_way if any(module == "featurebank.heads.catalog" for _, module, _ in imports(path))
    }
    assert entered - {lists_all} == {PACKAGE / "fitting" / "spec.py"}


def test_nobody_but_the_catalog_tells_kinds_of_heads_apart_by_name() -> None:
    """A kind's name is compared nowhere, and no table has kinds for its keys: who asks about a kind asks the kind."""
    from featurebank.heads.catalog import HEADS

    def names(node: ast.AST) -> set[str]:
        return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)} & set(
            HEADS
        )

    wrong = []
    for path in files():
        if path.relative_to(PACKAGE).as_posix() == "heads/catalog.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and "kind" in ast.unparse(node) and names(node):
                wrong.append(complaint(path, node.lineno, "ask HeadKind or Head"))
            if isinstance(node, ast.Dict) and len({n for key in node.keys if key for n in names(key)}) > 1:
                wrong.append(complaint(path, node.lineno, "a table beside the catalog"))
    assert not wrong, "\n".join(wrong)


def resolves(name: str) -> bool:
    """Returns whether a dotted name is a module, or a word in the source of the module that it begins with."""
    parts = name.split(".")[1:]
    place = PACKAGE
    for position, part in enumerate(parts):
        if (place / part).is_dir():
            place /= part
        elif (place / f"{part}.py").is_file():
            rest = parts[position + 1 :]
            return not rest or rest[0] in names_of(place / f"{part}.py")
        else:
            return part in names_of(place / "__init__.py")
    return True


@cache
def names_of(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", path.read_text(encoding="utf-8")))


def test_names_in_texts_and_benchmarks_are_there() -> None:
    """Whatever documents, comments and benchmarks call by its dotted name exists under that name."""
    root = TESTS.parent
    texts = [root / "README.md", *(root / "docs").rglob("*.md"), *files(), *(root / "benchmarks").rglob("*.py")]
    wrong = []
    for path in texts:
        text = path.read_text(encoding="utf-8")
        names = set(re.findall(r"(?<![\"'])\bfeaturebank(?:\.[A-Za-z_]\w*)+(?![\w.]*\()", text)) - {
            "featurebank.json",
            "featurebank.fish",
        }  # files
        for package, imported in re.findall(r"^\s*from (featurebank[\w.]*) import ([\w, ]+)$", text, re.MULTILINE):
            names |= {f"{package}.{part.split(' as ')[0].strip()}" for part in imported.split(",")}
        wrong += [f"{path.relative_to(root)}: {name}" for name in sorted(names) if not resolves(name)]
    assert not wrong, "\n".join(wrong)


def test_what_tests_replace_is_there() -> None:
    """The targets of `setattr` by name: found without running the test."""
    wrong = []
    for path in TESTS.rglob("*.py"):
        for name in re.findall(r'setattr\(\s*"(featurebank[\w.]+)"', path.read_text(encoding="utf-8")):
            if not resolves(name):
                wrong.append(f"{path.relative_to(TESTS)}: {name}")
    assert not wrong, "\n".join(wrong)


CACHE_ROOMS = ("bank", "runs", "grid", "finetuning", "extraction", "heads", "fitting", "engine", "pipeline", "cli")
CACHE_FILES = ("backbone/outline_files.py", "dataset/fingerprint_cache.py")
"""The code that handles files of a cache, which may lie in a bucket."""
PAST_THE_BACKING = {
    "unlink", "rename", "glob", "rglob", "iterdir", "rmtree", "link", "symlink", "hardlink_to", "symlink_to", "rmdir",
    "write_text", "write_bytes", "touch", "copyfile", "copy2", "move", "memmap", "walk", "scandir", "listdir",
    "is_file", "exists",
}  # fmt: skip
"""Calls that a bucket would not notice; `system/files.py` and `system/backing/directories.py` have them all."""
NOT_OF_A_CACHE = {
    "bank/locks/note.py": {"unlink"},  # notes on the local disk alone; those in a bucket are leases
    "bank/locks/scratch.py": {"unlink", "rmtree", "glob"},  # temporary files of this machine
    "bank/pieces/notes.py": {"rmdir"},  # the empty directory
    "bank/catalog.py": {"unlink", "rmdir"},  # the lock of this machine, and the empty directory
    "bank/maintenance/verify.py": {"walk"},  # of a cache on the local disk, with its links
    "engine/devices.py": {"exists"},  # of the machine
    "pipeline/config.py": {"is_file"},  # the user's grid
    "runs/logs/tensorboard.py": {"unlink", "glob"},  # the log directory that the user names
    "grid/files.py": {"glob"},  # grids in the package and beside the user's files
    "cli/completion.py": {"glob"},  # files of the user and of the package
    "grid/stage.py": {"rename"},  # gives runs other names
}


def test_files_of_a_cache_are_handled_where_a_bucket_notices() -> None:
    """Only `system/files.py` and `system/backing` write, list, rename, link or delete files of a cache."""
    wrong = []
    for path in files():
        name = path.relative_to(PACKAGE).as_posix()
        if room(path) not in CACHE_ROOMS and name not in CACHE_FILES:
            continue
        for node in ast.walk(parsed(path)):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            owner = ast.unparse(node.func.value) if called else ""
            if called in PAST_THE_BACKING - NOT_OF_A_CACHE.get(name, set()) and owner not in {"ast", "np.random"}:
                wrong.append(complaint(path, node.lineno, f"'{called}' past system/backing"))
    assert not wrong, "\n".join(wrong)


def test_folders_are_listed_in_a_with_statement() -> None:
    """An iterator of `os.scandir` that is left early keeps its folder open; those of pathlib read a folder at once."""
    wrong, closed_calls = [], 0
    for path in files():
        nodes = list(ast.walk(parsed(path)))
        closed = {id(item.context_expr) for node in nodes if isinstance(node, ast.With) for item in node.items}
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "scandir":
                closed_calls += id(node) in closed
                if id(node) not in closed:
                    wrong.append(complaint(path, node.lineno, "not in a with-statement"))
    assert not wrong, "\n".join(wrong)
    assert closed_calls
