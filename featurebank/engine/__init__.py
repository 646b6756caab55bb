"""Engines compute taps of a backbone for batches of images: images in, arrays out.

To add one, write a file here and add it to `catalog`, which also holds the contract. No other room imports OpenVINO.
"""
