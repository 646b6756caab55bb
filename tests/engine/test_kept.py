"""Engines that stay loaded between extractions."""

from __future__ import annotations

from contestants import images
from immediate import PixelEngine

import featurebank as fb
from featurebank.engine.kept import EngineKey, KeptEngines
from featurebank.extraction import ExtractOptions, run_extraction


class Engine(PixelEngine):
    def __init__(self) -> None:
        super().__init__(("pooled",))
        self.closed = False

    def close(self) -> None:
        self.closed = True


def key(name: str) -> EngineKey:
    return EngineKey(name, "auto", ("pooled",), 32, "float32")


def test_an_engine_belongs_to_who_took_it_and_all_others_are_closed_at_the_end() -> None:
    one, other = Engine(), Engine()
    with KeptEngines() as kept:
        kept.give(key("a"), one)
        kept.give(key("b"), other)
        assert kept.take(key("a")) is one
        assert kept.take(key("a")) is None
    assert not one.closed
    assert other.closed


def test_the_number_of_engines_is_limited_and_some_are_dropped() -> None:
    engines = [Engine() for _ in range(4)]
    kept = KeptEngines(2)
    for number, engine in enumerate(engines):
        kept.give(key(str(number)), engine)
    assert [engine.closed for engine in engines] == [True, True, False, False]
    kept.keep_only(["3"])
    assert [engine.closed for engine in engines] == [True, True, True, False]
    kept.give(key("3"), other := Engine())
    assert engines[3].closed
    assert not other.closed


def test_the_next_extraction_finds_the_engine_of_the_last(pixels: list[PixelEngine], tmp_path: object) -> None:
    backbone = fb.load_backbone("efficientnet_lite0", weights="random:0", image_size=32)
    with KeptEngines() as kept:
        for seed in (0, 1):
            dataset = fb.load_dataset(images(12, seed))
            run_extraction(dataset, backbone, ExtractOptions(), cache=str(tmp_path), kept=kept)
    assert [engine.images for engine in pixels] == [24]
