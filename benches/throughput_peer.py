"""The peer of benches/throughput.sh: Pillow decodes, PyTorch infers the same network, pyarrow writes Parquet.

    throughput_peer.py FOLDER OUT.parquet        prints images a second and peak memory
"""
import hashlib
import pathlib
import resource
import sys
import time

import numpy
import pyarrow
import pyarrow.parquet
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn


class Vae(nn.Module):
    """pipelines/digits.toml: channels 32, 64, GroupNorm, latent 16."""

    def __init__(self):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(1, 32, 3, 2, 1), nn.GroupNorm(1, 32)
        self.c2, self.n2 = nn.Conv2d(32, 64, 3, 2, 1), nn.GroupNorm(1, 64)
        self.latent, self.dense = nn.Linear(64 * 49, 32), nn.Linear(16, 64 * 49)
        self.t1, self.n3 = nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.GroupNorm(1, 32)
        self.t2 = nn.ConvTranspose2d(32, 1, 4, 2, 1)

    def forward(self, x):
        h = F.relu(self.n1(self.c1(x)))
        features = F.relu(self.n2(self.c2(h)))
        mean, log_var = self.latent(features.flatten(1)).chunk(2, 1)
        h = F.relu(self.dense(mean)).view(-1, 64, 7, 7)
        return mean, log_var, self.t2(F.relu(self.n3(self.t1(h))))


def main(folder, out):
    model = Vae().eval()
    files = sorted(pathlib.Path(folder).rglob("*.png"))
    start = time.perf_counter()
    rows = []
    with torch.inference_mode():
        for at in range(0, len(files), 64):
            batch = files[at : at + 64]
            contents = [file.read_bytes() for file in batch]
            pixels = numpy.stack([numpy.asarray(Image.open(file), dtype=numpy.float32) / 255 for file in batch])
            x = torch.from_numpy(pixels)[:, None]
            mean, log_var, logits = model(x)
            nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
            kl = 0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(1)
            for file, content, n, k in zip(batch, contents, nll.tolist(), kl.tolist()):
                rows.append((str(file), hashlib.blake2b(content).hexdigest(), n, k))
    table = pyarrow.table(dict(zip(("source", "file_digest", "reconstruction_nll", "kl"), map(list, zip(*rows)))))
    pyarrow.parquet.write_table(table, out, compression="zstd")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"python   {len(files)} images in {seconds:.2f} s: {len(files) / seconds:.0f} images/s, peak {peak:.0f} MiB")


main(*sys.argv[1:])
