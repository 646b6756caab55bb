"""What each phase trains, told before anything starts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import tiny
from finetunes import options

from featurebank import load_backbone
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.finetuning.phases import LayerOrder, describe, describe_batch_norm, plan_phases, unfreeze


@pytest.fixture(scope="module")
def resnet() -> Any:
    """The graft of a head on a network with blocks."""
    import keras

    network = load_backbone("resnet50", weights="random:0", image_size=64).network()
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(network.output)
    x = keras.layers.Dense(3, name="head_logits")(x)
    return keras.Model(network.input, keras.layers.Activation("softmax", name="probabilities")(x))


def test_everything_from_the_first_layer_of_a_name_is_trained(resnet: Any) -> None:
    names = ["head", "conv5_block3", "conv5", "conv4_block6_out", "all"]
    with pytest.raises(ConfigError, match=r"'conv4_block6_out' unfreezes nothing that phase 'conv5' before it has not"):
        plan_phases(resnet, options(unfreeze=names))
    names[3] = "conv4_block6"
    phases = plan_phases(resnet, options(unfreeze=names))
    assert [phase.trained[0] for phase in phases] == [
        "head_logits", "conv5_block3_1_conv", "conv5_block1_1_conv", "conv4_block6_1_conv", "conv1_conv",
    ]  # fmt: skip
    assert all(set(before.trained) < set(after.trained) for before, after in pairwise(phases))
    assert phases[0].parameters == 2048 * 3 + 3
    assert "conv5_block1_0_conv" in phases[2].trained
    unfreeze(resnet, phases[1])
    trainable = sum(int(weight.shape.num_elements()) for weight in (w.value for w in resnet.trainable_weights))
    assert trainable == phases[1].parameters
    told = list(describe(resnet, phases))
    assert told[2].split()[:5] == ["2", "conv5_block3", "conv5_block3_1_conv", "7", f"{phases[1].parameters:,}"]
    column = told[0].index("first layer trained")
    assert [line[column:].split()[0] for line in told[1:6]] == [phase.trained[0] for phase in phases]
    assert told[-1].startswith(f"of {resnet.count_params():,} parameters; sgd, schedule cosine")


def test_frozen_batch_normalisation_is_in_no_phase(resnet: Any) -> None:
    (phase,) = plan_phases(resnet, options(unfreeze=["conv5_block3"], batch_norm="frozen"))
    assert phase.trained == ("conv5_block3_1_conv", "conv5_block3_2_conv", "conv5_block3_3_conv", "head_logits")
    assert phase.training.learning_rate == pytest.approx(0.001), "a tenth of what it is with batch normalisation"
    told = describe_batch_norm(resnet, [phase], "frozen", "as asked for")
    assert told == "batch normalisation: frozen in all 53 layers (as asked for)"
    phases = plan_phases(resnet, options(unfreeze=["head", "conv5_block3"]))
    told = describe_batch_norm(resnet, phases, "train", "the default of resnet50")
    assert told == "batch normalisation: train, in 3 of 53 layers by the last phase (the default of resnet50)"


def test_progressive_goes_back_by_sizes_of_maps(resnet: Any) -> None:
    phases = plan_phases(resnet, options(unfreeze=[], progressive=True, epochs=[1, 2, 3, 4, 5]))
    assert [phase.trained[0] for phase in phases] == [
        "conv5_block1_1_conv", "conv4_block1_1_conv", "conv3_block1_1_conv", "conv2_block1_1_conv", "conv1_conv",
    ]  # fmt: skip
    assert [phase.training.epochs for phase in phases] == [1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match="epochs has 2 values for 5 phases"):
        plan_phases(resnet, options(unfreeze=[], progressive=True, epochs=[1, 2]))


@pytest.fixture(scope="module")
def transformer() -> Any:
    """The graft of a head on a transformer of three blocks."""
    import keras

    network, _ = tiny.transformer()
    x = keras.layers.Dense(3, name="head_logits")(network.output)
    return keras.Model(network.input, keras.layers.Activation("softmax", name="probabilities")(x))


def test_a_transformer_goes_back_by_blocks(transformer: Any) -> None:
    phases = plan_phases(transformer, options(unfreeze=[], progressive=True))
    assert [phase.trained[0] for phase in phases] == ["block2_norm1", "block1_norm1", "patch_embedding"]
    named = plan_phases(transformer, options(unfreeze=["head", "block2", "block1", "all"]))
    assert [phase.trained for phase in named[1:]] == [phase.trained for phase in phases]
    unfreeze(transformer, phases[0])
    trained = {weight.path.partition("/")[0] for weight in transformer.trainable_weights}
    assert trained == {
        "block2_norm1", "block2_attention", "block2_norm2", "block2_dense1", "block2_dense2", "norm", "head_logits",
    }  # fmt: skip
    assert phases[0].parameters == sum(weight.value.shape.num_elements() for weight in transformer.trainable_weights)


def test_the_depth_in_a_transformer_counts_blocks(transformer: Any) -> None:
    layout = LayerOrder(transformer)
    layers = ("head_logits", "block2_dense2", "block2_norm1", "block1_attention", "block0_norm1", "patch_embedding")
    assert [layout.depth(name) for name in layers] == [0, 1, 1, 2, 3, 4]


def test_a_number_is_read_whole(resnet: Any) -> None:
    """`conv1` is not the beginning of `conv10`, nor `block1` of `block12`."""
    import keras

    x = image = keras.Input((8, 8, 3))
    for name in ("block12_conv", "block1_conv"):
        x = keras.layers.Conv2D(2, 3, name=name)(x)
    x = keras.layers.Dense(2, name="head_logits")(keras.layers.Flatten(name="head_flatten")(x))
    made = keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x))
    assert plan_phases(made, options(unfreeze=["block1"]))[0].trained == ("block1_conv", "head_logits")


def test_wrong_names(resnet: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown layer to unfreeze 'conv5_blok3': did you mean 'conv5_block3_"):
        plan_phases(resnet, options(unfreeze=["conv5_blok3"]))
    told = (
        "'conv5_block3_2' unfreezes nothing that phase 'conv5_block3' .*; the nearest before it are conv5_block2_out, "
    )
    with pytest.raises(ConfigError, match=told) as error:
        plan_phases(resnet, options(unfreeze=["conv5_block3", "conv5_block3_2"]))
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="phase 'probabilities' trains nothing: no layer from there on has weights"):
        plan_phases(resnet, options(unfreeze=["probabilities"]))
