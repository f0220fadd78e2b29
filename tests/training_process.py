"""`python -m tests.training_process DATA MODEL`: train_model.py with a network of next to no size,
all stages and a few epochs of each; the `ECG_…` variables say the rest.

With `--cross-validate` it is `python -m ecg.cross_validation DATA OUT`, of three folds; with
`--one-stage` there is no training on simulated records first."""

import sys
from dataclasses import replace

import train_model
from ecg import cross_validation
from ecg.evaluation import comparison
from ecg.models.training_options import PretrainingOptions
from ecg.training import model_folders
from tests.narrow import narrow_method

OPTIONS = {"--cross-validate", "--one-stage"} & set(sys.argv)


def find_small(name, preset="full"):
    method = narrow_method(name, n_simulated=32, epochs=3, batch_size=4)
    if "--one-stage" in OPTIONS:
        return replace(method, pretraining=PretrainingOptions())
    return replace(method, pretraining=replace(method.pretraining, measured_epochs=2, epochs=2))


if __name__ == "__main__":
    model_folders.find_method = find_small
    sys.argv = [one for one in sys.argv if one not in OPTIONS]
    if "--cross-validate" in OPTIONS:
        comparison.choose_variants = lambda *_: {find_small("multiscale_se"): ("default",)}
        cross_validation.main([*sys.argv[1:], "--folds", "3"])
    else:
        train_model.main()
