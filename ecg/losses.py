"""Losses over the class probabilities, and the class weights that they use."""

import keras
import numpy as np
from keras import ops


def inverse_frequency_weights(labels, epsilon, floor) -> np.ndarray:
    """Weight per class: log2(1 / (share of records + epsilon)), at least `floor`.

    labels: (n_records, n_classes) bool. Returns (n_classes,), float32.
    Source: AIRCAS_MEL1 2021, equation 2, with epsilon 0.01.
    The floor is ours: the formula turns negative for a class that nearly every record has, and
    the loss would then reward its being wrong.
    """
    share = np.mean(labels, axis=0)
    return np.maximum(-np.log2(share + epsilon), floor).astype(np.float32)


class WeightedBinaryCrossentropy(keras.losses.Loss):
    """Mean over records and classes of class weight x binary cross-entropy.

    class_weights: (n_classes,). Source: AIRCAS_MEL1 2021, equation 1.
    """

    def __init__(self, class_weights, name="weighted_bce"):
        super().__init__(name=name, dtype="float32")
        self.class_weights = np.asarray(class_weights, np.float32)

    def call(self, y_true, y_pred):
        """Loss per record (batch,) of labels and probabilities, both (batch, n_classes)."""
        probability = ops.clip(y_pred, keras.config.epsilon(), 1 - keras.config.epsilon())
        entropy = y_true * ops.log(probability) + (1 - y_true) * ops.log(1 - probability)
        return -ops.mean(self.class_weights * entropy, axis=-1)
