"""Slow writers, rewrites while a file is read, truncations and renames over it: no row comes from a half-written file.

Many writers pause for less than the settle time between two parts of a file. Every complete content has a digest that is known;
a row with any other is a failure, and so is a file whose last content has no row. A writer that this machine held up for longer
than the settle time did not keep to the rule: its file is counted apart and judged by nothing.
"""

import concurrent.futures
import os
import random
import struct
import sys
import threading
import time
import zlib
from pathlib import Path

import faults
from faults import House, Service, Tally, png

SETTLE = 0.4
WATCH = f"settle_ms = {int(SETTLE * 1000)}\nrescan_s = 2"
PADDING = 2 << 20


def padded(seed: int) -> bytes:
    """A PNG that takes a while to read and digest: an ancillary chunk of noise before its end."""
    noise = random.Random(seed).randbytes(PADDING)
    chunk = struct.pack(">I", len(noise)) + b"noIs" + noise + struct.pack(">I", zlib.crc32(b"noIs" + noise))
    image = png(seed)
    return image[:-12] + chunk + image[-12:]


class Writers:
    """What the writers did: the complete contents, the last one of each file, and the files that were held up."""

    def __init__(self, house: House, marked: bool):
        self.house, self.lock, self.marked = house, threading.Lock(), marked
        self.complete: list[bytes] = []
        self.last: dict[str, bytes] = {}
        self.late: set[str] = set()

    def attempt(self, number: int) -> None:
        """One file, in one of the ways."""
        chance, name = random.Random(number), f"{number % 16}/{number}.png"
        ways = (self.slowly, self.reopened, self.overwritten, self.truncated, self.replaced, self.while_read)
        way = self.with_marker if self.marked else ways[number % len(ways)]
        path = self.house.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        first, second = (padded if way == self.while_read else png)(2 * number), (padded if way == self.while_read else png)(2 * number + 1)
        contents = way(name, path, first, second, chance)
        with self.lock:
            self.complete += contents
            self.last[name] = contents[-1]

    def parts(self, name: str, file, content: bytes, chance: random.Random, reopen: bool = False) -> None:
        """A content in parts, with pauses shorter than the settle time; notes where a pause was too long."""
        cuts = sorted(chance.sample(range(1, len(content)), chance.randint(1, 6)))
        written = time.monotonic()
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(content)])):
            if number:
                time.sleep(chance.uniform(0.01, 0.45 * SETTLE))
            if reopen:
                file = open(file.name, "r+b" if number else "wb", buffering=0)
                file.seek(start)
            file.write(content[start:end])
            if reopen:
                file.close()
            now = time.monotonic()
            if now - written > 0.75 * SETTLE:
                with self.lock:
                    self.late.add(name)
            written = now

    def slowly(self, name, path, first, second, chance) -> list[bytes]:
        with path.open("wb", buffering=0) as file:
            self.parts(name, file, first, chance)
        return [first]

    def reopened(self, name, path, first, second, chance) -> list[bytes]:
        with path.open("wb", buffering=0) as file:
            self.parts(name, file, first, chance, reopen=True)
        return [first]

    def overwritten(self, name, path, first, second, chance) -> list[bytes]:
        """In place, without truncation; often just when the first content has settled."""
        path.write_bytes(first)
        time.sleep(chance.uniform(0, 2 * SETTLE))
        second = second.ljust(len(first), b"\0")
        with path.open("r+b", buffering=0) as file:
            self.parts(name, file, second, chance)
        return [first, second]

    def truncated(self, name, path, first, second, chance) -> list[bytes]:
        path.write_bytes(first)
        time.sleep(chance.uniform(0, 2 * SETTLE))
        with path.open("wb", buffering=0) as file:
            self.parts(name, file, second, chance)
        return [first, second]

    def replaced(self, name, path, first, second, chance) -> list[bytes]:
        """Renamed over, several times; each is whole."""
        path.write_bytes(first)
        for number in range(3):
            time.sleep(chance.uniform(0, SETTLE))
            part = path.with_name(path.name + ".part")
            part.write_bytes(first if number == 1 else second)
            part.rename(path)
        return [first, second]

    def while_read(self, name, path, first, second, chance) -> list[bytes]:
        """A large file rewritten in place at the moment it is due to be read and digested."""
        path.write_bytes(first)
        second = second.ljust(len(first), b"\0")
        time.sleep(SETTLE + chance.uniform(0, 0.3))
        begun = time.monotonic()
        with path.open("r+b", buffering=0) as file:
            for start in range(0, len(second), 1 << 18):
                file.write(second[start : start + (1 << 18)])
        if time.monotonic() - begun > 0.75 * SETTLE:
            with self.lock:
                self.late.add(name)
        return [first, second]

    def with_marker(self, name, path, first, second, chance) -> list[bytes]:
        """Pauses far longer than the settle time; what says that it is complete is the marker."""
        with path.open("wb", buffering=0) as file:
            file.write(first[:60])
            time.sleep(chance.uniform(2, 4) * SETTLE)
            file.write(first[60:])
        path.with_name(path.name + ".done").touch()
        return [first]


def attempts(work: Path, tally: Tally, label: str, watch: str, tries: int, marked: bool) -> None:
    """So many files written badly while the service is at work."""
    house = House(work / label, settings="flush_ms = 200\n", watch=watch)
    writers = Writers(house, marked)
    with Service(house) as service:
        with concurrent.futures.ThreadPoolExecutor(48) as pool:
            list(pool.map(writers.attempt, range(tries)))
        contents = list(dict.fromkeys(writers.complete))
        known = {contents[index]: digest for index, digest in faults.reference(work / f"{label}-reference", contents).items()}
        wanted = {known[content] for name, content in writers.last.items() if name not in writers.late}
        seen = lambda: {row["file_digest"] for row in house.query("SELECT file_digest FROM scores")}
        try:
            faults.wait(lambda: wanted <= seen(), 60, "the last content of every file scored", pace=0.5)
        except faults.Broken:
            tally.lost += len(wanted - seen())
            tally.fault(f"{label}: {len(wanted - seen())} files whose last content has no row")
        time.sleep(3 * SETTLE)
        if not service.alive():
            tally.fault(f"{label}: the service ended: {service.text()[-300:]}")
    rows = house.query("SELECT source, file_digest FROM scores") + house.rejected()
    good = set(known.values())
    half = [row["source"] for row in rows if row["file_digest"] not in good and row["source"] not in writers.late]
    if half:
        tally.fault(f"{label}: {len(half)} rows from half-written files: {half[:5]}")
    tally.doubled += house.rows().total() - len(house.rows())
    tally.tries += tries - len(writers.late)
    tally.note(f"{label}: {tries} files, {len(writers.late)} of them by a writer that was held up, {len(half)} rows from half-written ones")


def main() -> int:
    given = faults.arguments(__doc__, tries=0)
    tries = given.tries or (150 if given.bounded else 1100)
    tally = Tally("half_written", "slow writers, rewrites while read, truncations, renames over")
    with faults.workplace(fast=True) as work:
        attempts(work, tally, "settle", WATCH, tries, marked=False)
        marker = 'settle_ms = 100\ndone_marker = ".done"'
        if House(work / "probe").supports_pipeline(f"[watch]\n{marker}"):
            attempts(work, tally, "marker", marker, tries // 5, marked=True)
        else:
            tally.note("done_marker: SKIPPED, this program has none")
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
