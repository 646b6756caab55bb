"""Which images a model has seen: `sketch` keeps a few digests of many images, `record` is what a model file stores of
its training and validation images, and `overlap` says how many evaluated images are among them.

Open `overlap` first.
"""
