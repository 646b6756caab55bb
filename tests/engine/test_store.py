"""Engines that stay loaded between extractions."""

from __future__ import annotations

from contestants import images
from immediate import PixelEngine

import featurebank as fb
from featurebank.engine.store import EngineKey, EngineStore
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
    with EngineStore() as store:
        store.add(key("a"), one)
        store.add(key("b"), other)
        assert store.pop(key("a")) is one
        assert store.pop(key("a")) is None
    assert not one.closed
    assert other.closed


def test_the_number_of_engines_is_limited_and_some_are_dropped() -> None:
    engines = [Engine() for _ in range(4)]
    store = EngineStore(2)
    for number, engine in enumerate(engines):
        store.add(key(str(number)), engine)
    assert [engine.closed for engine in engines] == [True, True, False, False]
    store.keep_only(["3"])
    assert [engine.closed for engine in engines] == [True, True, True, False]
    store.add(key("3"), other := Engine())
    assert engines[3].closed
    assert not other.closed


def test_the_next_extraction_finds_the_engine_of_the_last(pixels: list[PixelEngine], tmp_path: object) -> None:
    backbone = fb.load_backbone("efficientnet_lite0", weights="random:0", image_size=32)
    with EngineStore() as store:
        for seed in (0, 1):
            dataset = fb.load_dataset(images(12, seed))
            run_extraction(dataset, backbone, ExtractOptions(), cache=str(tmp_path), engines=store)
    assert [engine.images for engine in pixels] == [24]
