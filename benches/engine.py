"""The engine and PyTorch on the same networks, in turns: training step, inference, one image. Run by engine.sh.

Each round times a block of each contender; the best layout of PyTorch counts. Prints the medians over all rounds, images a
second, the median of the rounds' own ratios, which a busy machine disturbs least, and the most memory each process has held
(PyTorch's with its library, about as much as it holds idle: printed too).
"""

import pathlib
import statistics
import subprocess
import sys

BATCH = 128
REPEATS = {"train": 4, "infer": 8, "one": 100}
HERE = pathlib.Path(__file__).parent


class Contender:
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.parameters = int(self.process.stdout.readline())
        self.idle = self.memory()

    def time(self, what, repeats):
        self.process.stdin.write(f"{what} {repeats}\n")
        self.process.stdin.flush()
        return [float(value) for value in self.process.stdout.readline().split()]

    def memory(self):
        """Largest resident set so far, MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(kind, size, what, rounds, engine, rivals):
    repeats = REPEATS[what]
    for contender in [engine, *rivals]:
        contender.time(what, 3)
    ours, theirs, ratios = [], [], []
    for _ in range(rounds):
        own = engine.time(what, repeats)
        best = min((rival.time(what, repeats) for rival in rivals), key=statistics.median)
        ratios.append(statistics.median(best) / statistics.median(own))
        ours += own
        theirs += best
    images = 1 if what == "one" else BATCH
    own, other = statistics.median(ours), statistics.median(theirs)
    print(f"{kind:8} {size:4} {what:6} {own:9.3f} {other:9.3f} {images / own * 1e3:10.0f} {images / other * 1e3:10.0f} "
          f"{statistics.median(ratios):7.2f}x", flush=True)


def run(kind, size, binary, threads, rounds):
    engine = Contender(binary, kind, str(size))
    rivals = [Contender(sys.executable, str(HERE / "torch_networks.py"), kind, str(size), layout, threads)
              for layout in ("contiguous_format", "channels_last")]
    if any(rival.parameters != engine.parameters for rival in rivals):
        raise SystemExit(f"{kind}: {engine.parameters} parameters beside PyTorch's {rivals[0].parameters}: not the same network")
    for what in REPEATS:
        compare(kind, size, what, rounds, engine, rivals)
    memory = [f"{contender.memory():.0f} ({contender.idle:.0f} idle)" for contender in (engine, min(rivals, key=Contender.memory))]
    print(f"{kind:8} {size:4} {engine.parameters} parameters; memory in MiB: engine {memory[0]}, PyTorch {memory[1]}", flush=True)
    for contender in [engine, *rivals]:
        contender.close()


def main():
    binary, threads, rounds, *networks = sys.argv[1:]
    print(f"batch {BATCH}, {threads} threads, {rounds} rounds; milliseconds and images a second")
    print("kind     size what      engine   pytorch   engine/s  pytorch/s   ratio")
    for network in networks:
        kind, size = network.split(":")
        run(kind, int(size), binary, threads, int(rounds))


main()
