"""The estimate of a change's effect, with an interval that holds the noise of training and that of the samples.

R batch orders, N held-out samples. D_ri is the loss of sample i after the changed copy's training in order r, less that
after the control copy's in the same order. The model is D_ri = effect + order_r + sample_i + rest_ri, all random and
independent. The estimate is the mean over both; with A the variance of the R means over samples, B that of the N means
over orders and E the mean square of the rest, its variance is

    V = A / R + max(B / N - E / (R N), 0)

(two crossed random factors: A holds the rest once, B holds it again). A has R - 1 degrees of freedom, one for two
orders; so A is pooled with that of the run's earlier trials, and with an expected value of stated weight, all relative
to the control's loss. It is never taken smaller than what this trial shows. The interval is the mean plus or minus

    sqrt(t_a^2 * first term + t_b^2 * second term)

with Student's t of the degrees of freedom of A and of N - 1: for two variances of unknown ratio it covers at least as
often as it says, where an approximate number of degrees of freedom (Satterthwaite) covers less for two orders.

Sources: Banerjee 1960, "Approximate confidence interval for linear functions of means of k populations when the
population variances are not equal" (the interval); Searle, Casella, McCulloch 1992, "Variance Components", section 4
(the two factors); Smyth 2004, "Linear models and empirical Bayes methods", section 3 (a variance pooled with a prior).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.special import stdtrit
from torch import Tensor

from lab.base import DataError
from lab.trial.config import TrialConfig

OWN_NOISE = 1.5
"""Factor on the variance between two orders because the larger one of a trial's own and the pooled one is taken: the
mean of max(z^2, 1), z standard normal, is 1.48."""


@dataclass(frozen=True, kw_only=True)
class TrialNoise:
    """What the trials of a run have shown of the noise, for the next one."""

    order_squares: float = 0.0
    """Sum of squared deviations of the orders' means, each divided by the square of its control's loss."""
    order_freedom: int = 0
    """Degrees of freedom of that sum."""
    ratio_squares: float = 0.0
    """Sum over trials of variance of the paired differences over variance of the losses."""
    trials: int = 0
    """Trials seen."""

    def order_variance(self, config: TrialConfig) -> tuple[float, int]:
        """Variance of an order's mean, relative to the squared loss, and its degrees of freedom."""
        freedom = self.order_freedom + config.noise_weight
        if not freedom:
            return 0.0, 0
        return (self.order_squares + config.noise_weight * config.noise**2) / freedom, freedom

    def pair_ratio(self, config: TrialConfig) -> float:
        """Deviation of paired differences over that of the losses: as measured, else as expected."""
        return math.sqrt(self.ratio_squares / self.trials) if self.trials else config.pair_ratio

    def observe(self, seen: "Estimate") -> "TrialNoise":
        """With what a further trial has shown; one whose numbers are not finite shows nothing."""
        if not math.isfinite(seen.mean) or seen.control_loss <= 0 or seen.loss_variance <= 0:
            return self
        return TrialNoise(
            order_squares=self.order_squares + seen.order_squares / seen.control_loss**2,
            order_freedom=self.order_freedom + seen.orders - 1,
            ratio_squares=self.ratio_squares + seen.pair_variance / seen.loss_variance,
            trials=self.trials + 1,
        )

    def least_difference(self, config: TrialConfig, control_N: Tensor, samples: int | None = None) -> float:
        """Smallest difference, nats, that the last look of a trial sees with the asked power.

        Args:
            config: orders, error rate, power.
            control_N: held-out losses of the network as it is, at least two.
            samples: held-out samples of the trial; default N.
        """
        count = len(control_N) if samples is None else samples
        relative, freedom = self.order_variance(config)
        by_order = relative * float(control_N.mean()) ** 2 / config.orders
        by_sample = self.pair_ratio(config) ** 2 * float(control_N.var()) / count
        freedom += config.orders - 1
        half = _half_width(OWN_NOISE * by_order, freedom, by_sample, count - 1, spending(config)[-1])
        return half + float(stdtrit(freedom, config.power)) * math.sqrt(by_order + by_sample)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A change's effect on the held-out loss, nats, at one look."""

    mean: float
    """Mean difference, changed less control; below 0 the change is better."""
    low: float
    high: float
    """The interval, at the level that the look may spend."""
    order_error: float
    """Part of the standard error that comes from the batch orders."""
    sample_error: float
    """Part of the standard error that comes from the samples alone."""
    freedom: int
    """Degrees of freedom of the part between orders."""
    order_means: tuple[float, ...]
    """Mean difference of each order."""
    order_squares: float
    """Sum of squared deviations of the orders' means from theirs."""
    pair_variance: float
    """Variance of a sample's difference, averaged over the orders."""
    control_loss: float
    """Mean held-out loss of the control copies."""
    loss_variance: float
    """Variance of the control copies' losses over samples."""
    samples: int
    """N."""

    @property
    def orders(self) -> int:
        """R."""
        return len(self.order_means)

    @property
    def error(self) -> float:
        """Standard error of the mean, both parts."""
        return math.hypot(self.order_error, self.sample_error)

    @property
    def clear(self) -> str:
        """better or worse where the interval leaves 0 out, else nothing; a changed loss that is no number is worse."""
        if not math.isfinite(self.mean):
            return "worse"
        return "better" if self.high < 0.0 else "worse" if self.low > 0.0 else ""

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def spending(config: TrialConfig) -> tuple[float, ...]:
    """Error rate of each look: the whole, shared in proportion to the steps since the look before.

    Their sum bounds the error of the trial whatever the dependence of the looks (Bonferroni); it is the linear spending
    of Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials", without its gain from dependence.
    """
    steps = config.look_steps
    before = (0, *steps[:-1])
    return tuple(config.error_rate * (now - then) / steps[-1] for then, now in zip(before, steps, strict=True))


