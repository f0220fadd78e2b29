"""The network that is trained: the network of one window, applied to bags of a record's windows."""

import keras
from keras import ops

from ecg.models.augmentation import AugmentationOptions, augment


def bag_network(
    network: keras.Model, bag_size: int, augmentation: AugmentationOptions, fs: float
) -> keras.Model:
    """Model from bags of windows to the logits of each window, (batch, bag_size, n_classes).

    It shares the weights of `network` and has the same inputs, except that signal is (batch,
    bag_size, n_leads, n_samples), at fs Hz, and augmented in training. A record's other inputs are
    repeated for each of its windows.
    """
    bags, inputs = {}, {}
    for name, single in network.input.items():
        if name == "signal":
            window_shape = single.shape[1:]
            signal = keras.Input((bag_size, *window_shape), name="signal")
            windows = augment(ops.reshape(signal, (-1, *window_shape)), augmentation, fs)
            bags[name], inputs[name] = signal, windows
        else:
            bags[name] = keras.Input(single.shape[1:], name=name)
            inputs[name] = ops.repeat(bags[name], bag_size, axis=0)
    n_classes = network.output.shape[-1]
    return keras.Model(bags, ops.reshape(network(inputs), (-1, bag_size, n_classes)), name="bags")
