"""Checks of model files before libraries of other formats open them."""

from __future__ import annotations

from featurebank.errors import ArchiveError
from featurebank.system.model_files.onnx_file import scan_onnx
from featurebank.system.runtime import import_tensorflow

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""The domains of ONNX's own operators."""
_CUSTOM, _DELEGATE = 32, 51
"""Codes of TensorFlow Lite's `BuiltinOperator` for operators that a name identifies, including all of TensorFlow's."""


def check_onnx(data: bytes) -> dict[str, str]:
    """Rejects an ONNX file that refers to other files, or to operators that are not ONNX's own.

    Args:
        data: the content of the file.

    Returns:
        The entries of its metadata.

    Raises:
        ArchiveError: the file refers to other files or operators.
        Exception: an error of protobuf, if the file is damaged.
    """
    import onnx

    onnx.checker.check_model(onnx.load_model_from_string(data))
    file = scan_onnx(data)
    if file.external:
        raise _refused("weights in another file")
    if others := sorted(file.domains - _DOMAINS):
        raise _refused("operators of " + repr(others[0][:50]))
    return file.metadata


def check_tflite(content: bytes) -> None:
    """Rejects a TensorFlow Lite file with custom operators; these include TensorFlow operators that access files.

    Args:
        content: the content of the file.

    Raises:
        ArchiveError: the file has custom operators.
        Exception: an error of the parser, if the file is damaged.
    """
    import_tensorflow()
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for place in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(place)
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in {_CUSTOM, _DELEGATE} or code.CustomCode():
            raise _refused("the custom operator " + repr(code.CustomCode())[:50])


def put_first(content: bytearray, name: str) -> None:
    """Makes an output of a TensorFlow Lite model its first one: the converter may write them in any order.

    Args:
        content: the content of a file with one or two outputs; changed in place.
        name: the name of the output in the model's signature.
    """
    import_tensorflow()
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    outputs, signature = model.Subgraphs(0).OutputsAsNumpy(), model.SignatureDefs(0)
    named = {signature.Outputs(n).Name().decode(): n for n in range(signature.OutputsLength())}
    if len(outputs) > 1 and outputs[0] != signature.Outputs(named[name]).TensorIndex():
        outputs[:] = outputs[::-1].copy()


def _refused(what: str) -> ArchiveError:
    return ArchiveError(f"it has {what}, but a file must be self-contained and must not decide which code runs")