def estimate(
    control_RN: Tensor, changed_RN: Tensor, *, config: TrialConfig, noise: TrialNoise | None = None, error_rate: float
) -> Estimate:
    """The effect of a change by the module's formula.

    Args:
        control_RN: held-out losses of the control copy after each order, nats.
        changed_RN: those of the changed copy.
        config: expected noise and its weight.
        noise: what earlier trials of the run have shown.
        error_rate: chance that the interval misses the effect, in (0, 1).

    Raises:
        DataError: two tables of other shapes, fewer than two orders or samples, or control losses that are not finite.
    """
    if control_RN.shape != changed_RN.shape or control_RN.dim() != 2 or min(control_RN.shape) < 2:
        got = f"{tuple(control_RN.shape)} and {tuple(changed_RN.shape)}"
        raise DataError("two tables (orders, samples), at least two of each", got, "read both copies on the same ones")
    if not bool(torch.isfinite(control_RN).all()):
        raise DataError("finite losses of the control copy", "NaN or infinity", "look at the training, not at a change")
    orders, samples = control_RN.shape
    control_RN, difference_RN = control_RN.double(), (changed_RN - control_RN).double()
    means_R, means_N = difference_RN.mean(1), difference_RN.mean(0)
    mean = float(means_R.mean())
    rest_RN = difference_RN - means_R[:, None] - means_N[None, :] + mean
    rest = float(rest_RN.square().sum()) / ((orders - 1) * (samples - 1))
    loss = float(control_RN.mean())
    squares = float((means_R - mean).square().sum())
    pooled, freedom = (noise or TrialNoise()).order_variance(config)
    own = squares / (orders - 1)
    freedom += orders - 1
    among_orders = max(own, (pooled * loss**2 * (freedom - orders + 1) + squares) / freedom)
    by_order = among_orders / orders
    by_sample = max(float(means_N.var()) / samples - rest / (orders * samples), 0.0)
    half = _half_width(by_order, freedom, by_sample, samples - 1, error_rate)
    return Estimate(
        mean=mean,
        low=mean - half,
        high=mean + half,
        order_error=math.sqrt(by_order) if math.isfinite(by_order) else math.inf,
        sample_error=math.sqrt(by_sample) if math.isfinite(by_sample) else math.inf,
        freedom=freedom,
        order_means=tuple(means_R.tolist()),
        order_squares=squares,
        pair_variance=float(difference_RN.var(1).mean()),
        control_loss=loss,
        loss_variance=float(control_RN.mean(0).var()),
        samples=samples,
    )


def _half_width(by_order: float, freedom: int, by_sample: float, more: int, error_rate: float) -> float:
    of_order, of_sample = stdtrit([freedom, more], 1.0 - error_rate / 2.0)
    return math.sqrt(float(of_order) ** 2 * by_order + float(of_sample) ** 2 * by_sample)
