"""SIGKILL at the n-th rename, write, fsync and so on, for every n of a 200-file run; a restart; then every frame once.

strace delivers SIGKILL on entering the n-th call of a kind (counted by thread), so that the n-th did not happen and the one
before it did. Full: every n of a kind until a run ends unkilled. `--bounded`: every few n.
"""

import concurrent.futures
import itertools
import os
import random
import shutil
import sys
from pathlib import Path

import faults
from faults import SIDE, Broken, House, Tally, npy, pixels, png, tiff

# By label: system calls, and the paths in the state folder that they are about (all where none are named).
KINDS = {
    "rename": ("renameat2,rename,renameat", ()),
    "fsync": ("fsync,fdatasync", ()),
    "write": ("write,writev,pwritev", ()),
    "ledger write": ("pwrite64", ("ledger.sqlite", "ledger.sqlite-wal")),
    "ledger open": ("openat", ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm")),
    "mkdir": ("mkdir,mkdirat", ()),
    "unlink": ("unlink,unlinkat,rmdir", ()),
    "truncate": ("ftruncate,truncate", ()),
    "note write": ("pwrite64", ("work/decode-0", "work/score")),
    "link": ("link,linkat", ()),
}
# n between two tries when bounded; in the full form 1, but for notes, which are two a file and all alike.
BOUNDED_STEP = {"rename": 7, "fsync": 29, "write": 17, "ledger write": 97, "ledger open": 1, "mkdir": 3, "unlink": 2, "truncate": 1, "note write": 151, "link": 1}
FULL_STEP = {"note write": 11}
MOVED_KINDS = ("rename", "fsync", "unlink", "mkdir", "ledger write")
# What must come of the 200 files.
FRAMES = 166 + 20 * 5 + 4 * 2
REFUSED = sorted([(f"junk/{index}", "") for index in range(4)] + [(f"mixed/{index}.tiff", "1") for index in range(4)])
SETTINGS = "flush_rows = 24\nflush_ms = 300\ndecode_threads = 1\n"


def contents() -> dict[str, bytes]:
    """200 files: 166 of one frame, 20 of five, 4 of three with a wrong one in the middle, 6 that repeat a content, 4 that are no image."""
    files = {f"run/{index % 7}/{index:03}.png": png(index) for index in range(166)}
    files |= {f"cube/{index:03}.npy": npy(10_000 + 10 * index, 5) for index in range(20)}
    for index in range(4):
        good = [(SIDE, SIDE, pixels(20_000 + 2 * index + page)) for page in range(2)]
        files[f"mixed/{index}.tiff"] = tiff([good[0], (9, 9, bytes(81)), good[1]])
    files |= {f"again/{index}.png": png(index * 20) for index in range(6)}
    return files | {f"junk/{index}": b"no image at all %d" % index for index in range(4)}


class Stage:
    """The files of a run and what must come of them."""

    def __init__(self, work: Path):
        self.work, self.files = work, contents()
        self.master = work / "master"
        for name, content in self.files.items():
            (self.master / name).parent.mkdir(parents=True, exist_ok=True)
            (self.master / name).write_bytes(content)
        quiet = House(work / "quiet", settings=SETTINGS)
        self.fill(quiet)
        quiet.must("watch", "--once")
        self.expected = set(quiet.rows())
        if len(self.expected) != FRAMES or quiet.rows().total() != FRAMES:
            raise Broken(f"a quiet run scores {len(self.expected)} frames of {FRAMES}")
        self.pairs = second_names(quiet)
        if self.pairs not in ([], sorted(sorted((f"again/{index}.png", f"run/{20 * index % 7}/{20 * index:03}.png")) for index in range(6))):
            raise Broken(f"a quiet run names the duplicates {self.pairs}")
        self.archive = quiet.supports_pipeline('[after]\nscored = { move = "/nowhere" }')

    def fill(self, house: House) -> None:
        """Drops the files in. Copies: each further link of a file, or one taken away, makes it a new version for the others."""
        for name in self.files:
            (house.inbox / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.master / name, house.inbox / name)

    def check(self, house: House, tally: Tally, label: str) -> None:
        """Every frame once, every refusal once."""
        tally.count(self.expected, house.rows(), label)
        refused = sorted((row["source"], row["frame_index"]) for row in house.rejected())
        if refused != REFUSED:
            tally.fault(f"{label}: rejected {refused}")
        if self.pairs and (pairs := second_names(house)) != self.pairs:
            tally.fault(f"{label}: duplicates {pairs}")

    def check_moved(self, house: House, tally: Tally, label: str) -> None:
        """Every file stands in the archive, whole, and nowhere else."""
        archive = house.root / "archive"
        moved = sorted(path.read_bytes() for path in archive.rglob("*") if path.is_file())
        left = [path for path in house.inbox.rglob("*") if path.is_file()]
        if moved != sorted(self.files.values()) or left:
            tally.fault(f"{label}: {len(moved)} files in the archive, {len(left)} still in the inbox")


def second_names(house: House) -> list[list[str]]:
    """The two names of each row in `duplicates`, sorted; none where the program has no such table."""
    if "\n  duplicates" not in house.must("query"):
        return []
    rows = house.query("SELECT source, first_source FROM duplicates")
    return sorted(sorted((row["source"], row["first_source"])) for row in rows)


def injection(kind: str, n: int, state: Path) -> tuple[str, ...]:
    """strace that kills at the n-th call of a kind."""
    calls, paths = KINDS[kind]
    only = [part for path in paths for part in ("-P", str(state / path))]
    return ("strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", *only, "-e", f"inject={calls}:signal=SIGKILL:when={n}")


def killed(house: House, kind: str, n: int, tally: Tally, *command: str) -> bool:
    """Runs a command under the injection; whether it was killed."""
    done = house.run(*command, prefix=injection(kind, n, house.state))
    if done.returncode not in (0, -9, 137):
        tally.fault(f"{kind} {n}: ended with {done.returncode}: {done.stderr[-400:]}")
    return done.returncode != 0


def one_try(stage: Stage, tally: Tally, kind: str, n: int, moved: bool, then: tuple[str, int] | None = None) -> bool:
    """One kill (and one more during the restart), a restart, the comparison. Whether it was killed."""
    label = f"{kind} {n}{' then ' + ' '.join(map(str, then)) if then else ''}{' with move' if moved else ''}"
    root = stage.work / label.replace(" ", "-")
    try:
        more = f'[after]\nscored = {{ move = "{root}/archive" }}\nrejected = {{ move = "{root}/archive" }}' if moved else ""
        house = House(root, settings=SETTINGS, more=more)
        if moved:
            (root / "archive").mkdir()
        stage.fill(house)
        if not killed(house, kind, n, tally, "watch", "--once"):
            return False
        if then:
            killed(house, *then, tally, "watch", "--once")
        house.must("watch", "--once")
        stage.check(house, tally, label)
        if moved:
            stage.check_moved(house, tally, label)
    except Broken as error:
        tally.fault(f"{label}: {error}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return True


def series(stage: Stage, tally: Tally, pool, kind: str, step: int, moved: bool) -> int:
    """Kills at every `step`-th call until two runs one after the other end unkilled; the number of calls there are."""
    unkilled, last = 0, 0
    numbers = itertools.count(1, step)
    while unkilled < 2:
        portion = list(itertools.islice(numbers, 4))
        for n, hit in zip(portion, pool.map(lambda n: one_try(stage, tally, kind, n, moved), portion)):
            unkilled = 0 if hit else unkilled + 1
            last = n if hit else last
    tally.note(f"{kind}{' with move' if moved else ''}: killed at 1, {1 + step}, ... {last}")
    return last


def under_readers(stage: Stage, tally: Tally, rounds: int, lengths: dict[str, int]) -> None:
    """One state folder that is killed over and over while everybody reads it."""
    house, chance = House(stage.work / "read", settings=SETTINGS), random.Random(7)
    lengths = {kind: lengths.get(kind) or 40 for kind in ("rename", "fsync", "write", "ledger write")}
    dropped = 0
    with faults.reading(house, tally):
        for number in range(rounds):
            for _ in range(40):
                house.drop(f"{dropped // 100}/{dropped}.png", png(50_000 + dropped))
                dropped += 1
            kind = chance.choice(list(lengths))
            killed(house, kind, chance.randint(1, max(1, lengths[kind] // 5)), tally, "watch", "--once")
            house.query("SELECT COUNT(*) AS n FROM scores")
            if number % 2:
                # Three deaths over one file condemn it, whatever it was that killed.
                house.must("watch", "--once")
        house.must("watch", "--once")
    rows = house.rows()
    if refused := house.rejected():
        tally.fault(f"under readers: refused {refused[:3]}")
    tally.tries += rounds
    tally.lost += dropped - len(rows)
    tally.doubled += rows.total() - len(rows)
    if (len(rows), rows.total()) != (dropped, dropped):
        tally.fault(f"under readers: {rows.total()} rows of {len(rows)} frames, {dropped} dropped")


def main() -> int:
    given = faults.arguments(__doc__, jobs=os.cpu_count() or 2, only="")
    if not faults.can_inject():
        faults.skip("kill", "no strace that may trace")
    chance = random.Random(3)
    tally = Tally("kill", "SIGKILL at the n-th call of a 200-file run, restart")
    with faults.workplace(fast=True) as work, concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        stage = Stage(work)
        steps = BOUNDED_STEP if given.bounded else FULL_STEP
        kinds = [kind for kind in KINDS if not given.only or kind in given.only.split(",")]
        lengths = {kind: series(stage, tally, pool, kind, steps.get(kind, 1), moved=False) for kind in kinds}
        reached = [kind for kind in kinds if lengths[kind]]
        pick = lambda: tuple((kind, chance.randint(1, lengths[kind])) for kind in chance.choices(reached, k=2))
        pairs = list(dict.fromkeys(pick() for _ in range(6 if given.bounded else 100)))
        list(pool.map(lambda pair: one_try(stage, tally, *pair[0], False, pair[1]), pairs))
        if stage.archive:
            for kind in (kind for kind in MOVED_KINDS if kind in kinds):
                series(stage, tally, pool, kind, steps.get(kind, 1) * (5 if given.bounded else 1), moved=True)
        else:
            tally.note("kills while files are moved: SKIPPED, this program has no [after]")
        under_readers(stage, tally, 10 if given.bounded else 60, lengths)
        return tally.end()


if __name__ == "__main__":
    sys.exit(main())
