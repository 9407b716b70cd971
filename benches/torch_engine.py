"""The engine and PyTorch on the same network, in turns: training step, inference, one image. Run by engine.sh.

Each round times a block of each contender; the best layout of PyTorch counts. Prints the medians and minima over
all rounds and the median of the rounds' own ratios, which a busy machine disturbs least.
"""

import statistics
import subprocess
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, LATENT = 128, 16
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)


class Vae(nn.Module):
    def __init__(self, size):
        super().__init__()
        q = size // 4
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1), nn.GroupNorm(1, 32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.GroupNorm(1, 64), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * q * q, 2 * LATENT))
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 64 * q * q), nn.ReLU(), nn.Unflatten(1, (64, q, q)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.GroupNorm(1, 32), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1))


class Torch:
    def __init__(self, size, layout):
        self.model = Vae(size).to(memory_format=layout)
        self.x = torch.rand(BATCH, 1, size, size).to(memory_format=layout)
        self.one_x = self.x[:1].clone(memory_format=layout)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), 1e-3)

    def train(self):
        mean, log_var = self.model.encoder(self.x).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        nll = F.binary_cross_entropy_with_logits(self.model.decoder(z), self.x, reduction="sum")
        kl = -0.5 * (1 + log_var - mean * mean - log_var.exp()).sum()
        self.optimiser.zero_grad(set_to_none=True)
        ((nll + kl) / BATCH).backward()
        self.optimiser.step()

    def pass_through(self, x):
        with torch.inference_mode():
            mean, _ = self.model.encoder(x).chunk(2, 1)
            return self.model.decoder(mean)

    def infer(self):
        self.pass_through(self.x)

    def one(self):
        self.pass_through(self.one_x)

    def time(self, what, repeats):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            getattr(self, what)()
            times.append((time.perf_counter() - start) * 1e3)
        return times


class Engine:
    def __init__(self, binary, size):
        self.process, self.size = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True), size

    def time(self, what, repeats):
        self.process.stdin.write(f"{what} {self.size} {repeats}\n")
        self.process.stdin.flush()
        return [float(value) for value in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(size, what, repeats, rounds, engine, rivals):
    for contender in [engine, *rivals]:
        contender.time(what, 3)
    ours, theirs, ratios = [], [], []
    for _ in range(rounds):
        own = engine.time(what, repeats)
        best = min((rival.time(what, repeats) for rival in rivals), key=statistics.median)
        ratios.append(statistics.median(best) / statistics.median(own))
        ours += own
        theirs += best
        time.sleep(0.05)
    images = 1 if what == "one" else BATCH
    own, other = statistics.median(ours), statistics.median(theirs)
    print(f"{size:4} {what:6} {own:9.3f} {other:9.3f} {min(ours):9.3f} {min(theirs):9.3f} "
          f"{images / own * 1e3:10.0f} {images / other * 1e3:10.0f} {statistics.median(ratios):7.2f}x {min(theirs) / min(ours):7.2f}x", flush=True)


def main():
    rounds = int(sys.argv[3])
    print(f"batch {BATCH}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, {rounds} rounds; milliseconds")
    print("size what      engine   pytorch  engine min  torch min  engine/s   pytorch/s  median ratio  min ratio")
    for size in (28, 64):
        engine = Engine(sys.argv[1], size)
        rivals = [Torch(size, layout) for layout in (torch.contiguous_format, torch.channels_last)]
        compare(size, "train", 4, rounds, engine, rivals)
        compare(size, "infer", 8, rounds, engine, rivals)
        features = engine.time("features", 8 * rounds)
        print(f"{size:4} with the encoder's features: {statistics.median(features):9.3f} (min {min(features):.3f})")
        compare(size, "one", 100, rounds, engine, rivals)
        engine.close()


main()
