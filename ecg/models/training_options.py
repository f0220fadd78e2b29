"""Options of training, which are a part of a method."""

import math
from dataclasses import dataclass, replace

_MAX_RATE_GROWTH = 2.0
_TRAINING_RECORDS_PER_BATCH_RECORD = 600  # see `scaled_to`
_CHOICES = {
    "optimizer": ("adam", "adamw"),
    "schedule": ("plateau", "step", "cosine"),
    "best": ("loss", "challenge_metric", "last"),
}


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; the defaults are AIRCAS_MEL1's (2021, section 2.3).

    epochs: at most. batch_size: records per step. accumulation_steps: steps whose mean gradient
    makes one update. bag_size: windows of each record in a step.
    optimizer: "adam", or "adamw" with Keras's weight decay of 0.004. clip_norm: the norm to which
    gradients are clipped; None for no clipping.
    schedule: "plateau" multiplies learning_rate by lr_factor after lr_patience epochs without a
    lower validation loss; "step" does so once, after lr_patience epochs; "cosine" warms up linearly
    for the first warmup_share of all steps, then follows half a cosine to 0.
    best: which weights are kept, those of the epoch of lowest validation "loss" or of highest
    "challenge_metric", or those of the "last" epoch. stop_patience: epochs without improvement
    after which training stops; None for never.
    validation_share: share of the records set aside for validation; with validation_by_source, the
    share of each source. largest_batch_size: limit to which the batch grows with the number of
    training records, see `scaled_to`; None for a fixed batch_size.
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
        """Return the options with batch size and learning rate adapted to the number of training
        records.

        n_training: without those set aside for validation. With a `largest_batch_size`, the batch
        size is the power of two nearest to 1/600 of the records, from batch_size to that limit:
        small batches leave a GPU idle, but a small dataset needs many steps. The learning rate
        grows with the square root of the batch size, which preserves the noise of Adam's updates
        (Malladi et al. 2022, arXiv:2205.10287), up to twice its value.
        """
        if self.largest_batch_size is None:
            return self
        nearest = 2 ** round(math.log2(max(n_training / _TRAINING_RECORDS_PER_BATCH_RECORD, 1)))
        batch_size = max(min(nearest, self.largest_batch_size), self.batch_size)
        growth = min(math.sqrt(batch_size / self.batch_size), _MAX_RATE_GROWTH)
        return replace(self, batch_size=batch_size, learning_rate=growth * self.learning_rate)


@dataclass(frozen=True)
class PretrainingOptions:
    """How a network is pretrained on simulated records; by default it is not.

    n_records: number of simulated records, from all simulated sources in turn; 0 for no
    pretraining. epochs, batch_size, learning_rate: replace those of `TrainingOptions`, whose other
    options apply to pretraining too. measured_epochs: epochs of a first stage that trains only the
    part of the network that sees the measurements; 0 for none.
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
    """Which records are left out of training; by default none.

    scored_only: leaves out records with none of the 26 classes. sinus_left_out: share of the
    records with no class but sinus rhythm that is left out, drawn at random. deviation_mv: leaves
    out records with a lead whose standard deviation is outside these limits (a dead lead, a loose
    electrode).
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
