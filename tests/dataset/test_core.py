"""What the dataset says about itself."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.fingerprint import digest_all, reason
from featurebank.system import runtime


class Fake:
    """Pixels whose digests come after a moment."""

    in_threads = True

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.most = 0

    def digest(self, index: int) -> str:
        self.names.add(threading.current_thread().name)
        self.most = max(self.most, index)
        if index % 100 == 0:
            time.sleep(0.001)
        if index == 700:
            raise OSError(5, "Input/output error")
        return f"{index:032x}"

    def image(self, index: int, expected: bytes | None, levels: object = None) -> np.ndarray:
        raise NotImplementedError


def test_digests_come_in_order_from_several_threads() -> None:
    seen: list[int] = []
    found, failed = digest_all(Fake(), 5000, seen.append)
    expected = [f"{index:032x}".encode() for index in range(5000)]
    expected[700] = b""
    assert found.tolist() == expected
    assert failed == [(700, "input/output error")]
    assert sum(seen) == 5000
    assert len(seen) > 1


def test_the_work_in_flight_is_bounded_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_threads", 1)
    fake = Fake()

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digest_all(fake, 1_000_000, stop)
    for thread in [one for one in threading.enumerate() if one.name.startswith("featurebank-fingerprint")]:
        thread.join(20)  # it ends the images that it is at, and takes no others
        assert not thread.is_alive()
    assert fake.most < 20_000
    assert len(fake.names) <= 2


def test_an_error_without_words_is_named() -> None:
    assert reason(OSError()) == "oserror"


def columns(labels: list[int], classes: int) -> Dataset:
    ids = tuple(str(index) for index in range(len(labels)))
    names = tuple(f"c{number:02}" for number in range(classes))
    given = np.zeros(len(labels), np.int8)
    return Dataset(Contents("d", "d", names, ids, np.array(labels, np.int32), Fake(), given), (0.7, 0.3, 0.0), 0)


def test_warnings_name_class_and_split() -> None:
    dataset = columns([0, 0, 1, 1, 2], 3)
    assert dataset.warnings() == ["class 'c02' has only one image", "split 'val' has no images"]
    dataset.contents.predefined[:] = [0, 1, 0, 0, 1]  # type: ignore[index]
    del dataset.splits
    assert dataset.warnings()[1:] == [
        "split 'train' has no images of class 'c02'",
        "split 'val' has no images of class 'c01'",
    ]


def test_many_warnings_are_shortened() -> None:
    dataset = columns([0, 0, 1, 1], 40)
    dataset.contents.predefined[1:3] = 1  # type: ignore[index]
    assert dataset.warnings() == [
        *(f"class 'c0{number}' has no images" for number in (2, 3, 4)),
        "... and 35 more like this",
        "split 'train' has no images of 38 of 40 classes: 'c02', 'c03', 'c04' and 35 more",
        "split 'val' has no images of 38 of 40 classes: 'c02', 'c03', 'c04' and 35 more",
    ]


def test_where_nothing_can_be_read_nothing_else_is_said(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").symlink_to(tmp_path / "nowhere")
    assert load_dataset(tmp_path).warnings() == ["2 images cannot be read, the first is 'ant/1.jpg': file not found"]


def test_a_good_dataset_gives_no_warning(tmp_path: Path, make: SimpleNamespace) -> None:
    assert load_dataset(make.folder(tmp_path, each=40)).warnings() == []


def test_pickling_keeps_what_is_known(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = load_dataset(make.folder(tmp_path, each=3))
    dataset.fingerprint()
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.splits, dataset.splits)
    np.testing.assert_array_equal(copy.image(0), dataset.image(0))
    assert repr(copy) == f"<Dataset folder:{tmp_path}: 9 images, 3 classes>"
