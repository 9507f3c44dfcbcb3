"""Information measures with known answers, and an information-bottleneck objective that has a gradient.

All in nats. N samples, C channels or units, D dimensions of a representation, K classes.
"""

import math
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from lab.agent.neighbours import label_information_of
from lab.base import DataError, require, require_range

NEIGHBOURS = 3
"""Nearest neighbours of the mutual-information estimators (Kraskov et al. 2004; Ross 2014)."""


def discrete_entropy(labels_N: Tensor) -> float:
    """Entropy of a discrete variable, bias-corrected: -sum p ln p + (m - 1) / (2 N) with m values seen.

    Source: Miller 1955, "Note on the bias of information estimates".

    Raises:
        DataError: no samples.
    """
    counts = torch.unique(labels_N, return_counts=True)[1].double()
    total = float(counts.sum())
    if not total:
        raise DataError("samples", "none", "give at least one")
    shares = counts / total
    return float(-(shares * shares.log()).sum()) + (len(counts) - 1) / (2 * total)


def differential_entropy(x_NC: Tensor) -> Tensor:
    """Differential entropy of each column (C,); it grows by ln a when the column is multiplied by a > 0.

    By spacings of the sorted samples (SciPy's estimator, chosen by N); minus infinity for a constant column.

    Raises:
        DataError: fewer than four samples, or values that are not finite.
    """
    from scipy import stats

    x = _table(x_NC, least=4)
    varying = x.std(axis=0) > 0
    entropy = np.full(x.shape[1], -np.inf)
    with warnings.catch_warnings():
        # Equal samples leave spacings of 0: their logarithm is minus infinity, as the entropy of an atom is.
        warnings.simplefilter("ignore", RuntimeWarning)
        if varying.any():
            entropy[varying] = stats.differential_entropy(x[:, varying], axis=0)
    return torch.from_numpy(entropy)


def mutual_information(x_N: Tensor, y_N: Tensor, *, seed: int = 0) -> float:
    """I(X; Y) of two continuous variables by nearest neighbours, at least 0 (Kraskov, Stögbauer, Grassberger 2004).

    A pair that comes several times counts once, see `label_information`.

    Raises:
        DataError: fewer than `NEIGHBOURS` + 1 different samples, another number of them, or values that are not finite.
    """
    from sklearn.feature_selection import mutual_info_regression

    x, y = _table(x_N, least=NEIGHBOURS + 1), _table(y_N, least=NEIGHBOURS + 1)
    require(
        x.shape == y.shape and x.shape[1] == 1,
        expected="two columns of the same length",
        got=f"{tuple(x_N.shape)} and {tuple(y_N.shape)}",
        hint="pair the samples",
    )
    kept = _different(np.hstack([x, y]))
    found = mutual_info_regression(x[kept], y[kept, 0], n_neighbors=NEIGHBOURS, random_state=seed)
    return float(found[0])


def label_information(x_NC: Tensor, labels_N: Tensor, *, seed: int = 0) -> Tensor:
    """I(X_c; label) of each column (C,), at least 0, by nearest neighbours within and across labels (Ross 2014).

    A row that comes several times with one label counts once: a sampler with replacement would make each sample the
    nearest neighbour of itself, and independent columns would seem to say everything. A row that is more than sqrt(N)
    of the N samples is an atom of the distribution, as zeros behind a ReLU, and keeps its share.

    Raises:
        DataError: fewer different samples than `NEIGHBOURS` + 1, or values that are not finite.
    """
    x = _table(x_NC, least=NEIGHBOURS + 1)
    labels = labels_N.detach().cpu().numpy()
    require(
        len(labels) == len(x),
        expected=f"{len(x)} labels",
        got=len(labels),
        hint="give one label for each sample",
    )
    kept = _different(np.hstack([x, np.unique(labels, return_inverse=True)[1][:, None]]))
    # Where every column says nothing the estimator gives whole zeros.
    if np.unique(labels[kept], return_counts=True)[1].max() < 2:
        # No two samples share a label: the estimator would be left with none.
        return torch.zeros(x.shape[1], dtype=torch.float64)
    return torch.from_numpy(label_information_of(x[kept], labels[kept], neighbours=NEIGHBOURS, seed=seed))


