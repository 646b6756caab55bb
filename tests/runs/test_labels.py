"""Names of rows: what differs between them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.fitting.spec import HeadSpec
from featurebank.heads.catalog import kind_of
from featurebank.runs.labels import short_names


def spec(kind: str, params: dict[str, Any] | None = None, **more: Any) -> HeadSpec:
    return HeadSpec(kind, kind_of(kind).full_params(params or {}), **more)


def test_what_all_rows_of_a_kind_share_is_left_out() -> None:
    rows = [spec("svm", {"C": C, "max_images": 5000}) for C in (2.0, 3.0)]
    assert short_names(rows) == (["svm(C=2)", "svm(C=3)"], {"max_images=5000": ["svm"]})


def test_what_all_rows_share_that_have_it_is_left_out() -> None:
    rows = [spec("svm", {"C": 2.0, "max_images": 5000}), spec("kernel_ridge", {"max_images": 5000}), spec("lda")]
    assert short_names(rows) == (["svm(C=2)", "kernel_ridge", "lda"], {"max_images=5000": ["svm", "kernel_ridge"]})


def test_classes_have_names_with_their_spaces() -> None:
    params = [{"class_weight": {"1": 2.0, "0": 1.5}}, {"class_weight": {"1": 3.0}}, {"class_weight": [1.0, 2.5]}]
    names, _ = short_names([spec("ridge", one, classes=("ant", "black cat")) for one in params])
    assert names[0] == "ridge(class_weight={'black cat':2,'ant':1.5})"
    assert names[1:] == ["ridge(class_weight={'black cat':3})", "ridge(class_weight=[1,2.5])"]
    assert "monitor=val_recall:black cat" in str(spec("softmax", {"monitor": "val_recall:black cat"}))


def test_a_single_row_says_what_it_is() -> None:
    assert short_names([spec("svm", {"C": 2.0}), spec("lda")]) == (["svm(C=2)", "lda"], {})


def test_a_default_in_another_row_is_a_difference() -> None:
    assert short_names([spec("svm", {"C": 2.0}), spec("svm")])[0] == ["svm(C=2)", "svm"]


def test_views_are_a_difference() -> None:
    rows = [spec("softmax", {"epochs": 7}, views=views) for views in (0, 1, 4, None)]
    names = ["softmax", "softmax(1 view)", "softmax(4 views)", "softmax(views unknown)"]
    assert short_names(rows) == (names, {"epochs=7": ["softmax"]})


def test_names_of_a_person() -> None:
    rows = [spec("softmax", {"epochs": 7}, name="model 7"), spec("softmax", {"epochs": 9, "l2": 0.5})]
    assert short_names(rows)[0] == ["model 7", "softmax(epochs=9, l2=0.5)"]
    rows = [spec("softmax", {"epochs": n, "l2": 0.5}, name="model 7") for n in (7, 8)]
    assert short_names(rows) == (["model 7(epochs=7)", "model 7(epochs=8)"], {})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["svm", "knn", "softmax"]),
            st.sampled_from([0, 2]),
            st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
        ),
        unique_by=repr,
        max_size=6,
    )
)
@settings(max_examples=60)
def test_different_rows_have_different_names(rows: list[tuple[str, int, dict[str, int]]]) -> None:
    found = {
        specification.key: specification
        for kind, views, params in rows
        for specification in [HeadSpec(kind, params, views=views if kind == "softmax" else 0)]
    }
    names, _ = short_names(list(found.values()))
    assert len(set(names)) == len(found)
