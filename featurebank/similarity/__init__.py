"""Stage: finds the images of a bank that are most similar to given images, by the cosine of their features.

Takes a bank and images, in files or of the bank; returns their neighbours, and writes them as a page with pictures.
Open `stage` first; `search` is the pass over the features.
"""
