"""Several banks side by side: which banks a dataset has, whether they hold the same images, and what they cost.

Heads of several banks can be compared only if all banks hold the same images with the same labels in the same splits.
This folder uses `catalog`, `manifest` and `reader`, and no other folder of the package beyond those that a bank uses.
Open `same_images` first; `all_of` finds the banks of a dataset.
"""
