"""Slow writers, rewrites while a file is read, truncations and renames over it: no row comes from a half-written file.

Every complete content has a digest that is known; a row with any other is a failure, and so is a file whose last content has no row.

settle  Many writers pause for less than the settle time between two parts of a file. One that this machine held up for longer did not
        keep to the rule: its file may have a row too many, and is counted apart.
kept    Writers that keep their file open are stopped (SIGSTOP) for longer than the settle time, at any moment, and so is the service:
        the kernel tells who has a file open, so nothing is excused.
marker  Pauses far longer than the settle time, before a marker says that a file is complete.
"""

import concurrent.futures
import contextlib
import pickle
import random
import signal
import struct
import subprocess
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
# What writers that are stopped are up against: a service that is behind by less must not be deceived.
KEPT_SETTLE = 1.0
KEPT_WRITERS = 32
FOLDERS = 16


def padded(seed: int) -> bytes:
    """A PNG that takes a while to read and digest: an ancillary chunk of noise before its end."""
    noise = random.Random(seed).randbytes(PADDING)
    chunk = struct.pack(">I", len(noise)) + b"noIs" + noise + struct.pack(">I", zlib.crc32(b"noIs" + noise))
    image = png(seed)
    return image[:-12] + chunk + image[-12:]


class Writers:
    """What the writers did: the complete contents, the last one of each file, and the files that were held up."""

    def __init__(self, inbox: Path, group: str):
        self.inbox, self.lock = inbox, threading.Lock()
        kept = (self.slowly, self.overwritten, self.truncated)
        self.ways = {"settle": (*kept, self.reopened, self.replaced, self.while_read), "kept": kept, "marker": (self.with_marker,)}[group]
        self.complete: list[bytes] = []
        self.last: dict[str, bytes] = {}
        self.late: dict[str, str] = {}

    def attempt(self, number: int) -> None:
        """One file, in one of the ways."""
        chance, name = random.Random(number), f"{number % FOLDERS}/{number}.png"
        way = self.ways[number % len(self.ways)]
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = padded if way == self.while_read else png
        first, second = image(2 * number), image(2 * number + 1)
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
                    self.late[name] = "had closed it" if reopen else "kept it open"
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
                self.late[name] = "kept it open"
        return [first, second]

    def with_marker(self, name, path, first, second, chance) -> list[bytes]:
        """Pauses far longer than the settle time; what says that it is complete is the marker."""
        with path.open("wb", buffering=0) as file:
            file.write(first[:60])
            time.sleep(chance.uniform(2, 4) * SETTLE)
            file.write(first[60:])
        path.with_name(path.name + ".done").touch()
        return [first]


def stopped_now_and_then(service: Service, writers: list[subprocess.Popen]) -> int:
    """Stops writers, and now and then the service, for longer than the settle time, until all have written; how many stops."""
    chance, halted, stops = random.Random(1), {}, 0
    while any(writer.poll() is None for writer in writers):
        now = time.monotonic()
        for process in [process for process, until in halted.items() if until < now]:
            process.send_signal(signal.SIGCONT)
            del halted[process]
        for process in (*writers, service.process):
            if process.poll() is None and process not in halted and chance.random() < 0.06:
                process.send_signal(signal.SIGSTOP)
                halted[process] = now + chance.uniform(1.2, 3) * KEPT_SETTLE
                stops += 1
        time.sleep(0.05)
    service.process.send_signal(signal.SIGCONT)
    return stops


def write_alone(inbox: str, first: str, count: str) -> int:
    """What a process of its own writes, and what it has written, to stdout."""
    writers = Writers(Path(inbox), "kept")
    for number in range(int(first), int(first) + int(count)):
        writers.attempt(number)
    pickle.dump((writers.complete, writers.last), sys.stdout.buffer)
    return 0


