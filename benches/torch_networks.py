"""PyTorch's half of engine.py: the engine's networks, layer by layer, in one layout of memory.

    torch_networks.py KIND SIZE LAYOUT THREADS      LAYOUT: contiguous_format channels_last

Speaks as benches/engine.rs does: prints the number of parameters, then answers `WHAT REPEATS` lines with milliseconds.
"""

import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, LATENT, CLASSES = 128, 16, 10


def norm(channels):
    return nn.GroupNorm(1, channels)


class Autoencoder(nn.Module):
    def __init__(self, kind, size):
        super().__init__()
        self.variational, q = kind != "ae", size // 4
        moments = 2 * LATENT if self.variational else LATENT
        if kind == "dense":
            self.encoder = nn.Sequential(
                nn.Flatten(), nn.Linear(size * size, 512), norm(512), nn.ReLU(), nn.Linear(512, 128), norm(128), nn.ReLU(),
                nn.Linear(128, moments))
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 128), norm(128), nn.ReLU(), nn.Linear(128, 512), norm(512), nn.ReLU(),
                nn.Linear(512, size * size), nn.Unflatten(1, (1, size, size)))
        else:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 32, 3, 2, 1), norm(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), norm(64), nn.ReLU(),
                nn.Flatten(), nn.Linear(64 * q * q, moments))
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 64 * q * q), nn.ReLU(), nn.Unflatten(1, (64, q, q)),
                nn.ConvTranspose2d(64, 32, 4, 2, 1), norm(32), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1))

    def forward(self, x):
        return self.decoder(self.encoder(x)[:, :LATENT])

    def loss(self, x):
        if not self.variational:
            return F.binary_cross_entropy_with_logits(self(x), x, reduction="sum") / BATCH
        mean, log_var = self.encoder(x).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (nll - 0.5 * (1 + log_var - mean * mean - log_var.exp()).sum()) / BATCH


class Subsample(nn.Module):
    """LeNet-5's: mean of 2 x 2, a coefficient and a bias a map, tanh."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        return torch.tanh(F.avg_pool2d(x, 2) * self.scale + self.bias)


class Connected(nn.Conv2d):
    """LeNet-5's C3: each of the 16 maps sees some of the 6."""

    TABLE = ["012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345"]

    def __init__(self):
        super().__init__(6, 16, 5)
        mask = torch.tensor([[[[float(str(i) in row)]] for i in range(6)] for row in self.TABLE])
        self.register_buffer("mask", mask)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias)


class Classifier(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.register_buffer("classes", torch.arange(BATCH) % CLASSES)

    def forward(self, x):
        return self.layers(x)

    def loss(self, x):
        return F.cross_entropy(self(x), self.classes)


def lenet5(size):
    side = (size // 2 - 4) // 2
    return Classifier(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), Subsample(6), Connected(), nn.Tanh(), Subsample(16), nn.Flatten(),
        nn.Linear(16 * side * side, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, CLASSES))


def alexnet(size):
    if size != 28:
        raise SystemExit("AlexNet is compared at 28 pixels")
    a, b, c, fc = 12, 32, 48, 512
    return Classifier(
        nn.Conv2d(1, a, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, b, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Flatten(), nn.Dropout(), nn.Linear(b * 4, fc), nn.ReLU(), nn.Dropout(), nn.Linear(fc, fc), nn.ReLU(),
        nn.Linear(fc, CLASSES))


class Unet(nn.Module):
    def __init__(self, widths=(16, 32, 64)):
        super().__init__()

        def level(before, after):
            return nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1), norm(after), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), norm(after), nn.ReLU())

        self.down = nn.ModuleList(level(before, after) for before, after in zip((1, *widths), widths))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(below, width, 4, 2, 1) for width, below in zip(widths, widths[1:]))
        self.up = nn.ModuleList(level(2 * width, width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        bridges = []
        for level in self.down[:-1]:
            bridges.append(level(x))
            x = F.max_pool2d(bridges[-1], 2)
        x = self.down[-1](x)
        for widen, level, bridge in reversed(list(zip(self.widen, self.up, bridges))):
            x = level(torch.cat([widen(x), bridge], 1))
        return self.last(x)

    def loss(self, x):
        return F.binary_cross_entropy_with_logits(self(x), x, reduction="sum") / BATCH


def network(kind, size):
    return {"lenet5": lambda: lenet5(size), "alexnet": lambda: alexnet(size), "unet": Unet}.get(kind, lambda: Autoencoder(kind, size))()


def main():
    kind, size, layout = sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3])
    torch.set_num_threads(int(sys.argv[4]))
    torch.manual_seed(0)
    model = network(kind, size).to(memory_format=layout)
    x = torch.rand(BATCH, 1, size, size).to(memory_format=layout)
    one = x[:1].clone(memory_format=layout)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    absent = sum(int((m.mask == 0).sum()) * 25 for m in model.modules() if isinstance(m, Connected))
    print(sum(p.numel() for p in model.parameters()) - absent, flush=True)

    def train():
        optimiser.zero_grad(set_to_none=True)
        model.loss(x).backward()
        optimiser.step()

    def infer(images):
        with torch.inference_mode():
            model(images)

    works = {"train": train, "infer": lambda: infer(x), "one": lambda: infer(one)}
    for line in sys.stdin:
        what, repeats = line.split()
        model.train(what == "train")
        times = []
        for _ in range(int(repeats)):
            start = time.perf_counter()
            works[what]()
            times.append((time.perf_counter() - start) * 1e3)
        print(*times, flush=True)


main()
