"""The plain script of a scikit-learn user: features by Keras, 12 candidates in 5 folds, a perceptron, a table."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from keras.layers import Dense, Dropout, Input
from keras.models import Sequential
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from featurebank import load_backbone  # Keras has no EfficientNet-Lite0

files = sorted(Path(sys.argv[1]).glob("*/*.jpg"))
labels = np.array([file.parent.name for file in files])
classes, y = np.unique(labels, return_inverse=True)
backbone = load_backbone("efficientnet_lite0")
network = backbone.tap_model(("pooled",))
images = np.stack([backbone.resize(np.asarray(Image.open(file).convert("RGB"))) for file in files])
features = np.asarray(network.predict(images, batch_size=32, verbose=0)["pooled"])
strengths = (0.01, 0.1, 1.0, 10.0)
candidates = {
    **{f"logistic C={C}": make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000)) for C in strengths},
    **{f"svm C={C}": make_pipeline(StandardScaler(), SVC(C=C)) for C in strengths},
    **{f"knn k={k}": KNeighborsClassifier(k) for k in (1, 5, 10, 20)},
}
folds = StratifiedKFold(5, shuffle=True, random_state=0)
predicted = {name: cross_val_predict(model, features, y, cv=folds) for name, model in candidates.items()}
predicted["mlp"] = np.empty_like(y)
for train, test in folds.split(features, y):
    mlp = Sequential([Input(features.shape[1:]), Dense(256, "relu"), Dropout(0.5), Dense(len(classes), "softmax")])
    mlp.compile("adam", "sparse_categorical_crossentropy")
    mlp.fit(features[train], y[train], epochs=30, verbose=0)
    predicted["mlp"][test] = mlp.predict(features[test], verbose=0).argmax(axis=1)
table = pd.Series({name: (guess == y).mean() for name, guess in predicted.items()}).sort_values(ascending=False)
print(table)
print(pd.DataFrame(confusion_matrix(y, predicted[table.index[0]]), classes, classes))
