"""SIGHUP over and over while files arrive, and SIGTERM with a restart in between: every frame once, and no file is its own duplicate."""

import random
import signal
import sys
import time

import faults
from faults import Broken, House, Service, Tally, png

RATE = 100


def flow(house: House, tally: Tally, count: int) -> int:
    """So many files at a steady rate, under signals; how many signals."""
    chance, service, signals = random.Random(5), Service(house), 0
    start, due = time.monotonic(), 0.0
    try:
        for index in range(count):
            time.sleep(max(0.0, start + index / RATE - time.monotonic()))
            house.drop(f"{index % 10}/{index}.png", png(index))
            if time.monotonic() - start < due:
                continue
            due = time.monotonic() - start + chance.uniform(0.1, 0.8)
            signals += 1
            if chance.random() < 0.8:
                service.process.send_signal(signal.SIGHUP)
                continue
            if (code := service.stop()) != 0:
                tally.fault(f"SIGTERM: ended with {code}: {service.text()[-300:]}")
            service = Service(house)
        faults.wait(lambda: house.status().get("scored", 0) >= count, f"{count} files scored", pace=0.2)
        if (code := service.stop()) != 0:
            tally.fault(f"ended with {code}: {service.text()[-300:]}")
    finally:
        service.kill()
    return signals


def main() -> int:
    given = faults.arguments(__doc__)
    count = 1000 if given.bounded else 6000
    tally = Tally("reload", f"{count} files under SIGHUP and SIGTERM")
    with faults.workplace(fast=True) as work:
        digests = faults.reference(work / "reference", [png(index) for index in range(count)])
        house = House(work / "house", settings="flush_ms = 150\nflush_rows = 50\n", watch="settle_ms = 100\nrescan_s = 3600")
        try:
            signals = flow(house, tally, count)
        except Broken as error:
            signals = 0
            tally.fault(str(error))
        tally.count({(digest, 0) for digest in digests.values()}, house.rows(), "reload")
        for table in ("rejected", "duplicates"):
            if table in house.must("query") and (rows := house.query(f"SELECT source FROM {table}")):
                tally.fault(f"{len(rows)} rows in {table}: {rows[:3]}")
        tally.tries = signals
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
