"""The same as `plain_script.py` with featurebank, which shows progress where standard error is a terminal.

The confusion matrix is that of the best head on validation images that it was not trained on.
"""

import sys

import featurebank as fb

exact = [{"kind": kind, "C": C} for kind in ("logistic", "svm") for C in (0.01, 0.1, 1.0, 10.0)]
near = [{"kind": "knn", "n_neighbors": k} for k in (1, 5, 10, 20)]
bank = fb.extract(fb.load_dataset(sys.argv[1]), fb.load_backbone("efficientnet_lite0"))
mlp = {"kind": "mlp", "hidden_units": [256], "dropout": 0.5, "epochs": 30}
best = fb.select(fb.train_heads(bank, [*exact, *near, mlp], folds=5))
print(*(f"{one.mean:.3f}  {one.spec}" for one in fb.leaderboard(bank).entries), best.confusion_matrix(), sep="\n")
