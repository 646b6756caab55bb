"""Stage: shows which parts of an image a run relies on: class activation maps, Grad-CAM and occlusion.

Takes a bank, a run and images; returns heat maps, and pictures that lay them over the images. Open `stage` first for
images in files, `heat_maps` for images of a bank.
"""
