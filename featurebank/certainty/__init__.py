"""When a model is not sure: sets of classes, abstention, and images unlike those of its training. Pure numpy.

Everything is calibrated on validation images: `scores` has the tables of their scores, `conformal` makes sets of
classes, `abstention` decides which images are answered, and `likeness` compares features with those of the training
images. `record` is what a model file stores of all this, and `measured` says how well it works on labelled images.
Open `record` first. No network and no bank comes in here: arrays of probabilities, labels and features do.
"""
