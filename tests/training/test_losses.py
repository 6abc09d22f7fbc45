import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.losses import IGNORE, CombinedLoss, class_weights

TERMS = ("cross_entropy", "dice", "focal")


def fields(seed: int, ignored: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (3, 4, 5, 6))
    labels = random.integers(0, 4, (3, 5, 6))
    labels[random.random(labels.shape) < ignored] = IGNORE
    labels[0, 0, 0] = 1
    return logits, labels


def by_hand(term: str, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The textbook formulas, pixel by pixel in float64."""
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    p = (exponents / exponents.sum(1, keepdims=True)).transpose(0, 2, 3, 1)[labels != IGNORE]
    truth = labels[labels != IGNORE]
    if term == "dice":
        shares = []
        for c in range(4):
            t = truth == c
            shares.append(1 - 2 * (p[:, c] * t).sum() / (p[:, c].sum() + t.sum()) if t.any() else 0.0)
        return float(np.mean(shares))
    total = 0.0
    for row, c in zip(p, truth, strict=True):
        focus = (1 - row[c]) ** 2 if term == "focal" else 1.0
        total += weights[c] * focus * -np.log(row[c])
    return total / weights[truth].sum()


@pytest.mark.parametrize("term", TERMS)
@given(seed=st.integers(0, 2**31), ignored=st.floats(0, 0.95))
def test_each_term_is_the_textbook_formula_over_labelled_pixels(term, seed, ignored):
    logits, labels = fields(seed, ignored)
    weights = np.array([0.5, 1.0, 2.0, 0.7])
    loss = CombinedLoss({term: 1.0}, torch.tensor(weights, dtype=torch.float32))
    got = loss(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels))
    assert got.item() == pytest.approx(by_hand(term, logits, labels, weights), rel=1e-4, abs=1e-5)


def test_terms_add_up_with_their_factors():
    logits, labels = (torch.tensor(field) for field in fields(0, 0.3))
    parts = [CombinedLoss({term: 1.0})(logits, labels).item() for term in TERMS]
    total = CombinedLoss(dict(zip(TERMS, (1.0, 0.5, 3.0), strict=True)))(logits, labels).item()
    assert total == pytest.approx(parts[0] + 0.5 * parts[1] + 3 * parts[2], rel=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_ignored_pixels_get_no_gradient(term):
    logits, labels = (torch.tensor(field) for field in fields(1, 0.5))
    logits.requires_grad_()
    CombinedLoss({term: 1.0})(logits, labels).backward()
    size = logits.grad.abs().sum(1)
    assert size[labels == IGNORE].max() == 0
    assert size[labels != IGNORE].min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_batch_without_labels_has_a_loss_of_zero_and_a_gradient_of_zero(dtype):
    logits = torch.full((2, 4, 8, 8), 3e4, dtype=dtype, requires_grad=True)
    labels = torch.full((2, 8, 8), IGNORE)
    loss = CombinedLoss(dict.fromkeys(TERMS, 1.0), torch.ones(4))(logits, labels)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_class_weights_follow_the_inverse_square_root_up_to_ten_to_one():
    weights = class_weights([1_000_000, 250_000, 100, 0])
    assert weights.mean() == pytest.approx(1.0)
    assert (weights / weights[0]).tolist() == pytest.approx([1, 2, 10, 10])


@given(seed=st.integers(0, 2**31), ignored=st.floats(0, 0.95))
def test_the_loss_of_a_chip_is_that_of_a_batch_of_it_alone(seed, ignored):
    logits, labels = fields(seed, ignored)
    weights = class_weights([1, 20, 300, 4000])
    loss = CombinedLoss({"cross_entropy": 1.0}, weights)
    logits, labels = torch.from_numpy(logits), torch.from_numpy(labels)
    found = loss.by_chip(logits, labels)
    alone = [loss(logits[i : i + 1], labels[i : i + 1]) for i in range(3)]
    assert torch.allclose(found, torch.stack(alone), rtol=1e-5)
