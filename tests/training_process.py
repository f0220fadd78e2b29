"""`python -m tests.training_process DATA MODEL`: train_model.py with a network of next to no size,
all stages and a few epochs of each; the `ECG_…` variables say the rest. With `--cross-validate` it
is `python -m ecg.cross_validation DATA OUT`, of three folds."""

import sys
from dataclasses import replace

import train_model
from ecg import cross_validation, model_folders
from ecg.variants import DEFAULT
from tests.narrow import narrow_method


def find_small(name, preset="full"):
    method = narrow_method(name, n_simulated=32, epochs=3, batch_size=4)
    return replace(method, pretraining=replace(method.pretraining, measured_epochs=2, epochs=2))


if __name__ == "__main__":
    model_folders.find_method = cross_validation.find_method = find_small
    if "--cross-validate" in sys.argv:
        sys.argv.remove("--cross-validate")
        cross_validation.choose_variants = lambda methods, names: dict.fromkeys(methods, (DEFAULT,))
        cross_validation.main([*sys.argv[1:], "--folds", "3"])
    else:
        train_model.main()
