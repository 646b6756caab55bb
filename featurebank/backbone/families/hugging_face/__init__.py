"""Models of the Hugging Face hub: their files, configurations, image processors and weights.

`families/transformers.py` makes a backbone of them; open it first. What comes in here is data from strangers: no file
runs code, and none decides how much memory is taken.
"""
