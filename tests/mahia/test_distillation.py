import pytest
import torch
from torch.nn import functional as F

from lab.base import ConfigError, DataError
from lab.mahia import KnowledgeDistillationLoss


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64), torch.arange(5) % 3


def test_the_loss_is_the_published_formula(logits):
    student, teacher, labels = logits
    T, total = 3.0, 0.0
    for s, t, y in zip(student, teacher, labels, strict=True):
        p, q = (t / T).softmax(0), (s / T).softmax(0)
        total += 0.7 * T * T * float((p * (p / q).log()).sum()) - 0.3 * float(s.log_softmax(0)[y])
    assert float(KnowledgeDistillationLoss(0.7, T)(student, teacher, labels)) == pytest.approx(total / 5)


@pytest.mark.parametrize("kind", ["kl", "mse", "cosine"])
def test_a_student_like_its_teacher_has_no_distance_and_the_teacher_no_gradient(logits, kind):
    student, teacher, _ = (t.requires_grad_() if t.is_floating_point() else t for t in logits)
    loss = KnowledgeDistillationLoss(1.0, kind=kind)
    assert float(loss(teacher, teacher).detach()) == pytest.approx(0, abs=1e-12)
    value = loss(student, teacher)
    value.backward()
    assert float(value.detach()) > 0
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_gradients_are_those_of_finite_differences(logits):
    student, teacher, labels = logits
    for kind in ("kl", "mse", "cosine"):
        loss = KnowledgeDistillationLoss(0.4, 2.0, kind)
        assert torch.autograd.gradcheck(lambda s, loss=loss: loss(s, teacher, labels), student.requires_grad_())


def test_the_size_of_the_gradient_hardly_depends_on_the_temperature(logits):
    student, teacher, _ = logits
    norms = []
    for T in (10.0, 100.0):
        live = student.clone().requires_grad_()
        KnowledgeDistillationLoss(1.0, T)(live, teacher).backward()
        norms.append(float(live.grad.norm()))
    assert norms[0] == pytest.approx(norms[1], rel=0.1)


def test_a_share_of_0_is_plain_cross_entropy(logits):
    student, teacher, labels = logits
    loss = KnowledgeDistillationLoss(0.0)(student, teacher, labels)
    assert torch.equal(loss, F.cross_entropy(student, labels))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.ones(2, 3), torch.ones(2, 4)), r"one shape \(B, K\), got \(2, 3\) and \(2, 4\)"),
        ((torch.ones(0, 3), torch.ones(0, 3)), r"at least one sample, got shape \(0, 3\)"),
        ((torch.ones(2, 3), torch.ones(2, 3)), "labels, for alpha = 0.5, found none"),
    ],
)
def test_bad_input_is_named(args, message):
    with pytest.raises(DataError, match=message):
        KnowledgeDistillationLoss()(*args)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="kind to be one of kl, mse, cosine, got 'l1'"):
        KnowledgeDistillationLoss(kind="l1")
