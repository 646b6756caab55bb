"""Similar images: which images are searched for, what is said of their neighbours, and how they are shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from immediate import PixelEngine
from PIL import Image

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.errors import ConfigError, DatasetError, UnknownNameError
from featurebank.extraction.source_images import image_paths
from featurebank.similarity.neighbours import Neighbour, Neighbours, SimilarImages

pytestmark = pytest.mark.heavy

HOSTILE = "train/bee/<script>alert('&')<b>.png"


def pixel_cosines(bank: fb.Bank, image: np.ndarray) -> np.ndarray:
    """The cosines of an image with all images of the bank, by the features of `PixelEngine`."""
    own = image.reshape(-1)[:64].astype(np.float64) / 255 + len("pooled")
    rows = bank.features("pooled").astype(np.float64)
    return np.asarray(rows @ own / np.linalg.norm(rows, axis=1) / np.linalg.norm(own))


def test_an_image_of_the_bank_needs_no_network(leaky_bank: fb.Bank, no_engine: None) -> None:
    (found,) = fb.similar("train/ant/near.png", leaky_bank, top=3)
    assert (found.id, found.label, found.split) == ("train/ant/near.png", "ant", "train")
    assert found[0].id == "test/ant/nearly.png"
    assert "train/ant/near.png" not in {row.id for row in found}
    assert found[0].label == "ant"
    assert found[0].split == "test"
    assert len(found) == 3
    assert sorted((row.cosine for row in found), reverse=True) == [row.cosine for row in found]


def test_the_path_of_an_image_of_the_bank_is_that_image(leaky: Path, leaky_bank: fb.Bank, no_engine: None) -> None:
    by_id, by_path = fb.similar(["test/bee/same.png", str(leaky / "test" / "bee" / "same.png")], leaky_bank, top=4)
    assert by_id.rows == by_path.rows
    assert by_path.id == "test/bee/same.png"
    assert by_id[0].id == "train/ant/same.png"
    assert by_id[0].is_copy
    assert by_id[0].cosine == 1
    assert sum(by_id.votes.values()) == 3, "a copy does not vote"


def test_where_the_images_of_a_bank_are_is_asked_once_for_all(
    leaky: Path, leaky_bank: fb.Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a dataset that is a table, the answer reads the table."""
    asked = []

    def counted(bank: fb.Bank, ids: Sequence[str]) -> Sequence[str | None]:
        asked.append(list(ids))
        return image_paths(bank, ids)

    monkeypatch.setattr("featurebank.similarity.queries.image_paths", counted)
    names = ["train/ant/0.png", "train/ant/same.png", "test/bee/same.png"]
    found = fb.similar([str(leaky / name) for name in names], leaky_bank)
    assert [one.id for one in found] == names
    assert len(asked) == 1
    assert sorted(asked[0]) == sorted(names)


