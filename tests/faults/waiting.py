"""Memory with 100,000 waiting files, at most 1.5 times that with 1,000.

The files stand in the inbox when the service starts. Read twice: while they wait (intake held back by `min_free`, where the program
knows it), and the peak until all are scored. The peak depends on how the stages keep pace with each other; `--bounded` lets it be
three times as much.
"""

import os
import sys
import time
from pathlib import Path

import faults
from faults import House, Service, Tally, png


# The memory that many files may take, in that of few.
MOST_TIMES = 1.5


def hold(folder: Path) -> str:
    """Settings under which nothing is taken in: all of the disk would have to be free."""
    disk = os.statvfs(folder)
    return f"min_free = {(disk.f_blocks - 1) * disk.f_frsize}\n"


def fill(house: House, count: int) -> None:
    """So many different files, a thousand a folder."""
    for index in range(count):
        path = house.inbox / f"{index // 1000}/{index}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(index))


def held(house: House) -> int:
    """The most memory in ten seconds in which nothing may be decoded, KiB."""
    with Service(house) as service:
        end, most = time.monotonic() + 10, 0
        while time.monotonic() < end:
            most = max(most, service.memory("VmRSS"))
            time.sleep(0.05)
        return most


def drained(house: House, tally: Tally, count: int) -> int:
    """The most memory until every file is scored, KiB."""
    with Service(house) as service:
        faults.wait(lambda: house.status().get("scored", 0) >= count, f"{count} files scored", seconds=1800, pace=0.5)
        most = service.memory("VmHWM")
        service.stop()
    rows = house.rows()
    tally.tries += 1
    tally.lost += count - len(rows)
    tally.doubled += rows.total() - len(rows)
    if (len(rows), rows.total()) != (count, count):
        tally.fault(f"{rows.total()} rows of {len(rows)} frames, {count} waited")
    return most


def main() -> int:
    given = faults.arguments(__doc__, many=0)
    few, many = 1000, given.many or (20_000 if given.bounded else 100_000)
    tally = Tally("waiting", f"memory with {many} waiting files against {few}")
    figures = []
    with faults.workplace(fast=True) as work:
        houses = {count: House(work / str(count)) for count in (few, many)}
        for count, house in houses.items():
            fill(house, count)
        if houses[few].supports(hold(work)):
            waited = {}
            for count in houses:
                house = House(work / str(count), state=work / f"{count}-held", settings=hold(work))
                waited[count] = held(house)
            figures.append(("while they wait", MOST_TIMES, waited))
        else:
            tally.note("while they wait: SKIPPED, this program cannot hold its intake back")
        houses = {count: House(work / str(count)) for count in (few, many)}
        peaks = {count: drained(house, tally, count) for count, house in houses.items()}
        figures.append(("peak until drained", 3.0 if given.bounded else MOST_TIMES, peaks))
        for label, times, most in figures:
            ratio = most[many] / most[few]
            tally.note(f"{label}: {most[few] / 1024:.0f} MiB with {few}, {most[many] / 1024:.0f} MiB with {many}: {ratio:.2f} times")
            if ratio > times:
                tally.fault(f"{label}: {ratio:.2f} times the memory")
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
