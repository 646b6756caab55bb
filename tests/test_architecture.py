"""The rooms of the house: who may import whom. The tables here are the drawing of the architecture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

PACKAGE = Path(__file__).resolve().parents[1] / "featurebank"

LEVELS = {
    "errors": 0,
    "words": 0,
    "archive": 1,
    "progress": 0,
    "stderr": 0,
    "digest": 1,
    "files": 1,
    "levels": 1,
    "sealed": 1,
    "system": 1,
    "csv_files": 2,
    "runtime": 1,
    "meter": 1,
    "class_names": 1,
    "hints": 1,
    "toml_files": 1,
    "dataset": 2,
    "backbone": 2,
    "bank": 2,
    "metrics": 2,
    "augment": 3,
    "engine": 3,
    "training": 2,
    "heads": 3,
    "near": 3,
    "originals": 3,  # a bank's images, found again
    "extraction": 4,
    "boards": 4,  # a stage's output: runs -> TensorBoard's files
    "grid": 4,
    "inspection": 4,
    "advice": 5,
    "grafting": 5,  # a bank's backbone and a run -> one model, its file, predictions
    "selection": 4,
    "finetuning": 6,  # begins with a graft
    "canaries": 5,
    "transformer": 5,
    "doctor": 6,
    "report": 6,
    "config": 7,  # a pipeline file: the options of all stages
    "variants": 8,
    "pipeline": 9,
    "cli": 10,
    "__main__": 11,
    "__init__": 11,
}
"""Imports go towards a smaller number; inside a room, from sibling to sibling."""

ALLOWED_BESIDE = {("archive", "files"),
    ("errors", "words"), ("files", "errors"), ("runtime", "errors"), ("digest", "files"), ("toml_files", "files"),
    ("sealed", "files"), ("sealed", "digest"),
}  # fmt: skip

OWNERS = {
    "tensorflow": {"runtime", "training", "grafting"},  # everybody else takes it from runtime.import_tensorflow
    "keras": {"backbone", "dataset", "engine", "heads", "grafting", "finetuning"},  # dataset: it downloads CIFAR
    "openvino": {"engine"},
    "h5py": {"bank", "backbone"},
    "xgboost": {"heads"},
    "sklearn": {"dataset", "heads", "transformer"},
    "pandas": {"heads"},  # the leaderboard as a data frame
    "tensorboard": {"boards"},
    "onnx": {"grafting"},
    "tf2onnx": {"grafting"},
    "onnxruntime": {"grafting"},
    "scipy": {"heads", "metrics", "training"},  # metrics: quantiles and sums of distributions
    "click": {"cli"},
    "rich": {"cli"},
    "pydantic": {"system", "bank"},
    "filelock": {"bank"},
    "PIL": {"dataset", "backbone", "report"},  # report: pictures on a page are files
    "jinja2": {"report"},
    "threadpoolctl": {"runtime", "doctor"},
    "pyarrow": {"dataset"},
    "fsspec": {"dataset"},
    "aiohttp": {"dataset"},
    "pooch": {"dataset", "backbone"},  # weights, beside archives of images
    "datasets": {"dataset"},
    "tensorflow_datasets": {"dataset"},
    "array_record": {"dataset"},
}
"""Which rooms may import a package."""

NARROWER = {
    "h5py": {"bank/shard.py", "bank/plain.py", "backbone/keras_file.py"},
    "xgboost": {"heads/boosted.py", "heads/saved.py"},
    "tensorflow": {
        "runtime.py",
        "grafting/guard.py",  # the schema of TensorFlow Lite's files
        "training/dropout.py",
        "training/programs/dense.py",
        "training/programs/dense_blocks.py",
        "training/programs/losses.py",
        "training/programs/maps.py",
    },
    "onnx": {"grafting/converters.py", "grafting/guard.py"},
    "tf2onnx": {"grafting/converters.py"},
    "onnxruntime": {"grafting/formats.py", "grafting/converters.py"},
    "openvino": {"engine/openvino.py"},  # its import is told not to report home there
    "pyarrow": {"dataset/table_files.py"},
    "fsspec": {"dataset/remote.py"},
    "aiohttp": {"dataset/remote.py"},
    "pooch": {"dataset/archives.py", "backbone/download.py"},
    "datasets": {"dataset/hub.py"},
    "tensorflow_datasets": {"dataset/tfds.py"},
    "array_record": {"dataset/tfds.py"},
}
"""Files within those rooms, where that is decided more finely."""

HEAVY = {
    "tensorflow", "openvino", "keras", "sklearn", "xgboost", "h5py", "scipy", "pydantic", "rich",
    "pyarrow", "fsspec", "aiohttp", "pooch", "datasets", "tensorflow_datasets", "jinja2", "pandas",
    "tensorboard", "onnx", "tf2onnx", "onnxruntime",
}  # fmt: skip
LIGHT_FILES = (
    "__init__.py",
    "__main__.py",
    "errors.py",
    "digest.py",
    "files.py",
    "runtime.py",
    "progress.py",
    "stderr.py",
    "hints.py",
)
DRAWERS = {"cli/console.py", "cli/reporter.py", "cli/tables.py", "cli/portrait.py"}
"""What commands import inside their bodies, to draw on the terminal."""


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
            inside = there == here
            if LEVELS[there] >= LEVELS[here] and not inside and (here, there) not in ALLOWED_BESIDE:
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


def test_there_is_no_cycle_between_modules() -> None:
    """Nor one that an import inside a function hides."""
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


def test_modules_stay_small() -> None:
    long = {p.relative_to(PACKAGE).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in files()}
    assert {name: lines for name, lines in long.items() if lines > 330} == {}


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
