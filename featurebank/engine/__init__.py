"""Engines: batches of images in, tap arrays out."""
