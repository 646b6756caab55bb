"""Grafts of networks that are not of Keras: `trunks` holds a network as a model of OpenVINO, `graft` adds the head.

Open `graft` first; `onnx_model` writes a graft as ONNX, with
the trunk of a user's .onnx file from `onnx_file`.
"""
