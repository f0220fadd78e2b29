"""How a finished model is trained further on a user's own records."""

from dataclasses import dataclass, replace

from ecg.models.method import Method
from ecg.models.training_options import PretrainingOptions

_LAYERS = ("output", "all")
# From so many records on the whole network is trained, and from so many at a higher rate.
_FEWEST_FOR_ALL_LAYERS, _FEWEST_FOR_HIGH_RATE = 100, 1000


@dataclass(frozen=True)
class FineTuningOptions:
    """How training goes on from a finished model.

    layers: "output" trains the last layer alone, "all" the whole network. rate_share: learning
    rate, as a share of the method's. epochs: at most. fewest_to_refit: number of records from which
    a temperature, thresholds and operating points are fitted; with fewer, those of the start are
    kept.
    """

    layers: str = "all"
    rate_share: float = 0.1
    epochs: int = 10
    fewest_to_refit: int = 50

    def __post_init__(self):
        if self.layers not in _LAYERS:
            raise ValueError(f"layers: expected {' or '.join(_LAYERS)}, found '{self.layers}'")
        if not 0 < self.rate_share <= 1 or min(self.epochs, self.fewest_to_refit) < 1:
            raise ValueError(
                "expected 0 < rate_share <= 1, epochs and fewest_to_refit of at least 1; "
                f"found {self}"
            )


def fine_tuning_for(n_records: int) -> FineTuningOptions:
    """Return the options for that many records of the user.

    Below 100 records, the last layer alone at half the method's rate: its some hundred weights a
    class are all that so few records can fit. Below 1000, the whole network at a tenth of the rate;
    beyond that at a quarter. Always at most 10 epochs; few records make few steps in each. These
    numbers are ours and not measured yet; `benchmarks.fine_tuning` measures them.
    """
    if n_records < _FEWEST_FOR_ALL_LAYERS:
        return FineTuningOptions(layers="output", rate_share=0.5)
    if n_records < _FEWEST_FOR_HIGH_RATE:
        return FineTuningOptions(rate_share=0.1)
    return FineTuningOptions(rate_share=0.25)


def fine_tuned(method: Method, options: FineTuningOptions) -> Method:
    """Return the method as it goes on from a finished model: shorter, slower, not pretrained.

    The learning rate follows the schedule "cosine" and the last epoch is kept, since a few
    validation records could not tell which epoch is best.
    """
    training = replace(
        method.training,
        epochs=min(options.epochs, method.training.epochs),
        learning_rate=options.rate_share * method.training.learning_rate,
        schedule="cosine",
        warmup_share=0.1,
        best="last",
    )
    return replace(method, training=training, pretraining=PretrainingOptions(), by_size=())
