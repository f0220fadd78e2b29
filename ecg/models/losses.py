"""Losses of records, computed from the logits of their windows, and class weights.

In all losses, targets are (batch, n_classes, 2): the label, 0 or 1, and the weight of the class
(see `make_targets`). Logits are (batch, n_windows, n_classes). A record's probabilities are the
mean of the sigmoid or the softmax over its windows. Everything is computed in float32, whatever the
dtype policy. The weights are part of the batch, not of the loss, so that one compiled training step
serves stages whose classes differ in frequency.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

KINDS = ("binary_crossentropy", "softmax_or_lovasz")
CLASS_WEIGHTS = ("inverse_frequency", "inverse_log_count", "equal")


@dataclass(frozen=True)
class LossOptions:
    """The loss and its class weights; the defaults are AIRCAS_MEL1's (2021, equations 1 and 2).

    kind: "binary_crossentropy" or "softmax_or_lovasz". class_weights: "inverse_frequency" (with
    `epsilon` and `weight_floor`, see `inverse_frequency_weights`), "inverse_log_count" or "equal".
    hardest_share: share of a batch's records, those of largest loss, that count; for
    "binary_crossentropy" only.
    """

    kind: str = "binary_crossentropy"
    class_weights: str = "inverse_frequency"
    epsilon: float = 0.01
    weight_floor: float = 0.05
    hardest_share: float = 1.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected {' or '.join(KINDS)}, found '{self.kind}'")
        if self.class_weights not in CLASS_WEIGHTS:
            raise ValueError(
                f"class_weights: expected one of {', '.join(CLASS_WEIGHTS)}; "
                f"found '{self.class_weights}'"
            )
        for name in ("epsilon", "weight_floor"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a positive number, found {getattr(self, name)}")
        if not 0 < self.hardest_share <= 1:
            raise ValueError(
                f"hardest_share: expected above 0, up to 1, found {self.hardest_share}"
            )
        if self.kind == "softmax_or_lovasz" and self.hardest_share != 1:
            raise ValueError(
                f"hardest_share: expected 1 for softmax_or_lovasz, found {self.hardest_share}"
            )

    @property
    def n_alternatives(self) -> int:
        """Number of losses of which each training step draws one; see `draw_alternative`."""
        return 2 if self.kind == "softmax_or_lovasz" else 1


def make_loss(options: LossOptions) -> keras.losses.Loss:
    """Return the loss of the options' kind."""
    if options.kind == "softmax_or_lovasz":
        return SoftmaxOrLovasz()
    return BinaryCrossentropy(options.hardest_share)


def make_targets(labels, weights) -> np.ndarray:
    """Targets (batch, n_classes, 2), float32, of labels (batch, n_classes) and class weights
    (n_classes,)."""
    targets = np.empty((*np.shape(labels), 2), np.float32)
    targets[..., 0], targets[..., 1] = labels, weights
    return targets


def class_weights(options: LossOptions, labels) -> np.ndarray:
    """Return the options' weight of each class (n_classes,), float32.

    labels: (n_records, n_classes) bool.
    """
    if options.class_weights == "inverse_frequency":
        return inverse_frequency_weights(labels, options.epsilon, options.weight_floor)
    if options.class_weights == "inverse_log_count":
        return inverse_log_count_weights(labels)
    return np.ones(np.shape(labels)[1], np.float32)


def inverse_frequency_weights(labels, epsilon, floor) -> np.ndarray:
    """Weight of each class: log2(1 / (share of records + epsilon)), at least `floor`.

    labels: (n_records, n_classes) bool. Returns (n_classes,), float32.
    Source: AIRCAS_MEL1 2021, equation 2, with epsilon 0.01.
    The floor is ours: for a class that nearly every record has the formula is negative, and the
    loss would reward mistakes.
    """
    share = np.mean(labels, axis=0)
    return np.maximum(-np.log2(share + epsilon), floor).astype(np.float32)


def inverse_log_count_weights(labels) -> np.ndarray:
    """Weight of each class: 1 / log(number of records with the class), at most 1.

    labels: (n_records, n_classes) bool. Returns (n_classes,), float32.
    Source: CQUPT_ECG 2020, equation 5. The paper does not give the base of the logarithm; here it
    is natural. The bound is ours: the formula is undefined for a class of one record or none, so
    counts below e are taken as e.
    """
    counts = np.sum(labels, axis=0, dtype=float)
    return (1 / np.log(np.maximum(counts, math.e))).astype(np.float32)


