"""Adam over all of a network's variables at once."""

import math

import keras
from keras import ops

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7  # Keras's own defaults


class FlatAdam(keras.optimizers.Optimizer):
    """Adam, whose gradients and moments are one vector rather than an array for each variable.

    The same updates as of `keras.optimizers.Adam`, and of `AdamW` where there is a weight decay, by
    a graph that TensorFlow traces sooner, as it does not repeat them for each variable.

    learning_rate: first value. weight_decay: share of each variable, times the rate, that an update
    takes off. clip_norm: largest norm of an update's gradient; None for any. accumulation_steps:
    steps whose mean gradient makes one update.
    """

    def __init__(
        self, learning_rate, weight_decay=0.0, clip_norm=None, accumulation_steps=1, name="adam"
    ):
        super().__init__(learning_rate, name=name)
        self.decay, self.clip_norm = weight_decay, clip_norm
        self.accumulation_steps = accumulation_steps

    def build(self, variables):
        """Adds the moments of these variables; Keras calls it."""
        if self.built:
            return
        super().build(variables)
        n_numbers = sum(math.prod(variable.shape) for variable in variables)
        self.mean = self.add_variable((n_numbers,), name="mean")
        self.square = self.add_variable((n_numbers,), name="square")
        if self.accumulation_steps > 1:
            self.gathered = self.add_variable((n_numbers,), name="gathered")

    def apply(self, grads, trainable_variables=None):
        """Takes one step by the gradients, in the variables' order; Keras calls it."""
        if not self.built:
            self.build(list(trainable_variables))
        gradient = ops.concatenate([ops.reshape(ops.cast(one, "float32"), (-1,)) for one in grads])
        self.iterations.assign_add(1)
        if self.accumulation_steps == 1:
            self._update(gradient)
            return
        gathered = self.gathered + gradient
        due = ops.equal(self.iterations % self.accumulation_steps, 0)
        due = ops.cast(due, "float32")
        self._update(gathered / self.accumulation_steps, due)
        self.gathered.assign(gathered * (1 - due))

    def _update(self, gradient, due=1.0) -> None:
        """An update by a gradient vector; one that changes nothing where `due` is 0, not 1."""
        if self.clip_norm is not None:
            norm = ops.sqrt(ops.sum(ops.square(gradient)))
            gradient = gradient * (self.clip_norm / ops.maximum(norm, self.clip_norm))
        n_updates = ops.cast(self.iterations // self.accumulation_steps, "float32")
        n_updates = ops.maximum(n_updates, 1.0)
        rate = ops.cast(self.learning_rate, "float32") * due
        scale = ops.sqrt(1 - ops.power(_BETA_2, n_updates)) / (1 - ops.power(_BETA_1, n_updates))
        mean = self.mean + (gradient - self.mean) * ((1 - _BETA_1) * due)
        square = self.square + (ops.square(gradient) - self.square) * ((1 - _BETA_2) * due)
        self.mean.assign(mean)
        self.square.assign(square)
        change = rate * scale * mean / (ops.sqrt(square) + _EPSILON)
        end = 0
        for variable in self._trainable_variables:  # as Keras's base class keeps them
            start, end = end, end + math.prod(variable.shape)
            own = ops.reshape(change[start:end], variable.shape)
            if self.decay:
                own = own + variable * (rate * self.decay)
            variable.assign_sub(own)
