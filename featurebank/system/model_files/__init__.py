"""Checks of ONNX's and OpenVINO's model files before a library opens them: they may come from anybody.

`trial` reads a file in a process of its own first; `onnx_file` and `openvino_file` check what a file refers to, and
`checksum` its bytes. Open `trial` first.
"""
