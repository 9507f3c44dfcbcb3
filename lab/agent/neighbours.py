"""What columns say about a label, by nearest neighbours: scikit-learn's estimator, for all columns at once.

scikit-learn builds and asks a tree for each column and label. A column is one line of numbers: sorted, a sample's
nearest neighbours stand beside it. The numbers are the same to the bit where a label has eight samples or more; of
fewer scikit-learn computes distances with an error that lets it count the k-th neighbour or not by chance.

C columns, N samples, n of them with one label.
"""

import numpy as np


def label_information_of(x_NC: np.ndarray, labels_N: np.ndarray, *, neighbours: int, seed: int) -> np.ndarray:
    """I(X_c; label) of each column (C,), nats, at least 0; some label comes twice.

    psi(N) + <psi(k)> - <psi(n)> - <psi(m)>: m samples, itself one of them, are nearer than the sample's k-th neighbour
    of its own label. Samples whose label no other one has do not count.

    Source: Ross 2014, "Mutual Information between Discrete and Continuous Data Sets", equation 2; columns are scaled
    and equal values told apart as in `sklearn.feature_selection.mutual_info_classif`.

    Args:
        x_NC: finite, float64.
        labels_N: one label for each sample.
        neighbours: k; fewer where a label has not so many others.
        seed: of the noise, 1e-10 of a column's size, that tells equal values apart.
    """
    from scipy.special import digamma
    from sklearn.preprocessing import scale

    x_NC = scale(x_NC, with_mean=False)
    sizes_C = np.maximum(1, np.mean(np.abs(x_NC), axis=0))
    x_CN = np.ascontiguousarray((x_NC + 1e-10 * sizes_C * np.random.RandomState(seed).standard_normal(x_NC.shape)).T)
    _, place_N, counts = np.unique(labels_N, return_inverse=True, return_counts=True)
    shared_N = counts[place_N] > 1
    x_CN, place_N = x_CN[:, shared_N], place_N[shared_N]
    radius_CN, k_N = np.empty_like(x_CN), np.minimum(neighbours, counts[place_N] - 1)
    for label in np.flatnonzero(counts > 1):
        own = place_N == label
        radius_CN[:, own] = _distances(x_CN[:, own], min(neighbours, counts[label] - 1))
    nearer_CN = _nearer(x_CN, radius_CN)
    known = digamma(len(place_N)) + np.mean(digamma(k_N)) - np.mean(digamma(counts[place_N]))
    return np.maximum(0.0, known - np.mean(digamma(nearer_CN), axis=1))


def _distances(x_Cn: np.ndarray, k: int) -> np.ndarray:
    """Of each value to its k-th nearest in its row, (C, n)."""
    order_Cn = np.argsort(x_Cn, axis=1)
    line_Cn = np.take_along_axis(x_Cn, order_Cn, axis=1)
    # The k nearest and the value itself are k + 1 in a row of the line: of all such rows it is the narrowest.
    edge = np.full((len(x_Cn), k), np.inf)
    padded = np.hstack([-edge, line_Cn, edge])
    length = line_Cn.shape[1]
    widths = [
        np.maximum(line_Cn - padded[:, k - left : k - left + length], padded[:, 2 * k - left :][:, :length] - line_Cn)
        for left in range(k + 1)
    ]
    found = np.empty_like(x_Cn)
    np.put_along_axis(found, order_Cn, np.min(widths, axis=0), axis=1)
    return found


def _nearer(x_CN: np.ndarray, radius_CN: np.ndarray) -> np.ndarray:
    """How many values of its row are nearer to each value than its radius, itself among them (C, N)."""
    order_CN = np.argsort(x_CN, axis=1)
    line_CN, radius_CN = (np.take_along_axis(each, order_CN, axis=1) for each in (x_CN, radius_CN))
    counts_CN = _beside(line_CN, radius_CN) + _beside(-line_CN[:, ::-1], radius_CN[:, ::-1])[:, ::-1] + 1
    found = np.empty_like(counts_CN)
    np.put_along_axis(found, order_CN, counts_CN, axis=1)
    return found


def _beside(line_CN: np.ndarray, radius_CN: np.ndarray) -> np.ndarray:
    """How many of the values that follow each in its rising row are nearer than its radius."""
    width = line_CN.shape[1]
    place = np.broadcast_to(np.arange(width), line_CN.shape)
    low, high = place, np.full_like(place, width)
    # By halves. What is compared are differences: a sum of value and radius would be rounded to the neighbour itself.
    while (open_ := high - low > 1).any():
        middle = np.where(open_, (low + high) // 2, low)
        near = np.take_along_axis(line_CN, middle, axis=1) - line_CN < radius_CN
        low, high = np.where(near, middle, low), np.where(near, high, middle)
    return low - place