def test_a_copy_elsewhere_finds_the_original_without_a_network(
    leaky: Path, leaky_bank: fb.Bank, tmp_path: Path, no_engine: None
) -> None:
    shutil.copy(leaky / "train" / "ant" / "0.png", tmp_path / "copy.png")
    (found,) = fb.similar(tmp_path / "copy.png", leaky_bank)
    assert found.id is None
    assert found[0].id == "train/ant/0.png"
    assert found[0].is_copy
    assert found[0].path == str(leaky / "train" / "ant" / "0.png")
    page = fb.similar(tmp_path / "copy.png", leaky_bank).write_page(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "a copy of an image of the bank" in page


def test_other_images_are_computed_as_those_of_the_bank(
    leaky_bank: fb.Bank, pixels: list[PixelEngine], tmp_path: Path, lite: Backbone
) -> None:
    image = np.random.default_rng(5).integers(0, 256, (50, 41, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "new.png")
    expected = pixel_cosines(leaky_bank, lite.resize(image))
    for form in (tmp_path / "new.png", [str(tmp_path / "new.png")], [image], Image.fromarray(image)):
        (found,) = fb.similar(form, leaky_bank, top=99)
        assert len(found) == len(leaky_bank)
        assert [row.id for row in found][:3] == [leaky_bank.ids()[place] for place in np.argsort(-expected)[:3]]
        assert np.allclose([row.cosine for row in found], np.sort(expected)[::-1], atol=1e-6)
    assert sum(engine.images for engine in pixels) == 19 - 1 + 2, "the file once, the array once, of 18 contents"


def test_a_folder_stands_for_its_images(leaky: Path, leaky_bank: fb.Bank, no_engine: None) -> None:
    found = fb.similar([leaky / "test" / "ant", "train/ant/0.png"], leaky_bank, top=1)
    assert [Path(one.image).name for one in found] == ["0.png", "1.png", "nearly.png", "0.png"]
    assert found[1:3].images == found.images[1:3]
    assert "4 images" in repr(found)


def test_all_images_of_a_bank_at_once(leaky: Path, leaky_bank: fb.Bank, no_engine: None) -> None:
    ids = leaky_bank.ids()
    found = fb.similar(ids, leaky_bank, top=1)
    assert [one.id for one in found] == ids
    assert found[ids.index("train/ant/near.png")][0].id == "test/ant/nearly.png"
    dataset = fb.load_dataset(str(leaky), limit=9)
    assert [one.id for one in fb.similar(dataset, leaky_bank, top=1)] == [name for name in dataset.ids if name in ids]


def test_what_is_wrong_is_one_line(leaky: Path, leaky_bank: fb.Bank, tmp_path: Path) -> None:
    zeros = np.zeros(0, np.int32)
    with BankWriter(tmp_path / "empty", {"backbone": "none"}, {"name": "made", "classes": ["a", "b"]}) as writer:
        writer.finish(Items([], np.empty(0, "S32"), zeros, zeros.astype(np.uint8)), ["pooled"], [], None)
    empty = fb.Bank(tmp_path / "empty")
    for image, line in {
        "train/ant/neat.png": "unknown image 'train/ant/neat.png': did you mean 'train/ant/near.png'",
        "nearly.png": "did you mean 'test/ant/nearly.png'? Expected the path of an image or of a folder, or the id of",
        "?": "unknown image '?': there is no such file or folder, and none of the bank's 19 ids is near",
        "x" * 5000: "unknown image",
        "a\0b": "unknown image",
    }.items():
        with pytest.raises(UnknownNameError) as error:
            fb.similar(image, leaky_bank)
        assert line in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    for images in ([], "", [""]):
        with pytest.raises(DatasetError, match="there are no images"):
            fb.similar(images, leaky_bank)
    with pytest.raises(DatasetError, match=r"broken.jpg' cannot be used: not an image .*; repair or remove it$"):
        fb.similar(leaky / "train" / "bee" / "broken.jpg", leaky_bank)
    with pytest.raises(UnknownNameError, match=r"unknown tap 'map': .*'featurebank extract --tap map' adds it"):
        fb.similar("train/ant/0.png", leaky_bank, tap="map")
    with pytest.raises(ConfigError, match="top is 0: expected a whole number of 1 or more"):
        fb.similar("train/ant/0.png", leaky_bank, top=0)
    with pytest.raises(ConfigError, match="has no images to compare with: run 'featurebank extract' first"):
        fb.similar("0.png", empty)
    with BankWriter(tmp_path / "unlabelled", {"backbone": "none"}, {"name": "made", "classes": []}) as writer:
        writer.finish(Items([], np.empty(0, "S32"), zeros, zeros.astype(np.uint8)), ["pooled"], [], None)
    with pytest.raises(ConfigError, match="holds images without labels: choose a bank of a dataset with --bank"):
        fb.similar("0.png", fb.Bank(tmp_path / "unlabelled"))


def test_maps_alone_are_averaged(make_bank: Callable[..., fb.Bank]) -> None:
    bank = make_bank(taps=("map",))
    (found,) = fb.similar("7.png", bank, top=5)
    averages = bank.features("map").mean(axis=(1, 2))
    own = bank.ids().index("7.png")
    unit = averages / np.linalg.norm(averages, axis=1, keepdims=True)
    nearest = [bank.ids()[place] for place in np.argsort(-(unit @ unit[own])) if place != own]
    assert [row.id for row in found] == nearest[:5]


def row(label: str, **more: Any) -> Neighbour:
    return Neighbour(f"{label}.jpg", label, "train", 0.5, None, False, 0)._replace(**more)


@pytest.mark.parametrize(
    ("labels", "own", "sentence", "vote"),
    [
        (["unlabelled"], None, "The 2 most similar images have cosines from 0.50 to 0.50.", None),
        ([], None, "The most similar image has the cosine 0.50.", None),
        (["rose"], None, "The most similar image is labelled rose.", "rose"),
        (["rose", "rose"], None, "Both most similar images are labelled rose.", "rose"),
        (["rose"] * 12, "rose", "All 12 most similar images are labelled rose, as the image itself is.", "rose"),
        (["rose", "tulip", "rose"], "tulip",
         "2 of the 3 most similar images are labelled rose, but the image itself is labelled tulip.", "rose"),
        (["rose", "tulip"], None, "1 of the 2 most similar images is labelled rose, as many are tulip.", None),
        (["a", "b", "c"], None, "1 of the 3 most similar images is labelled a, as many are b and as many c.", None),
        (["a", "b", "c", "d"], "a",
         "1 of the 4 most similar images is labelled a, as many are of each of 3 other labels.", None),
    ],
)  # fmt: skip
def test_the_vote_in_one_sentence(labels: list[str], own: str | None, sentence: str, vote: str | None) -> None:
    found = Neighbours("mine.jpg", (*map(row, labels), row("copy", is_copy=True)), label=own)
    assert found.sentence == sentence
    assert found.vote == vote
    assert Neighbours("mine.jpg", ()).sentence == "The bank has no other image."


def test_several_votes_in_one_sentence(leaky_bank: fb.Bank) -> None:
    right, wrong = (Neighbours("i", (row("ant"),), label=label) for label in ("ant", "bee"))
    assert SimilarImages(leaky_bank, "pooled", (right, wrong)).sentence == (
        "1 of 2 images have the most frequent label of their neighbours."
    )
    new, torn = Neighbours("i", (row("ant"),)), Neighbours("i", (row("ant"), row("bee")))
    assert SimilarImages(leaky_bank, "pooled", (right, new, torn)).sentence == (
        "By the most frequent label of their neighbours: ant 2, no single label 1."
    )


def test_a_table(leaky_bank: fb.Bank) -> None:
    frame = fb.similar(["train/ant/0.png", "train/ant/1.png"], leaky_bank, top=2).to_frame()
    assert list(frame.columns) == ["image", "rank", "id", "label", "split", "cosine", "path", "is_copy"]
    assert frame["rank"].tolist() == [1, 2, 1, 2]


def test_a_page_with_hostile_names_and_a_missing_image(
    leaky: Path, leaky_bank: fb.Bank, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    found = fb.similar([HOSTILE, "test/bee/same.png"], leaky_bank, top=18)
    (leaky / "train" / "ant" / "same.png").unlink()
    (leaky / "train" / "ant" / "0.png").write_bytes(b"other")
    path = found.write_page(tmp_path / "page.html")
    page = open_page(path, 390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    text = page.inner_text("main")
    assert HOSTILE in text
    assert "the file is gone" in text
    assert "the image has changed since its features were computed" in text
    assert found[0].sentence in text
    with pytest.raises(ConfigError, match="exists"):
        found.write_page(path)
    assert found.write_page(path, force=True) == path


def test_a_notebook_shows_pictures(leaky_bank: fb.Bank, make_bank: Callable[..., fb.Bank]) -> None:
    found = fb.similar([HOSTILE] * 7, leaky_bank)
    display = SimilarImages._repr_html_.__wrapped__(found)
    assert display.count("<img") == 5 * 8
    assert "<script" not in display
    assert "the first 5 are shown" in display
    assert "<img" not in SimilarImages._repr_html_.__wrapped__(fb.similar("7.png", make_bank()))
