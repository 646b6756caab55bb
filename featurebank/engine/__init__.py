"""Engines run a backbone on batches of images, and return its features at the requested taps as arrays.

`submit` returns a future, so that several batches are under way; `feed` decodes images ahead and forms the batches. To
add an engine, write a file here and add a line to `table`; `catalog` defines the interface. Only this folder imports
OpenVINO.
"""
