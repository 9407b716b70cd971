"""A disk that fills up, and calls that fail: intake waits, readiness says so, space comes back, every file is scored once.

Full: the state folder on a small tmpfs that a filler takes up, over and over, while 2,000 files arrive. Low: the same above nothing
but below `min_free`. Failing: an error from the n-th call of a kind (strace). EIO and EACCES end the process with code 6, and the next one finds everything;
ENOSPC once is waited for and ends nothing, but where SQLite hears of it from a sync. Needs root for the tmpfs, strace for the rest.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import faults
from faults import Broken, House, Service, Tally, png

SETTINGS = "flush_rows = 64\nflush_ms = 100\ndecode_threads = 1\n"
# System calls, the paths in the state folder they are about, and what they fail with.
FAILING = (
    ("fsync,fdatasync", (), "EIO"),
    ("renameat2", (), "EACCES"),
    ("mkdir", (), "EACCES"),
    ("openat", ("ledger.sqlite", "ledger.sqlite-wal"), "EACCES"),
    ("pwrite64", ("ledger.sqlite", "ledger.sqlite-wal"), "EIO"),
    ("pwrite64", ("ledger.sqlite", "ledger.sqlite-wal"), "ENOSPC"),
    ("fsync,fdatasync", (), "ENOSPC"),
    ("renameat2", (), "ENOSPC"),
)


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int):
    """A tmpfs of this size."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path, leave: int) -> None:
    """Writes until no more than `leave` bytes are free."""
    with file.open("ab", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            free = os.statvfs(file.parent).f_bavail * os.statvfs(file.parent).f_frsize
            if free <= leave:
                return
            out.write(bytes(min(1 << 16, max(4096, free - leave))))


class Keeper:
    """Restarts the service where it has ended, as systemd would; a disk without space is no reason to end."""

    def __init__(self, house: House, tally: Tally):
        self.house, self.tally, self.service, self.ends = house, tally, Service(house), 0

    def look(self) -> None:
        """Notes the first end, and mends each."""
        if not self.service.alive():
            self.ends += 1
            if self.ends == 1:
                self.tally.fault(f"the service ended with {self.service.process.returncode}: {self.service.text().strip()[-300:]}")
            self.service = Service(self.house, wait=False)
            time.sleep(1)

    def count(self) -> int:
        """Frames scored; what cannot be asked now is 0."""
        try:
            return self.house.status().get("scored", 0)
        except Broken:
            return 0


def squeeze(keeper: Keeper, tally: Tally, filler: Path, leave: int, hold: float) -> None:
    """Fills the disk, sees that nothing goes on and that it is said, and frees it again."""
    fill(filler, leave)
    end = time.monotonic() + faults.DEADLINE
    said = False
    while not said and time.monotonic() < end:
        keeper.look()
        ready = faults.is_ready(keeper.house)
        said = "disk full" in keeper.service.text() if ready is None else not ready
        time.sleep(0.05)
    if not said:
        tally.fault("a full disk is not said")
    before, until = keeper.count(), time.monotonic() + hold
    while time.monotonic() < until:
        keeper.look()
        time.sleep(0.1)
    if faults.is_ready(keeper.house):
        tally.fault("ready although the disk is full")
    if leave and keeper.count() - before > 1500:
        tally.fault(f"{keeper.count() - before} frames were scored below min_free")
    filler.unlink()
    faults.wait(lambda: faults.is_ready(keeper.house) is not False, "ready again after space was freed")


def filling(work: Path, tally: Tally, label: str, settings: str, mebibytes: int, leave: int, files: int, rounds: int) -> None:
    """So many files while the disk fills up so many times."""
    work.mkdir()
    with small_disk(work / "disk", mebibytes) as disk:
        house = House(work / "house", state=disk / "state", settings=SETTINGS + settings)
        expected = {(digest, 0) for digest in faults.reference(work / "reference", [png(index) for index in range(files)]).values()}
        with faults.reading(house, tally):
            keep(house, tally, label, leave, files, rounds)
        tally.count(expected, house.rows(), label)


def keep(house: House, tally: Tally, label: str, leave: int, files: int, rounds: int) -> None:
    """The service at work while the disk fills up."""
    keeper, filler = Keeper(house, tally), house.state.parent / "filler"
    try:
        for number in range(rounds):
            for index in range(files * number // rounds, files * (number + 1) // rounds):
                house.drop(f"{index % 10}/{index}.png", png(index))
                if index == files * (2 * number + 1) // (2 * rounds):
                    faults.wait(lambda: keeper.count() > 0, "the first frame")
                    fill(filler, leave)
            squeeze(keeper, tally, filler, leave, 3)
        faults.wait(lambda: keeper.look() or keeper.count() >= files, f"{label}: {files} frames scored")
        if keeper.service.alive() and (code := keeper.service.stop()) != 0:
            tally.fault(f"{label}: ended with {code}")
    finally:
        keeper.service.kill()
    tally.note(f"{label}: {files} files, filled {rounds} times, the service ended {keeper.ends} times")


class Failing:
    """200 files, a call that fails, a restart."""

    def __init__(self, work: Path, tally: Tally):
        self.work, self.tally, self.harmless, self.ended = work, tally, 0, 0
        self.images = [png(index) for index in range(200)]
        self.expected = {(digest, 0) for digest in faults.reference(work / "reference", self.images).values()}

    def series(self, calls: str, paths: tuple[str, ...], error: str, step: int) -> None:
        """The n-th call fails, for every `step`-th n until none fails any more."""
        for n in itertools.count(1, step):
            if not self.one(calls, paths, error, n):
                return

    def one(self, calls: str, paths: tuple[str, ...], error: str, n: int) -> bool:
        """One call that fails; whether it did."""
        root, label = self.work / "try", f"{calls} {n} {error}"
        house = House(root, settings="flush_rows = 40\nflush_ms = 300\ndecode_threads = 1\n")
        for index, image in enumerate(self.images):
            (house.inbox / f"{index}.png").write_bytes(image)
        log, only = root / "strace", [part for path in paths for part in ("-P", str(house.state / path))]
        prefix = ("strace", "-f", "--seccomp-bpf", "-y", "-qq", "-o", str(log), *only, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={n}")
        try:
            done = house.run("watch", "--once", prefix=prefix)
            hit = [line for line in log.read_text(errors="replace").splitlines() if "INJECTED" in line]
            if not hit:
                return False
            # A ledger that could not be copied together (a checkpoint) is still whole, and is copied the next time. SQLite syncs the
            # folder of a new ledger and asks for no outcome; the service syncs it again.
            excused = ("ledger.sqlite", f"<{house.state}>")
            if done.returncode == 0 and (error == "ENOSPC" or calls == "mkdir" or all(any(path in line for path in excused) for line in hit)):
                self.harmless += 1
            # A sync of the ledger that fails is final, whatever it failed with.
            elif done.returncode == 6 and (error != "ENOSPC" or (calls.startswith("fsync") and "ledger.sqlite" in hit[0])):
                self.ended += 1
            else:
                self.tally.fault(f"{label}: ended with {done.returncode}: {hit[0][-120:]}: {done.stderr[-300:]}")
            house.must("watch", "--once")
            self.tally.count(self.expected, house.rows(), label)
        except Broken as fault:
            self.tally.fault(f"{label}: {fault}")
        finally:
            shutil.rmtree(root, ignore_errors=True)
        return True


def main() -> int:
    given = faults.arguments(__doc__)
    faults.apart("disk_full", "mount")
    tally = Tally("disk_full", "tmpfs filled and freed, min_free, failing calls")
    with faults.workplace(fast=True) as work:
        probe = House(work / "probe")
        gated = probe.supports("min_free = 1048576")
        files, rounds = (400, 2) if given.bounded else (2000, 5)
        filling(work / "full", tally, "full disk", "min_free = 1\n" if gated else "", 48, 0, files, rounds)
        if gated:
            filling(work / "low", tally, "below min_free", f"min_free = {32 << 20}\n", 96, 16 << 20, files, rounds)
        else:
            tally.note("below min_free: SKIPPED, this program has no such setting")
        if faults.can_inject():
            failing = Failing(work, tally)
            for calls, paths, error in FAILING:
                failing.series(calls, paths, error, 31 if given.bounded else 7 if error == "ENOSPC" else 1)
            tally.note(f"failing calls: {failing.ended} ended the process with code 6, {failing.harmless} did no harm")
        else:
            tally.note("failing calls: SKIPPED, no strace that may trace")
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
