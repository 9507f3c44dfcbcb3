"""`KnowledgeDistillationLoss`: learn from a teacher's outputs and from the labels.

B samples, K classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lab.base import DataError, require_choice, require_range

KINDS = ("kl", "mse", "cosine")


class KnowledgeDistillationLoss(nn.Module):
    """alpha * distance(student, teacher) + (1 - alpha) * cross entropy(student, labels), mean over the samples.

    Distances: `kl` T^2 KL(softmax(teacher / T) || softmax(student / T)), whose gradient has the same size for every T;
    `mse` the mean squared difference of the logits; `cosine` 1 - cos(student, teacher). The teacher gets no gradient.

    Args:
        alpha: share of the distance, in [0, 1].
        temperature: T > 0, for `kl` alone.
        kind: kl, mse or cosine.

    Raises:
        ConfigError: a number outside its range, an unknown kind.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """

    def __init__(self, alpha: float = 0.5, temperature: float = 2.0, kind: str = "kl") -> None:
        super().__init__()
        require_range("alpha", alpha, 0, 1)
        require_range("temperature", temperature, 0, open_low=True)
        require_choice("kind", kind, KINDS)
        self.alpha, self.temperature, self.kind = alpha, temperature, kind

    def forward(self, student_BK: Tensor, teacher_BK: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Logits of both, and labels in 0..K-1 -> the loss, nats; the distance alone where alpha is 1.

        Raises:
            DataError: logits of different shapes, an empty batch, or no labels where alpha is below 1.
        """
        if student_BK.shape != teacher_BK.shape or student_BK.dim() != 2:
            got = f"{tuple(student_BK.shape)} and {tuple(teacher_BK.shape)}"
            raise DataError("student's and teacher's logits of one shape (B, K)", got, "give both the same batch")
        if not student_BK.numel():
            raise DataError("at least one sample", f"shape {tuple(student_BK.shape)}", "skip empty batches")
        distance = self._distance(student_BK, teacher_BK.detach())
        if self.alpha == 1:
            return distance
        if labels_B is None:
            raise DataError(f"labels, for alpha = {self.alpha}", "none", "give labels, or set alpha to 1")
        return self.alpha * distance + (1 - self.alpha) * F.cross_entropy(student_BK, labels_B)

    def _distance(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        if self.kind == "mse":
            return F.mse_loss(student_BK, teacher_BK)
        if self.kind == "cosine":
            return (1 - F.cosine_similarity(student_BK, teacher_BK, dim=-1)).mean()
        student_log_BK, teacher_log_BK = (
            (logits_BK / self.temperature).log_softmax(-1) for logits_BK in (student_BK, teacher_BK)
        )
        # log_target: probabilities that round to 0 would have no logarithm.
        return self.temperature**2 * F.kl_div(student_log_BK, teacher_log_BK, reduction="batchmean", log_target=True)
