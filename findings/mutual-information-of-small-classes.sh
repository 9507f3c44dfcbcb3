#!/bin/bash
# scikit-learn's mutual_info_classif depends on a constant that is added to a feature, and exceeds the entropy of the
# labels, where a class has at most 2 * n_neighbors + 1 samples.
#
# Versions: scikit-learn 1.9.1, numpy 2.4.6.
# Expected: I(X + c; Y) = I(X; Y) for any constant c, and I(X; Y) <= H(Y) = ln 3 = 1.0986 nats for three classes of
#   equal size. The reference defines the estimate by distances between samples, which a constant leaves as they are.
# Seen: with 8 samples a class the estimate is the same bits for c = 0 and c = 1e9. With 7 and 6 it moves with c and is
#   over 2 nats at c = 1e9, about twice what the labels hold. For so few samples NearestNeighbors(algorithm="auto")
#   searches by brute force, whose Euclidean distances come from squares and lose small differences of large numbers;
#   from 8 samples on it builds a tree, which subtracts.
# Source: sklearn/feature_selection/_mutual_info.py (_compute_mi_cd), sklearn/neighbors/_base.py (choice of brute),
#   Ross 2014, "Mutual Information between Discrete and Continuous Data Sets", PLoS ONE 9(2), e87357.
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import math
import sys

import numpy as np
import sklearn
from sklearn.feature_selection import mutual_info_classif

print(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, ln 3 = {math.log(3):.4f} nats")


def estimate(samples, constant):
    """Three classes, one after the other on the line: the feature tells the class."""
    x = np.arange(3 * samples, dtype=float)[:, None] + constant
    y = np.repeat([0, 1, 2], samples)
    return float(mutual_info_classif(x, y, n_neighbors=3, random_state=0)[0])


found = {samples: [estimate(samples, constant) for constant in (0.0, 1e3, 1e9)] for samples in (6, 7, 8)}
for samples, values in found.items():
    print(f"{samples} samples a class: " + ", ".join(f"{value:.4f}" for value in values) + "  (c = 0, 1e3, 1e9)")
still = len(set(found[8])) == 1 and all(values[2] > 2.0 > math.log(3) for values in (found[6], found[7]))
sys.exit(0 if still else 1)
PYTHON
