"""Python code that uses a model file without featurebank; each file has it in its metadata."""

from __future__ import annotations

from textwrap import dedent, indent

from featurebank.backbone.resize import AUTO, CROP, PAD, STRETCH, TALL_VERTICALLY_FIRST, WHOLE, central_of

_SQUARES = {
    AUTO: """\
        short = min(image.size)
        if short > size:  # the central square, 7/8 of the shorter side
            side, start = 0.875 * short, [(length - 0.875 * short) / 2 for length in image.size]
        else:  # of a small image all of the shorter side
            side, start = short, [(length - short) // 2 for length in image.size]
        box = (*start, start[0] + side, start[1] + side)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
""",
    CROP: """\
        side = 0.875 * min(image.size)  # the central square, 7/8 of the shorter side
        left, upper = ((length - side) / 2 for length in image.size)
        box = (left, upper, left + side, upper + side)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
""",
    WHOLE: """\
        side = min(image.size)  # the central square
        left, upper = ((length - side) // 2 for length in image.size)
        box = (left, upper, left + side, upper + side)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
""",
    STRETCH: """\
        image = image.resize((size, size), Image.Resampling.BICUBIC)
""",
    PAD: """\
        inner = [max(1, round(length * size / max(image.size))) for length in image.size]
        shown, image = image.resize(inner, Image.Resampling.BICUBIC), Image.new("RGB", (size, size))
        image.paste(shown, [(size - length) // 2 for length in inner])
""",
}  # fmt: skip

_CENTRAL = """\
        {scaled}
        corner = [{rounded}((length - size) / 2) for length in scaled]  # of the central square
        x, y = (own / length for own, length in zip(image.size, scaled))
        right, lower = min((corner[0] + size) * x, image.width), min((corner[1] + size) * y, image.height)
        kind, left, upper = Image.Resampling.{interpolation}, corner[0] * x, corner[1] * y
        across = lambda image: image.resize((size, image.height), kind, box=(left, 0, right, image.height))
        down = lambda image: image.resize((image.width, size), kind, box=(0, upper, image.width, lower))
        {passes}
"""
_PASSES = (
    "tall = image.height - scaled[1] > max(0, 2 * (image.width - scaled[0]))\n"
    "        image = across(down(image)) if tall else down(across(image))"
    if TALL_VERTICALLY_FIRST
    else "image = down(across(image))"
)
_SCALED = {
    "shorter": "scaled = [int({side} * length / min(image.size)) for length in image.size]",
    "stretch": "scaled = [{side}, {side}]",
}

_OPEN = '    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")\n'

_MEMBER = 'classes = json.loads(zipfile.ZipFile("{file}").read("featurebank.json"))["classes"]\n'

_RUNS = {
    "keras": (
        "import json, zipfile, keras\n\n"
        'model = keras.models.load_model("{file}")\n' + _MEMBER + 'probabilities = model.predict(load("{image}"))[0]\n'
    ),
    "onnx": (
        "import json, onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])\n'
        'classes = json.loads(session.get_modelmeta().custom_metadata_map["featurebank"])["classes"]\n'
        'probabilities = session.run(None, {{"image": load("{image}")}})[0][0]\n'
    ),
    "openvino": (
        "import json, openvino\n\n"
        "core = openvino.Core()\n"
        'model = core.read_model("{file}")\n'
        'classes = json.loads(model.get_rt_info(["featurebank"]).astype(str))["classes"]\n'
        'compiled = core.compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})\n'
        'probabilities = compiled(load("{image}"))[0][0]\n'
    ),
    "tflite": (
        "import json, zipfile, tensorflow as tf\n\n"
        'interpreter = tf.lite.Interpreter("{file}")\n'
        "interpreter.allocate_tensors()\n"
        'interpreter.set_tensor(interpreter.get_input_details()[0]["index"], load("{image}"))\n'
        "interpreter.invoke()\n"
        'probabilities = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]\n' + _MEMBER
    ),
    "joined": (
        "import featurebank\n\n"
        'model = featurebank.load_model("{file}")  # a head that is no layers needs featurebank\n'
        "classes = model.classes\n"
        'probabilities = model.predict(load("{image}"))[0]\n'
    ),
}


def how_to_load(rule: str, size: int, *, any_size: bool = False) -> str:
    """Returns the code of a function `load`, which turns an image file into the input of a model.

    Args:
        rule: the resize rule, one of `featurebank.backbone.resize`.
        size: the side of the model's square input in pixels.
        any_size: whether the model resizes images itself.
    """
    head = "import numpy as np\nfrom PIL import Image, ImageOps\n\n\n"
    if any_size:
        return f"{head}def load(path):\n{_OPEN}    return np.asarray(image)[None]  # of any size, uint8\n"
    body = f"    if image.size != (size, size):\n{_square(rule, size)}"
    if (parts := central_of(rule)) and parts.side > size:  # an image of the right size is scaled, too
        body = indent(dedent(_square(rule, size)), "    ")
    return f'{head}def load(path, size={size}):\n{_OPEN}{body}    return np.asarray(image, "float32")[None]  # 0..255\n'


def _square(rule: str, size: int) -> str:
    """Returns the lines that resize `image` to `size`, whose value is given, too."""
    if (parts := central_of(rule)) is None:
        return _SQUARES[rule]
    scaled = _SCALED[parts.form].format(side=max(parts.side, size))
    rounded = "int" if parts.rounds_down else "round"
    return _CENTRAL.format(scaled=scaled, rounded=rounded, interpolation=parts.interpolation.upper(), passes=_PASSES)


def how_to_run(form: str, file: str, image: str = "photo.jpg") -> str:
    """Returns the code that runs a model file on the result of `load`, and sets `classes` and `probabilities`.

    Args:
        form: the name of the format.
        file: the name of the file.
        image: the name of an image file.
    """
    return _RUNS[form].format(file=file, image=image)
