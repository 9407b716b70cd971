"""SIGKILL at the n-th call of `anomalyd compact`; at once, after a restart, and after compacting again: every frame once.

The day that is compacted is yesterday: the service that filled it ran with its clock a day behind (clock.c, by LD_PRELOAD).
Meanwhile readers read, with pauses longer than the quiet time that compaction waits for.
"""

import concurrent.futures
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import faults
import kill
from faults import Broken, House, Tally, png

SETTINGS = "flush_rows = 8\nflush_ms = 300\ndecode_threads = 1\n[compaction]\nautomatic = false\nquiet_s = {quiet}\n"
KINDS = ("rename", "fsync", "write", "ledger write", "unlink", "mkdir", "link")
BOUNDED_STEP = {"rename": 1, "fsync": 9, "write": 2503, "ledger write": 29, "unlink": 23, "mkdir": 3, "link": 19}
# A part is written in thousands of small pieces.
FULL_STEP = {"write": 101}
CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    long outcome = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec -= 86400;
    return (int)outcome;
}
"""


class Stage:
    """A state folder with a closed day of many parts."""

    def __init__(self, work: Path):
        self.work = work
        (work / "clock.c").write_text(CLOCK)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(work / "clock.so"), str(work / "clock.c")], check=True)
        house = House(work / "full", settings=SETTINGS.format(quiet=1))
        for index in range(96):
            house.drop(f"{index}.png", png(index))
        for index in range(4):
            house.drop(f"junk/{index}", b"no image at all %d" % index)
        house.must("watch", "--once", env={**os.environ, "LD_PRELOAD": str(work / "clock.so")})
        self.state, self.expected = house.state, set(house.rows())
        if len(self.expected) != 96:
            raise Broken(f"a quiet run scores {len(self.expected)} frames of 96")

    def house(self, name: str, quiet: int) -> House:
        """A copy of the state, an empty inbox, and seconds for which nobody may have read what is compacted."""
        house = House(self.work / name, settings=SETTINGS.format(quiet=quiet))
        shutil.copytree(self.state, house.state, ignore=shutil.ignore_patterns("control.sock"))
        return house


def parts(house: House) -> int:
    """Files of the scores."""
    return len(list(house.state.glob("reports/scores/*/*/*.parquet")))


def check(stage: Stage, house: House, tally: Tally, label: str) -> None:
    """Every frame once, every refusal once."""
    tally.count(stage.expected, house.rows(), label)
    if len(house.rejected()) != 4:
        tally.fault(f"{label}: {len(house.rejected())} refusals of 4")


def one_try(stage: Stage, tally: Tally, kind: str, n: int) -> bool:
    """One kill; whether it hit."""
    label = f"compact {kind} {n}"
    house = stage.house(label.replace(" ", "-"), quiet=0)
    try:
        hit = kill.killed(house, kind, n, tally, "compact")
        check(stage, house, tally, f"{label}, killed")
        house.must("watch", "--once")
        check(stage, house, tally, f"{label}, restarted")
        house.must("compact")
        check(stage, house, tally, f"{label}, compacted")
        if parts(house) != 1:
            tally.fault(f"{label}: {parts(house)} parts of scores are left")
        left = [path.name for path in (house.state / "staging").iterdir()]
        if left:
            tally.fault(f"{label}: staging still holds {left[:3]}")
        if house.supports_command("ledger"):
            house.must("ledger", "check")
        return hit
    except Broken as error:
        tally.fault(f"{label}: {error}")
        return True
    finally:
        shutil.rmtree(house.root, ignore_errors=True)


def series(stage: Stage, tally: Tally, pool, kind: str, step: int) -> None:
    """Kills at every `step`-th call until none is left."""
    last, numbers = 0, itertools.count(1, step)
    while True:
        portion = list(itertools.islice(numbers, 4))
        hits = list(pool.map(lambda n: one_try(stage, tally, kind, n), portion))
        last = max([n for n, hit in zip(portion, hits) if hit], default=last)
        if not all(hits):
            tally.note(f"{kind}: killed at 1, {1 + step}, ... {last}")
            return


def under_readers(stage: Stage, tally: Tally, rounds: int) -> None:
    """Compaction while readers read, now and then."""
    for number in range(rounds):
        house = stage.house(f"read-{number}", quiet=1)
        with faults.reading(house, tally, pause=3.0):
            time.sleep(0.3 * number)
            house.must("compact")
        check(stage, house, tally, f"under readers {number}")


def main() -> int:
    given = faults.arguments(__doc__, jobs=os.cpu_count() or 2, only="")
    if not faults.can_inject() or not shutil.which("cc"):
        faults.skip("compact", "needs a strace that may trace, and a C compiler")
    tally = Tally("compact", "SIGKILL at the n-th call of a compaction, restart, compaction")
    with faults.workplace(fast=True) as work, concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        if not House(work / "probe").supports_command("compact"):
            faults.skip("compact", "this program has no such command")
        stage = Stage(work)
        for kind in (kind for kind in KINDS if not given.only or kind in given.only.split(",")):
            series(stage, tally, pool, kind, BOUNDED_STEP[kind] if given.bounded else FULL_STEP.get(kind, 1))
        under_readers(stage, tally, 2 if given.bounded else 10)
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
