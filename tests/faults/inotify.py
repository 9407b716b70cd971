"""A queue of 64 events, and more files than it can name: a burst, and folders within folders made together with their files.

The timed rescan is an hour away: what is found is found by what the service makes of the events it gets. Needs root to set
fs.inotify.max_queued_events, which counts when a watcher starts and is put back as soon as the service is ready.
"""

import contextlib
import sys
import time
from pathlib import Path

import faults
from faults import House, Service, Tally, png

EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")


@contextlib.contextmanager
def short_queue(length: int):
    """Event queues of this length for who starts to watch meanwhile."""
    before = EVENTS.read_text()
    try:
        EVENTS.write_text(str(length))
    except OSError as error:
        faults.skip("inotify", f"cannot set {EVENTS}: {error.strerror}")
    try:
        yield
    finally:
        EVENTS.write_text(before)


def drained(work: Path, tally: Tally, label: str, names: list[str]) -> None:
    """Files of these names, all at once, with the service at work."""
    images = [png(index) for index in range(len(names))]
    expected = {(digest, 0) for digest in faults.reference(work / f"{label}-reference", images).values()}
    house = House(work / label, watch="settle_ms = 100\nrescan_s = 3600")
    with short_queue(64):
        service = Service(house)
    with service:
        started = time.monotonic()
        for name, image in zip(names, images):
            path = house.inbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
        written = time.monotonic() - started
        with contextlib.suppress(faults.Broken):
            faults.wait(lambda: house.status().get("scored", 0) >= len(names), label, pace=0.5)
        tally.note(f"{label}: {len(names)} files written in {written:.1f} s, done after {time.monotonic() - started:.1f} s")
        if (code := service.stop()) != 0:
            tally.fault(f"{label}: ended with {code}")
    tally.count(expected, house.rows(), label)


def main() -> int:
    given = faults.arguments(__doc__)
    burst, folders = (4000, 80) if given.bounded else (20_000, 400)
    with short_queue(64):
        pass
    tally = Tally("inotify", f"{burst} files at once, {5 * folders} files in {folders} new nested folders, a queue of 64 events")
    with faults.workplace(fast=True) as work:
        drained(work, tally, "burst", [f"{index}.png" for index in range(burst)])
        nested = [f"{folder % 20}/{folder % 7}/{folder}/{file}.png" for folder in range(folders) for file in range(5)]
        drained(work, tally, "folders", nested)
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