def written_with_stops(tally: Tally, service: Service, tries: int) -> Writers:
    """So many files by processes that are stopped."""
    house, each = service.house, max(1, tries // KEPT_WRITERS)
    command = [sys.executable, __file__, "--write", str(house.inbox)]
    with contextlib.ExitStack() as stack:
        processes = []
        for number in range(KEPT_WRITERS):
            out = stack.enter_context((house.root / f"written-{number}").open("wb"))
            processes.append(stack.enter_context(subprocess.Popen([*command, str(number * each), str(each)], stdout=out)))
            stack.callback(processes[-1].kill)
        stops = stopped_now_and_then(service, processes)
    writers = Writers(house.inbox, "kept")
    for number in range(KEPT_WRITERS):
        complete, last = pickle.loads((house.root / f"written-{number}").read_bytes())
        writers.complete += complete
        writers.last |= last
    tally.note(f"kept: {stops} stops")
    return writers


def written(service: Service, group: str, tries: int) -> Writers:
    """So many files by writers that keep to the rules."""
    writers = Writers(service.house.inbox, group)
    with concurrent.futures.ThreadPoolExecutor(48) as pool:
        list(pool.map(writers.attempt, range(tries)))
    return writers


def attempts(work: Path, tally: Tally, group: str, watch: str, tries: int) -> None:
    """So many files written badly while the service is at work."""
    house = House(work / group, settings="flush_ms = 200\n", watch=watch)
    if group == "kept":
        # Who writes into a folder that is new may have begun before anybody could listen.
        for folder in range(FOLDERS):
            (house.inbox / str(folder)).mkdir()
    with Service(house) as service:
        writers = written_with_stops(tally, service, tries) if group == "kept" else written(service, group, tries)
        contents = list(dict.fromkeys(writers.complete))
        known = {contents[index]: digest for index, digest in faults.reference(work / f"{group}-reference", contents).items()}
        wanted = {known[content] for content in writers.last.values()}
        seen = lambda: {row["file_digest"] for row in house.query("SELECT file_digest FROM scores")}
        try:
            faults.wait(lambda: wanted <= seen(), "the last content of every file scored", pace=0.5)
        except faults.Broken:
            tally.lost += len(wanted - seen())
            tally.fault(f"{group}: {len(wanted - seen())} files whose last content has no row")
        time.sleep(3 * SETTLE)
        if not service.alive():
            tally.fault(f"{group}: the service ended: {service.text()[-300:]}")
    rows, good = house.query("SELECT source, file_digest FROM scores") + house.rejected(), set(known.values())
    half = [row["source"] for row in rows if row["file_digest"] not in good]
    if unexcused := [source for source in half if source not in writers.late]:
        tally.fault(f"{group}: {len(unexcused)} rows from half-written files: {unexcused[:5]}")
    tally.doubled += house.rows().total() - len(house.rows())
    tally.tries += len(writers.last) - len(writers.late)
    tally.note(f"{group}: {len(writers.last)} files, {len(half)} rows from half-written ones")
    for what in sorted(set(writers.late.values())):
        names = {name for name, how in writers.late.items() if how == what}
        tally.note(f"{group}: {len(names)} files by a writer that was held up and {what}: {sum(source in names for source in half)} of these rows")


def main() -> int:
    if sys.argv[1:2] == ["--write"]:
        return write_alone(*sys.argv[2:5])
    given = faults.arguments(__doc__, tries=0)
    tries = given.tries or (150 if given.bounded else 1100)
    tally = Tally("half_written", "slow writers, rewrites while read, truncations, renames over")
    with faults.workplace(fast=True) as work:
        attempts(work, tally, "settle", WATCH, tries)
        attempts(work, tally, "kept", f"settle_ms = {int(KEPT_SETTLE * 1000)}\nrescan_s = 1", tries // 2)
        marker = 'settle_ms = 100\ndone_marker = ".done"'
        if House(work / "probe").supports_pipeline(f"[watch]\n{marker}"):
            attempts(work, tally, "marker", marker, tries // 5)
        else:
            tally.note("done_marker: SKIPPED, this program has none")
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