def redundancy(x_NC: Tensor) -> Tensor:
    """For each column, the share of its variance that the other columns explain linearly (C,), in [0, 1].

    R^2 with Wherry's correction 1 - (1 - R^2) (N - 1) / (N - C), from the inverse of the correlation matrix:
    R^2_c = 1 - 1 / (R^-1)_cc. A constant column is explained wholly.

    Raises:
        DataError: not more samples than columns, or values that are not finite.
    """
    x = _table(x_NC, least=4)
    count, width = x.shape
    if count <= width + 1:
        raise DataError(f"more than {width + 1} samples for {width} columns", f"{count}", "take more samples")
    varying = x.std(axis=0) > 1e-12
    explained = np.ones(width)
    if varying.sum() == 1:
        explained[varying] = 0.0
    elif varying.any():
        correlation = np.corrcoef(x[:, varying], rowvar=False)
        # The pseudo-inverse would lose exact copies; a hair of noise keeps them finite and at R^2 = 1.
        inverse = np.linalg.inv(correlation + 1e-9 * np.eye(len(correlation)))
        share = 1.0 - 1.0 / np.diag(inverse)
        free = count - int(varying.sum())
        explained[varying] = 1.0 - (1.0 - share) * (count - 1) / free
    return torch.from_numpy(explained.clip(0.0, 1.0))


def pooled_activations(output: Tensor) -> Tensor:
    """Activations (N, C) of a layer's output: maps (N, C, ...) and tokens (N, T, C) are averaged.

    Raises:
        DataError: another number of dimensions.
    """
    if output.dim() == 2:
        return output
    if output.dim() == 3:
        return output.mean(1)
    if output.dim() == 4 or output.dim() == 5:
        return output.flatten(2).mean(2)
    raise DataError("activations (N, C), (N, T, C), (N, C, H, W) or with depth", f"{tuple(output.shape)}", "pool them")


class InformationBottleneck:
    """The loss CE(y) + beta * I(X; T) for a noisy representation T = f(x) + noise, with a gradient in f.

    I(X; T) is bounded from above by -1/N sum_i ln 1/N sum_j exp(-|f_i - f_j|^2 / (2 s^2)), which is exact for
    clusters: 0 where all f_i are equal, ln N where they are far apart against the noise s.
    Source: Kolchinsky, Tracey, Wolpert 2019, "Nonlinear Information Bottleneck", equation 9.

    Args:
        beta: weight of compression, >= 0.
        noise: standard deviation s, > 0, in units of the representation.
    """

    def __init__(self, beta: float = 1e-2, noise: float = 1.0) -> None:
        require_range("beta", beta, 0)
        require_range("noise", noise, 0, open_low=True)
        self.beta = beta
        self.noise = noise

    def compression(self, representation_ND: Tensor) -> Tensor:
        """Upper bound of I(X; T), nats, in [0, ln N]; a scalar with a gradient."""
        flat_ND = representation_ND.flatten(1)
        squares_NN = (flat_ND.unsqueeze(1) - flat_ND.unsqueeze(0)).square().sum(-1)
        count = len(flat_ND)
        each_N = (-squares_NN / (2.0 * self.noise**2)).logsumexp(1) - math.log(count)
        return -each_N.mean()

    def relevance(self, logits_NK: Tensor, labels_N: Tensor) -> float:
        """Lower bound of I(T; Y): H(Y) - CE, at least 0."""
        ce = float(nn.functional.cross_entropy(logits_NK.detach(), labels_N))
        return max(discrete_entropy(labels_N) - ce, 0.0)

    def objective(self, representation_ND: Tensor, logits_NK: Tensor, labels_N: Tensor) -> Tensor:
        """CE + beta * I(X; T), a scalar to minimise."""
        return nn.functional.cross_entropy(logits_NK, labels_N) + self.beta * self.compression(representation_ND)


def _different(rows: np.ndarray) -> np.ndarray:
    """Whether each row is kept: the first of equal ones, and every row of an atom."""
    _, first, of_row, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    kept = counts[of_row.reshape(-1)] > math.sqrt(len(rows))
    kept[first] = True
    if kept.sum() <= NEIGHBOURS:
        hint = "give samples that are not copies of each other"
        raise DataError(f"at least {NEIGHBOURS + 1} different samples", f"{len(first)} among {len(rows)}", hint)
    return kept


def _table(x: Tensor, *, least: int) -> np.ndarray:
    values = x.detach().double().cpu().numpy()
    table = values[:, None] if values.ndim == 1 else values
    if table.ndim != 2 or len(table) < least:
        raise DataError(f"at least {least} samples in rows (N, C)", f"shape {tuple(x.shape)}", "pool and collect more")
    if not np.isfinite(table).all():
        raise DataError("finite values", "NaN or infinity", "look at the layer with lab doctor")
    return table
