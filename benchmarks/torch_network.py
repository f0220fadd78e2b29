"""The default method's signal network and its training step in PyTorch, for comparison alone.

As `ecg.architectures.multiscale_se` builds it, measurements included: the same blocks, widths and
kernels, channels last, weighted cross-entropy, AdamW, clipped gradients. Time comes before leads,
with which PyTorch too is faster on 12 leads.
"""

import torch
from torch import nn
from torch.nn import functional

from ecg.architectures.multiscale_se import LEAD_KERNELS, MultiscaleSEOptions
from ecg.classes import N_CLASSES
from ecg.losses import class_weights
from ecg.measurements import n_measurements
from ecg.methods import find_method

METHOD = find_method("multiscale_se")


class Convolution(nn.Module):
    """Convolution over (samples, leads), zero-padded, and batch normalisation."""

    def __init__(self, before, width, kernel, stride=1):
        super().__init__()
        self.convolution = nn.Conv2d(before, width, kernel, (stride, 1), bias=False)
        self.norm = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x):
        """Maps (batch, width, ceil(samples / stride), leads), padded as Keras's "same" does."""
        pads = []
        for size, kernel, stride in zip(
            x.shape[:1:-1],
            self.convolution.kernel_size[::-1],
            self.convolution.stride[::-1],
            strict=True,
        ):
            needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [needed // 2, needed - needed // 2]
        return self.norm(self.convolution(functional.pad(x, pads)))


class Block(nn.Module):
    """Residual block with squeeze-and-excitation."""

    def __init__(self, before, width, kernel, stride, options: MultiscaleSEOptions):
        super().__init__()
        self.stride = stride
        self.project = Convolution(before, width, (1, 1)) if before != width else nn.Identity()
        self.first = Convolution(before, width, kernel, stride)
        self.dropout = nn.Dropout2d(options.dropout)
        self.second = Convolution(width, width, kernel)
        hidden = max(width // options.squeeze_ratio, 1)
        self.gate = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def forward(self, x):
        """Maps (batch, width, ceil(samples / stride), leads)."""
        shortcut = self.project(x[:, :, :: self.stride])
        x = self.second(self.dropout(torch.relu(self.first(x))))
        gate = self.gate(x.mean(dim=(2, 3)))
        return torch.relu(shortcut + x * gate[:, :, None, None])


class MultiscaleSE(nn.Module):
    """Logits (batch, 26) of a signal (batch, leads, samples) and measurements."""

    def __init__(self, n_leads: int, options: MultiscaleSEOptions):
        super().__init__()
        self.steps = options.steps
        kernels = [(options.large_kernel, 1)] * 2
        kernels += zip(options.time_kernels, LEAD_KERNELS[n_leads], strict=True)
        shapes = list(zip((1, *options.widths[:-1]), options.widths, kernels, strict=True))
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(Block(*one, 2 if i < 2 else 1, options) for i, one in enumerate(shapes))
            )
            for _ in options.steps
        )
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

    def forward(self, signal, measurements):
        """Logits of every record."""
        maps = signal.mT[:, None].contiguous(memory_format=torch.channels_last)
        pooled = [
            branch(maps[:, :, ::step]).mean(dim=(2, 3))
            for branch, step in zip(self.branches, self.steps, strict=True)
        ]
        features = self.feature_dropout(torch.cat(pooled, dim=1))
        noisy = measurements + self.noise * torch.randn_like(measurements)
        return self.logits(torch.cat([features, self.measured(noisy)], dim=1))


def torch_training_step(lead_set: int, batch):
    """A call that trains one batch (inputs, labels) of NumPy arrays, as Keras takes them; on the
    GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs, labels = batch
    signal = torch.from_numpy(inputs["signal"][:, 0]).to(device)
    measurements = torch.from_numpy(inputs["measurements"]).to(device)
    network = MultiscaleSE(lead_set, METHOD.network).to(device, memory_format=torch.channels_last)
    weight = torch.from_numpy(class_weights(METHOD.loss, labels > 0)).to(device)
    loss = nn.BCEWithLogitsLoss(weight=weight)
    optimizer = torch.optim.AdamW(network.parameters(), METHOD.training.learning_rate)
    truth = torch.from_numpy(labels).to(device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss(network(signal, measurements), truth)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), METHOD.training.clip_norm)
        optimizer.step()
        return value.item()

    return step
