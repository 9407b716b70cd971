"""The service under a sustained rate: slopes of memory, descriptors, threads and queues by least squares, with standard errors.

Files come at a fixed rate and are removed two minutes after they came, as a tidy user would. Samples go to a CSV file. The first
fifth of them is warming up. A slope is a failure where it is above its bound by more than four standard errors: a dozen slopes are
looked at, and not one of them should fail by chance.

Bounds: memory 4 MiB an hour and 64 bytes a file (what is remembered of each name), bytes held in queues 4 MiB an hour, descriptors,
threads and entries of queues one an hour. The ledger grows by each file; its slope is shown, not judged. A run of less than ten
minutes is all warming up, and its slopes say more about what else the machine does: they are shown, and what is judged is whether
descriptors, threads and memory end far above where they were once the first fifth was over.
"""

import collections
import contextlib
import csv
import math
import os
import re
import sys
import threading
import time
from pathlib import Path

import faults
from faults import House, Service, Tally, png

KEPT_S = 120
BYTES_A_FILE = 64
HELD_BYTES = 4 << 20
SHORT_S = 600
# What a short run may add.
SHORT_RISE = {"rss_kib": 256 << 10, "fds": 64, "threads": 16}
# Standard errors that a slope must be above its bound.
ERRORS = 4


def queues(house: House) -> dict[str, float]:
    """Queue depths among the metrics, by name and labels."""
    answer = faults.http(house, "/metrics")
    found = {}
    for line in (answer[1] if answer else "").splitlines():
        if match := re.match(r"([a-z_]*(?:queue|waiting|in_flight|under_way|pending|held)[a-z_]*(?:\{[^}]*\})?) ([0-9.e+-]+)$", line):
            if "_total" not in match[1] and "_seconds" not in match[1]:
                found[match[1].replace('"', "").replace(",", " ")] = float(match[2])
    return found


def sample(house: House, service: Service, start: float) -> dict[str, float]:
    """One line of the CSV."""
    process = Path(f"/proc/{service.process.pid}")
    ledger = sum(file.stat().st_size for file in house.state.glob("ledger.sqlite*"))
    return {
        "seconds": round(time.monotonic() - start, 1),
        "rss_kib": service.memory("VmRSS"),
        "fds": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "ledger_bytes": ledger,
        **queues(house),
    }


def slope(times: list[float], values: list[float]) -> tuple[float, float]:
    """Slope an hour, and its standard error."""
    n = len(times)
    mean_t, mean_v = sum(times) / n, sum(values) / n
    spread = sum((t - mean_t) ** 2 for t in times)
    rise = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values)) / spread
    rest = sum((v - mean_v - rise * (t - mean_t)) ** 2 for t, v in zip(times, values))
    return 3600 * rise, 3600 * math.sqrt(rest / (n - 2) / spread)


class Feeder(threading.Thread):
    """Files at a rate; old ones are removed."""

    def __init__(self, house: House, rate: float):
        super().__init__(daemon=True)
        self.house, self.rate, self.count, self.over = house, rate, 0, threading.Event()

    def run(self) -> None:
        start, kept = time.monotonic(), collections.deque()
        while not self.over.wait(max(0.0, start + self.count / self.rate - time.monotonic())):
            name = f"{self.count // 1000 % 10}/{self.count}.png"
            kept.append((time.monotonic(), self.house.drop(name, png(self.count))))
            self.count += 1
            while kept and time.monotonic() - kept[0][0] > KEPT_S:
                kept.popleft()[1].unlink(missing_ok=True)


def bound(name: str, rate: float) -> float:
    """What a slope may be, an hour."""
    if name == "rss_kib":
        return 4096 + rate * 3600 * BYTES_A_FILE / 1024
    return math.inf if name == "ledger_bytes" else HELD_BYTES if "_bytes" in name else 1.0


def judge(tally: Tally, samples: list[dict[str, float]], rate: float) -> None:
    """Slopes against their bounds; what a short run has added against what it may."""
    steady = samples[len(samples) // 5 :]
    if len(steady) < 5:
        tally.fault(f"only {len(samples)} samples")
        return
    times = [line["seconds"] for line in steady]
    short = times[-1] < SHORT_S
    for name in steady[-1]:
        if name == "seconds":
            continue
        values = [line.get(name, 0.0) for line in steady]
        (rise, error), most = slope(times, values), bound(name, rate)
        judged = "" if short else f", bound {most:.0f}"
        tally.note(f"{name}: mean {sum(values) / len(values):.1f}, slope {rise:.2f} +- {error:.2f} an hour{judged}")
        if not short and rise - ERRORS * error > most:
            tally.fault(f"{name} grows by {rise:.2f} +- {error:.2f} an hour, more than {most:.0f}")
        if short and values[-1] - values[0] > SHORT_RISE.get(name, math.inf):
            tally.fault(f"{name} has grown by {values[-1] - values[0]:.0f} in {times[-1] - times[0]:.0f} s")


def main() -> int:
    given = faults.arguments(__doc__, seconds=0, rate=20.0, csv="")
    seconds = given.seconds or (60 if given.bounded else 3600)
    pace = min(10.0, seconds / 30)
    tally = Tally("soak", f"{seconds} s at {given.rate:g} files a second")
    with faults.workplace() as work, contextlib.ExitStack() as stack:
        house = House(work)
        service = stack.enter_context(Service(house))
        feeder, start, samples = Feeder(house, given.rate), time.monotonic(), []
        feeder.start()
        out = stack.enter_context(open(given.csv or os.devnull, "w", newline=""))
        writer = None
        while (time.monotonic() - start < seconds or len(samples) < 8) and service.alive():
            time.sleep(pace)
            if not service.alive():
                break
            samples.append(sample(house, service, start))
            if writer is None:
                writer = csv.DictWriter(out, samples[0].keys(), extrasaction="ignore", restval=0)
                writer.writeheader()
            writer.writerow(samples[-1])
            out.flush()
        feeder.over.set()
        feeder.join()
        if not service.alive():
            tally.fault(f"the service ended with {service.process.returncode}: {service.text()[-400:]}")
        with contextlib.suppress(faults.Broken):
            faults.wait(lambda: house.status().get("scored", 0) >= feeder.count, "everything scored", pace=0.5)
        if service.alive() and (code := service.stop()) != 0:
            tally.fault(f"ended with {code}")
        rows = house.rows()
        tally.tries, tally.lost, tally.doubled = feeder.count, feeder.count - len(rows), rows.total() - len(rows)
        if tally.lost or tally.doubled:
            tally.fault(f"{tally.lost} lost, {tally.doubled} doubled of {feeder.count}")
        judge(tally, samples, given.rate)
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
