"""Engines compute taps of a backbone for batches of images: images in, arrays out.

To add one, write a file here and add a line to `table`; `catalog` holds the contract. No other room imports OpenVINO.
"""