class BinaryCrossentropy(keras.losses.Loss):
    """Weighted binary cross-entropy, averaged over records and classes.

    hardest_share: below 1, the mean is taken over this share of the batch's records (rounded up),
    those with the largest loss.
    Source: AIRCAS_MEL1 2021, equation 1; hardest records: CQUPT_ECG 2020, section 3.7.
    """

    def __init__(self, hardest_share=1.0, name="binary_crossentropy"):
        super().__init__(name=name, dtype="float32")
        self.hardest_share = hardest_share

    def call(self, targets, logits):
        """Loss of each record (batch,); Keras averages them."""
        labels, weights = targets[..., 0], targets[..., 1]
        # As 1 - sigmoid(x) = sigmoid(-x), no probability has to be clipped away from 0 or 1.
        present = _log_mean(ops.log_sigmoid(logits))
        absent = _log_mean(ops.log_sigmoid(-logits))
        entropy = -(labels * present + (1 - labels) * absent)
        losses = ops.mean(weights * entropy, axis=-1)
        return losses if self.hardest_share == 1 else _keep_hardest(losses, self.hardest_share)


class SoftmaxOrLovasz(keras.losses.Loss):
    """Weighted cross-entropy of the softmax, or Lovász-softmax of the sigmoid, drawn per step.

    Class weights apply to the cross-entropy only. In training, the sample weights of
    `draw_alternative` select the step's loss; without them the loss is the mean of both.
    Source: Triology 2020, equation 3. The paper does not define the cross-entropy of a record with
    several labels; here it is the mean over them, and 0 for a record without labels.
    """

    def __init__(self, name="softmax_or_lovasz"):
        super().__init__(name=name, dtype="float32")

    def call(self, targets, logits):
        """Losses (batch, 2): each record's cross-entropy, and in all rows the Lovász-softmax."""
        labels, weights = targets[..., 0], targets[..., 1]
        log_probabilities = _log_mean(ops.log_softmax(logits, axis=-1))
        n_labels = ops.maximum(ops.sum(labels, axis=-1), 1.0)
        entropy = -ops.sum(weights * labels * log_probabilities, axis=-1) / n_labels
        lovasz = lovasz_softmax(labels, ops.mean(ops.sigmoid(logits), axis=1))
        return ops.stack([entropy, lovasz * ops.ones_like(entropy)], axis=-1)


def lovasz_softmax(labels, probabilities):
    """Lovász extension of 1 - Jaccard index, averaged over the classes present; a scalar.

    labels, probabilities: (batch, n_classes), float32. A record's error in a class is
    |label - probability|. The loss is 0 where no class is present in the batch.
    Source: Berman, Triki, Blaschko 2018, arXiv:1705.08790, definition 2.
    """
    errors = ops.abs(labels - probabilities)
    worst_first = ops.argsort(-errors, axis=0)
    # Jaccard loss if exactly the i worst records were wrong: i over the size of the union of
    # these records and those of the class.
    wrong = ops.cumsum(ops.ones_like(errors), axis=0)
    n_present = ops.sum(labels, axis=0)
    wrong_absent = ops.cumsum(1 - ops.take_along_axis(labels, worst_first, axis=0), axis=0)
    set_losses = wrong / (n_present + wrong_absent)
    steps = set_losses - ops.pad(set_losses, ((1, 0), (0, 0)))[:-1]
    # In the records' order, the steps are the gradient with respect to the errors.
    ranks = ops.argsort(worst_first, axis=0)
    gradient = ops.stop_gradient(ops.take_along_axis(steps, ranks, axis=0))
    by_class = ops.sum(errors * gradient, axis=0)
    present = ops.cast(n_present > 0, by_class.dtype)
    return ops.sum(present * by_class) / ops.maximum(ops.sum(present), 1.0)


def draw_alternative(random: np.random.Generator, n_records, n_alternatives) -> np.ndarray:
    """Sample weights (n_records, n_alternatives), float32, that select one loss for a batch.

    One column, drawn with equal probability, holds `n_alternatives`, the others 0, so that Keras's
    mean over (batch, n_alternatives) is the mean of the drawn loss.
    """
    weights = np.zeros((n_records, n_alternatives), np.float32)
    weights[:, random.integers(n_alternatives)] = n_alternatives
    return weights


def _log_mean(log_probabilities):
    """Log of the mean probability over the windows, (batch, n_classes)."""
    n_windows = ops.cast(ops.shape(log_probabilities)[1], "float32")
    return ops.logsumexp(log_probabilities, axis=1) - ops.log(n_windows)


def _keep_hardest(losses, share):
    """Losses (batch,) of which all but the largest are 0; their mean is that of the losses kept."""
    n_records = ops.cast(ops.shape(losses)[0], "float32")
    # Minus a thousandth of a record, because products such as 0.55 x 100 come out slightly too
    # large.
    n_kept = ops.maximum(ops.ceil(share * n_records - 1e-3), 1.0)
    # By rank, not by value, so that ties do not keep more than `n_kept`.
    ranks = ops.cast(ops.argsort(ops.argsort(-losses)), "float32")
    return ops.where(ranks < n_kept, losses * (n_records / n_kept), 0.0)
