"""A model file is read in another process first, which may crash, grow or never end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featurebank.errors import ArchiveError
from featurebank.system.model_files import trial
from featurebank.system.model_files.trial import openvino_line, try_reading

SOUND = """<?xml version="1.0"?>
<net name="a" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,3,?,?" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>-1</dim><dim>3</dim><dim>-1</dim><dim>-1</dim></port></output></layer>
<layer id="1" name="y" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>-1</dim><dim>3</dim><dim>-1</dim><dim>-1</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.xml"
    path.write_text(SOUND)
    return path


def test_a_sound_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try_reading([file])
    monkeypatch.setattr(subprocess, "run", None)
    try_reading([file])


def test_a_broken_file_gives_the_reason(file: Path) -> None:
    file.write_text(SOUND.replace('type="Parameter"', 'type="Unheard"'))
    with pytest.raises(ArchiveError, match="Unheard") as caught:
        try_reading([file])
    assert "\n" not in str(caught.value)
    assert "src/" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"OpenVINO crashes on it \(SIGSEGV\)"),
        ("import sys; sys.exit('no such module')", r"OpenVINO fails on it \(no such module\)"),
        ("while True: pass", "OpenVINO reads it for more than 1 s"),
    ],
)
def test_a_process_that_ends_otherwise(
    code: str, reason: str, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file.write_text(SOUND + f"<!-- {code} -->")
    monkeypatch.setattr(trial, "_START", code)
    monkeypatch.setattr(trial, "_SECONDS", 1)
    with pytest.raises(ArchiveError, match=reason):
        try_reading([file])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process this way")
def test_memory_has_a_limit() -> None:
    code = "from featurebank.system.model_files import trial; trial._limit_memory(1 << 29); bytearray(1 << 30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("MemoryError")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Exception from src/inference/src/cpp/core.cpp:84:\nFrontEnd API failed with OpConversionFailure:\n"
         "Model wasn't fully converted.\nSummary:\n-- No conversion rule found for operations: Erfc-17\n\n",
         "Model wasn't fully converted. Summary: No conversion rule found for operations: Erfc-17"),
        ("Check 'a' failed at src/core/src/model.cpp:763:\nmust be called on a Model\n", "must be called on a Model"),
        ("std::bad_alloc", "it needs too much memory"),
        ("", "RuntimeError"),
    ],
)  # fmt: skip
def test_messages_of_openvino_in_one_line(text: str, line: str) -> None:
    assert openvino_line(RuntimeError(text)) == line


def test_models_of_any_form_are_examined(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text model has two inputs, or one with two axes: shapes are not inferred for images then."""
    shapes: list[Any] = []
    from featurebank.system.imports.openvino import import_openvino

    core = import_openvino().Core()
    for text in (SOUND, SOUND.replace("?,3,?,?", "?,3")):
        file.write_text(text)
        model = core.read_model(file)
        trial._infer_shapes(model, 20)
        shapes.append(str(model.inputs[0].get_partial_shape()))
    assert shapes == ["[11,3,20,20]", "[?,3]"]
