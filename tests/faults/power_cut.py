"""Power cuts: the state folder on an ext4 disk whose every write and flush is logged (disk.py), cut at any moment afterwards.

What a cut leaves is everything before the last flush of the disk's cache, and of what came after it all, nothing, or a random
part with the last write torn. Each such image is checked (e2fsck), mounted, and compared with what a client had been told by
then; the service is restarted on it, and every frame must stand in `scores` once. Needs root, FUSE, loop devices and mkfs.ext4.
"""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import faults
from disk import Log
from faults import Broken, House, Service, Tally, png

SIZE = 160 << 20
HOWS = ("some", "none", "all", "some")
SETTINGS = "flush_rows = 16\nflush_ms = 60\ndecode_threads = 1\n"


def sh(*command: str, codes=(0,)) -> None:
    """Runs a command."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise Broken(f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}")


@contextlib.contextmanager
def mounted(image: Path, folder: Path):
    """An image behind a loop device of its own."""
    folder.mkdir(exist_ok=True)
    sh("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        sh("umount", str(folder))


@contextlib.contextmanager
def logged(work: Path):
    """A fresh ext4 on a logged disk: where it is mounted, the log, and the image as it was at the beginning."""
    base, image, log, door = work / "base", work / "image", work / "log", work / "door"
    with base.open("wb") as file:
        file.truncate(SIZE)
    sh("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=8", str(base))
    shutil.copyfile(base, image)
    door.mkdir()
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("disk.py")), str(image), str(log), str(door)])
    try:
        faults.wait(lambda: (door / "disk").exists() or server.poll() is not None, "the logged disk")
        if server.poll() is not None:
            raise Broken("the logged disk did not start")
        with mounted(door / "disk", work / "live") as live:
            yield live, log, base
    finally:
        subprocess.run(["umount", str(door)], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(60)
        server.kill()


class Client:
    """Somebody who asks the service how many frames are committed, and notes how far the disk had come when the answer was there."""

    def __init__(self, house: House, log: Path):
        self.house, self.log, self.told, self.over = house, log, [(0, 0)], threading.Event()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def ask(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(Broken):
                count = self.house.status().get("scored", 0)
                if count != self.told[-1][1]:
                    self.told.append((self.log.stat().st_size, count))
            time.sleep(0.01)

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    def knew(self, position: int) -> int:
        """Frames that had been called committed before the disk came this far."""
        return max(count for place, count in self.told if place <= position)


def run(work: Path, settings: str, files: int, deleting: bool) -> tuple[Path, Path, Client, int]:
    """The service at work on a logged disk; the log, the base, the client, and where the log stood when it started.

    With `deleting` the inbox lies on the disk too, each file is synced into it, and the service deletes what it has scored.
    """
    with logged(work) as (live, log, base):
        more = '[after]\nscored = "delete"' if deleting else ""
        house = House(work / "house", state=live / "state", settings=settings, more=more)
        if deleting:
            (live / "inbox").mkdir()
            house = moved_inbox(house, live / "inbox", more)
        start = log.stat().st_size
        with Service(house) as service:
            client = Client(house, log)
            try:
                for index in range(files):
                    drop(house, f"{index:05}.png", png(index), deleting)
                    time.sleep(0.01)
                faults.wait(lambda: house.status().get("scored") == files, f"{files} frames scored")
            finally:
                client.stop()
            if not service.alive():
                raise Broken(f"the service ended: {service.text()[-400:]}")
    return log, base, client, start


def moved_inbox(house: House, inbox: Path, more: str) -> House:
    """The same house with its inbox elsewhere."""
    file = house.root / "pipelines/digits.toml"
    file.write_text(file.read_text().replace(f'inbox = "{house.inbox}"', f'inbox = "{inbox}"'))
    house.inbox = inbox
    return house


def drop(house: House, name: str, content: bytes, synced: bool) -> None:
    """A file into the inbox, on the disk for good where that is asked for."""
    part = house.inbox / f"{name}.part"
    with part.open("wb") as file:
        file.write(content)
        if synced:
            file.flush()
            os.fsync(file.fileno())
    part.rename(house.inbox / name)
    if synced:
        folder = os.open(house.inbox, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def after_cut(work: Path, image: Path, settings: str, tally: Tally, knew: int, label: str, deleting: bool, expected) -> None:
    """What an image holds must be at least what was acknowledged; after a restart, every frame once."""
    sh("e2fsck", "-fy", str(image), codes=(0, 1))
    with mounted(image, work / "cut") as cut:
        more = '[after]\nscored = "delete"' if deleting else ""
        house = House(work / "house", state=cut / "state", settings=settings, more=more)
        if deleting:
            house = moved_inbox(house, cut / "inbox", more)
        held = len(house.rows())
        if held < knew:
            tally.lost += knew - held
            tally.fault(f"{label}: {knew} frames had been acknowledged, {held} are there")
        wanted = expected
        if deleting:
            # Files were dropped in the order of their names, each synced: all up to the last that is seen had been on the disk.
            waiting = {expected[path.name] for path in house.inbox.iterdir() if path.suffix == ".png"}
            seen = waiting | set(house.rows())
            order = [expected[name] for name in sorted(expected)]
            wanted = set(order[: 1 + max((order.index(pair) for pair in seen), default=-1)])
        house.must("watch", "--once")
        tally.count(wanted, house.rows(), label)


def cuts(work: Path, tally: Tally, count: int, settings: str, files: int, deleting: bool) -> None:
    """One run, cut at so many moments."""
    work.mkdir()
    name = "power cut with delete" if deleting else "power cut"
    digests = faults.reference(work / "reference", [png(index) for index in range(files)])
    expected = {f"{index:05}.png": (digest, 0) for index, digest in digests.items()}
    log, base, client, start = run(work, settings, files, deleting)
    end, chance, stakes = log.stat().st_size, random.Random(11), 0
    disk = Log(log, base)
    moments = disk.moments(start, count, chance)
    for number, moment in enumerate(moments):
        label, image = f"{name} {number} at {moment}", work / "cut.img"
        try:
            stakes += disk.cut(moment, image, HOWS[number % len(HOWS)], chance)
            wanted = expected if deleting else set(expected.values())
            after_cut(work, image, settings, tally, client.knew(moment), label, deleting, wanted)
        except Broken as error:
            tally.fault(f"{label}: {error}")
    tally.note(f"{name}: {count} cuts over {(end - start) >> 20} MiB of writes, {stakes / count:.1f} writes at stake on average")


def need_disks(work: Path) -> None:
    """Skips where root may have no loop devices, or no FUSE."""
    work.mkdir()
    try:
        with logged(work):
            pass
    except (Broken, OSError) as error:
        faults.skip("power_cut", f"no logged disk can be had here: {error}")


def main() -> int:
    given = faults.arguments(__doc__, cuts=0)
    faults.apart("power_cut", "/dev/fuse", "/dev/loop-control", "mkfs.ext4", "e2fsck")
    count, files = given.cuts or (8 if given.bounded else 60), 120 if given.bounded else 600
    tally = Tally("power_cut", "ext4 cut at any write, e2fsck, mount, restart")
    with faults.workplace(fast=True) as work:
        need_disks(work / "disks")
        probe = House(work / "probe")
        settings = SETTINGS + ("min_free = 1048576\n" if probe.supports("min_free = 1048576") else "")
        cuts(work / "kept", tally, count, settings, files, deleting=False)
        if probe.supports_pipeline('[after]\nscored = "delete"'):
            cuts(work / "deleted", tally, count, settings, files, deleting=True)
        else:
            tally.note("cuts while scored files are deleted: SKIPPED, this program has no [after]")
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
