"""Options of how a method is trained, which are a part of it as its network is."""

import math
from dataclasses import dataclass, replace

_RECORDS_A_BATCH = 600  # training records for each record of a batch, see `scaled_to`
_MOST_RATE_GROWTH = 2.0
_CHOICES = {
    "optimizer": ("adam", "adamw"),
    "schedule": ("plateau", "step", "cosine"),
    "best": ("loss", "challenge_metric", "last"),
}


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; the defaults are AIRCAS_MEL1's (2021, section 2.3).

    batch_size: records a step; accumulation_steps: steps whose gradients make one update;
    bag_size: windows of a record in a step. optimizer: "adam", or "adamw" with Keras's weight
    decay of .004. clip_norm: the largest norm of an update's gradient; None: any. schedule:
    learning_rate is multiplied by lr_factor after lr_patience epochs without a lower validation
    loss ("plateau"), or once after lr_patience epochs ("step"), or follows half a cosine to 0 step
    by step ("cosine"), before which it climbs for the share warmup_share of all steps. best: the
    weights kept are those of the epoch of the lowest validation "loss" or the highest
    "challenge_metric", or of the "last" epoch. stop_patience: epochs without a better one until
    training stops; None: never. validation_share: of the records, set aside for all that; with
    validation_by_source, of each source's. largest_batch_size: to which the batch grows with the
    number of training records, see `scaled_to`; None: batch_size is used whatever their number.
    """

    epochs: int = 60
    batch_size: int = 32
    accumulation_steps: int = 1
    bag_size: int = 1
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    clip_norm: float | None = None
    schedule: str = "plateau"
    lr_factor: float = 0.5
    lr_patience: int = 3
    warmup_share: float = 0.0
    best: str = "loss"
    stop_patience: int | None = 10
    validation_share: float = 0.1
    validation_by_source: bool = False
    largest_batch_size: int | None = None

    def __post_init__(self):
        counts = (
            self.epochs,
            self.batch_size,
            self.accumulation_steps,
            self.bag_size,
            self.lr_patience,
            1 if self.stop_patience is None else self.stop_patience,
            1 if self.largest_batch_size is None else self.largest_batch_size,
        )
        if min(counts) < 1:
            raise ValueError(f"expected epochs, sizes and patiences of at least 1, found {self}")
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share: expected 0 < share < 1, found {self.validation_share}"
            )
        if not 0 <= self.warmup_share < 1 or (self.clip_norm is not None and self.clip_norm <= 0):
            raise ValueError(
                "expected 0 <= warmup_share < 1 and a positive clip_norm, found "
                f"{self.warmup_share} and {self.clip_norm}"
            )
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}: expected one of {', '.join(known)}; found {getattr(self, name)}"
                )

    def scaled_to(self, n_training: int) -> "TrainingOptions":
        """The options with the batch and learning rate for so many training records.

        Where `largest_batch_size` is given, the batch is the power of two nearest to a 600th of the
        records, between batch_size and that; a GPU is idle on small batches, and a small data set
        needs many steps. The rate grows with the square root of the batch, which keeps the noise of
        Adam's updates alike (Malladi et al. 2022, arXiv:2205.10287), to at most twice its value.
        """
        if self.largest_batch_size is None:
            return self
        nearest = 2 ** round(math.log2(max(n_training / _RECORDS_A_BATCH, 1)))
        batch_size = max(min(nearest, self.largest_batch_size), self.batch_size)
        growth = min(math.sqrt(batch_size / self.batch_size), _MOST_RATE_GROWTH)
        return replace(self, batch_size=batch_size, learning_rate=growth * self.learning_rate)


@dataclass(frozen=True)
class PretrainingOptions:
    """How a network learns from simulated records first; by default there are none.

    n_records: all simulated sources in turn. epochs, batch_size and learning_rate take the place
    of the training's own; all the rest is the same. measured_epochs: before those, of the part of
    the network that sees the measurements alone; 0 for none.
    """

    n_records: int = 0
    measured_epochs: int = 0
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 2e-3

    def __post_init__(self):
        if (
            min(self.n_records, self.measured_epochs) < 0
            or min(self.epochs, self.batch_size) < 1
            or self.learning_rate <= 0
        ):
            raise ValueError(
                "expected n_records and measured_epochs of at least 0, epochs and batch_size of at "
                f"least 1 and a positive learning_rate; found {self}"
            )


@dataclass(frozen=True)
class SelectionOptions:
    """What is left out of training; the defaults leave out nothing.

    scored_only: records with none of the 26 classes. sinus_left_out: this share, drawn at random,
    of the records with no class but sinus rhythm. deviation_mv: records with a lead whose
    standard deviation is not between these two (a dead lead, a loose electrode).
    """

    scored_only: bool = False
    sinus_left_out: float = 0.0
    deviation_mv: tuple[float, float] | None = None

    def __post_init__(self):
        if not 0 <= self.sinus_left_out < 1:
            raise ValueError(
                f"sinus_left_out: expected a share from 0 to below 1, found {self.sinus_left_out}"
            )
        if self.deviation_mv is not None and not 0 <= self.deviation_mv[0] < self.deviation_mv[1]:
            raise ValueError(f"deviation_mv: expected 0 <= low < high, found {self.deviation_mv}")
