"""The default method's network and training step in PyTorch, for comparison.

The network is that of `ecg.models.architectures.multiscale_se` with measurements. The training step
is optimised for speed: channels last, bfloat16 autocast, TF32, cuDNN autotuning, fused AdamW,
`torch.compile` with CUDA graphs, and no synchronisation with the GPU.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ecg.models.architectures.multiscale_se import LEAD_KERNELS, MultiscaleSEOptions
from ecg.models.losses import class_weights
from ecg.models.registry import find_method
from ecg.records.diagnoses import N_CLASSES
from ecg.signals.measurements import n_measurements

METHOD = find_method("multiscale_se")
# From this number of leads on, maps are (batch, channels, samples, leads), otherwise (batch,
# channels, leads, samples). With the other order, a step on a CPU takes 1.4 times as long at 12
# leads and twice as long at 2.
_MIN_LEADS_TIME_FIRST = 6


class Convolution(nn.Module):
    """Convolution with the padding of Keras's "same", and batch normalisation.

    kernel, stride: in the order of the maps' axes.
    """

    def __init__(self, in_channels, out_channels, kernel, stride=(1, 1)):
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x):
        """Return maps with out_channels; each axis has ceil(size / stride) elements."""
        weight, stride = self.convolution.weight, self.convolution.stride
        pads = map(_same_padding, x.shape[2:], weight.shape[2:], stride)
        (before_rows, more_rows), (before_columns, more_columns) = pads
        if more_rows or more_columns:
            x = functional.pad(x, (0, more_columns, 0, more_rows))
        x = functional.conv2d(x, weight, stride=stride, padding=(before_rows, before_columns))
        return self.norm(x)


def _same_padding(size, kernel, stride):
    """Return the zeros that Keras's "same" adds before an axis, and the additional zeros after it.

    There is one additional zero if the padding is odd: for an even kernel at stride 1, or an odd
    kernel at stride 2 on an even size.
    """
    padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return padding // 2, padding % 2


class Block(nn.Module):
    """Residual block with squeeze-and-excitation.

    kernel, stride: in the order of the maps' axes.
    """

    def __init__(self, in_channels, out_channels, kernel, stride, options: MultiscaleSEOptions):
        super().__init__()
        self.stride = stride
        same_width = in_channels == out_channels
        self.project = (
            nn.Identity() if same_width else Convolution(in_channels, out_channels, (1, 1))
        )
        self.first = Convolution(in_channels, out_channels, kernel, stride)
        self.dropout = nn.Dropout2d(options.dropout)
        self.second = Convolution(out_channels, out_channels, kernel)
        hidden = max(out_channels // options.squeeze_ratio, 1)
        self.gate = nn.Sequential(
            nn.Linear(out_channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, out_channels),
            nn.Sigmoid(),
        )

    def forward(self, x):
        """Return maps with out_channels; each axis has ceil(size / stride) elements."""
        # Equals a strided 1 x 1 convolution, which must be avoided: with one input channel, its
        # kernel gradient corrupts memory in oneDNN 3.12 (PyTorch 2.13 on CPUs).
        shortcut = self.project(x[:, :, :: self.stride[0], :: self.stride[1]])
        x = self.second(self.dropout(torch.relu(self.first(x))))
        gate = self.gate(x.mean(dim=(2, 3)))
        return torch.relu(torch.addcmul(shortcut, x, gate[:, :, None, None]))


class MultiscaleSE(nn.Module):
    """Network from a signal (batch, leads, samples) and measurements to logits (batch, 26)."""

    def __init__(self, n_leads: int, options: MultiscaleSEOptions):
        super().__init__()
        self.time_first = n_leads >= _MIN_LEADS_TIME_FIRST
        self.steps = options.steps
        self.branches = nn.ModuleList(self._branch(n_leads, options) for _ in options.steps)
        self.feature_dropout = nn.Dropout(options.feature_dropout)
        self.noise = options.measured_noise
        self.measured = nn.Sequential(
            nn.Linear(n_measurements(n_leads), options.measured_width, bias=False),
            nn.BatchNorm1d(options.measured_width, eps=1e-3),
            nn.ReLU(),
            nn.Dropout(options.measured_dropout),
        )
        n_features = len(options.steps) * options.widths[-1] + options.measured_width
        self.logits = nn.Linear(n_features, N_CLASSES)

    def _branch(self, n_leads, options):
        """Return the five blocks that see every `step`-th sample."""
        kernels = [(1, options.large_kernel)] * 2
        kernels += zip(LEAD_KERNELS[n_leads], options.time_kernels, strict=True)
        blocks = nn.Sequential()
        in_channels = 1
        for i, (width, kernel) in enumerate(zip(options.widths, kernels, strict=True)):
            stride = (1, 2 if i < 2 else 1)
            if self.time_first:
                kernel, stride = kernel[::-1], stride[::-1]
            blocks.append(Block(in_channels, width, kernel, stride, options))
            in_channels = width
        return blocks

    def forward(self, signal, measurements):
        """Return the logits of each record."""
        rows = signal.mT.contiguous() if self.time_first else signal
        # Unlike rows[:, None], this has the strides that PyTorch recognises as channels last.
        maps = rows[..., None].permute(0, 3, 1, 2)
        pooled = [
            branch(maps[:, :, ::step] if self.time_first else maps[..., ::step]).mean(dim=(2, 3))
            for branch, step in zip(self.branches, self.steps, strict=True)
        ]
        features = self.feature_dropout(torch.cat(pooled, dim=1))
        if self.training:
            measurements = measurements + self.noise * torch.randn_like(measurements)
        return self.logits(torch.cat([features, self.measured(measurements)], dim=1))


def torch_training_step(
    lead_set: int,
    batch,
    precision: Literal["float32", "bfloat16"] = "float32",
    compiled: bool = False,
) -> Callable[[], torch.Tensor]:
    """Return a function that trains a new network on `batch` and returns the loss.

    batch: (inputs, labels), NumPy arrays as for Keras; copied once to the GPU, if there is one.
    precision: "bfloat16" uses autocast, "float32" uses TF32 if the GPU supports it.
    compiled: whether to use `torch.compile`, which runs in the first calls.
    On a GPU the function returns before the step is done: call `wait` before reading a clock.
    PyTorch's global options for speed are set for the whole process.
    Raises ValueError for another precision.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision: expected float32 or bfloat16, found {precision}")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs, labels = batch
    signal = torch.from_numpy(inputs["signal"][:, 0]).to(device)
    measurements = torch.from_numpy(inputs["measurements"]).to(device)
    truth = torch.from_numpy(labels).to(device)
    weights = torch.from_numpy(class_weights(METHOD.loss, labels > 0)).to(device)
    network = MultiscaleSE(lead_set, METHOD.network).to(device, memory_format=torch.channels_last)
    parameters = list(network.parameters())
    # The defaults of Keras's AdamW; those of PyTorch are 1e-8 and 0.01.
    optimizer = torch.optim.AdamW(
        parameters, METHOD.training.learning_rate, eps=1e-7, weight_decay=0.004, fused=True
    )

    def compute_loss(signal, measurements, truth):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(signal, measurements)
        return functional.binary_cross_entropy_with_logits(logits.float(), truth, weights)

    if compiled:
        compute_loss = torch.compile(compute_loss, mode="reduce-overhead")

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = compute_loss(signal, measurements, truth)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, METHOD.training.clip_norm, foreach=True)
        optimizer.step()
        # A copy, since the next step overwrites the CUDA graph's memory.
        return loss.detach().clone()

    return step


def wait() -> None:
    """Wait until the GPU, if there is one, has finished all steps."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
