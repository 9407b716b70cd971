"""Hostile files among good ones: every good file is scored, every hostile one ends, and nobody waits much longer.

Good files come at a fixed rate, alone and with the hostile ones in between, by turns, so that what else the machine does comes to
both. The hostile ones are those below $ANOMALYD_DATA/hostile, else a few made here. The wait of a file is from its rename into the
inbox to the commit of its batch, as the ledger has it; the median over the rounds of its 99th percentile may at most double. With
`--bounded` rounds are too short for that: ten times as long, and more than five seconds, is a failure.
"""

import os
import shutil
import sqlite3
import statistics
import sys
import threading
import time
from pathlib import Path

import faults
from faults import House, Service, Tally, npy, png


# How often with and without.
ROUNDS = 3


def corpus(work: Path, tally: Tally) -> list[Path]:
    """The hostile files."""
    given = Path(os.environ.get("ANOMALYD_DATA", "/nowhere")) / "hostile"
    if given.is_dir():
        return sorted(path for path in given.rglob("*") if path.is_file() and path.suffix != ".csv")
    tally.note("hostile corpus: SKIPPED (ANOMALYD_DATA names none), a few files made here instead")
    whole, folder = png(1), work / "made"
    folder.mkdir()
    wide = whole[:16] + (50_000).to_bytes(4, "big") * 2 + whole[24:]
    made = {
        "empty": b"",
        "truncated.png": whole[:90],
        "wide.png": wide,
        "flipped.png": whole[:60] + bytes([whole[60] ^ 255]) + whole[61:],
        "lying.idx": bytes([0, 0, 8, 3]) + (1 << 30).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + bytes(784),
        "huge.npy": npy(2, 1).replace(b"(1, 28, 28)", b"(99999999, 28, 28)"[:11]),
        "short.npy": npy(3, 50)[:2000],
        "random": os.urandom(5000),
        "zeros": bytes(5000),
        "bomb.gz": __import__("gzip").compress(bytes(200 << 20), 9),
        "loop.tiff": b"II*\0" + (8).to_bytes(4, "little") + bytes([0, 0]) + (8).to_bytes(4, "little"),
        "half.fits": b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                   16".ljust(80),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


def waits(house: House, dropped: dict[str, float]) -> list[float]:
    """Seconds from drop to commit of each good file, in order."""
    with sqlite3.connect(f"file:{house.state}/ledger.sqlite?mode=ro", uri=True) as ledger:
        rows = ledger.execute("SELECT path, committed_at FROM files JOIN batches ON batches.id = files.batch WHERE committed = 1").fetchall()
    committed = {bytes(path).decode(errors="replace"): at / 1000 for path, at in rows}
    return sorted(committed[name] - at for name, at in dropped.items() if name in committed)


def named(house: House) -> int:
    """Files named in the reports; a second name of a content is one."""
    tables = [line.split(":")[0].split()[0] for line in house.must("query").splitlines()[1:]]
    rows = [row for table in tables if table in ("scores", "rejected", "duplicates") for row in house.query(f"SELECT DISTINCT source FROM {table}")]
    return len({row["source"] for row in rows})


def scatter(house: House, files: list[Path], seconds: float, over: threading.Event) -> None:
    """Drops the hostile files, spread over the time."""
    for index, file in enumerate(files):
        target = house.inbox / f"hostile/{index:04}-{file.name}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target.with_name(target.name + ".part"))
        target.with_name(target.name + ".part").rename(target)
        if over.wait(0.8 * seconds / len(files)):
            return


def flow(work: Path, tally: Tally, label: str, seconds: float, rate: float, hostile: list[Path]) -> float:
    """Good files at a rate, with the hostile ones in between; the 99th percentile of their wait."""
    count = int(seconds * rate)
    images = [png(index) for index in range(count)]
    digests = faults.reference(work / f"{label}-reference", images)
    house, dropped, over = House(work / label, settings="flush_ms = 250\n"), {}, threading.Event()
    with Service(house) as service:
        thread = threading.Thread(target=scatter, args=(house, hostile, seconds, over))
        if hostile:
            thread.start()
        start = time.monotonic()
        for index, image in enumerate(images):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            name = f"{index}.png"
            house.drop(name, image)
            dropped[name] = time.time()
        if hostile:
            thread.join()
        try:
            faults.wait(lambda: named(house) >= len(hostile) + count, f"{label}: everything ended", pace=0.5)
        except faults.Broken as error:
            tally.fault(str(error))
        over.set()
        if not service.alive():
            tally.fault(f"{label}: the service ended with {service.process.returncode}: {service.text()[-400:]}")
        elif (code := service.stop()) != 0:
            tally.fault(f"{label}: ended with {code}")
        peak = service.text().count("panicked")
    rows = house.rows()
    good = {(digest, 0) for digest in digests.values()}
    lost = len(good - set(rows))
    tally.tries, tally.lost = tally.tries + count + len(hostile), tally.lost + lost
    tally.doubled += rows.total() - len(rows)
    if lost or rows.total() != len(rows):
        tally.fault(f"{label}: {lost} good files lost, {rows.total() - len(rows)} frames doubled")
    sources = {row["source"] for row in house.query("SELECT source FROM scores")} | {row["source"] for row in house.rejected()}
    ended = sum(1 for source in sources if source.startswith("hostile/"))
    took = waits(house, dropped)
    if not took:
        raise faults.Broken(f"{label}: nothing was committed")
    p99 = took[int(0.99 * len(took))]
    tally.note(f"{label}: {count} good files, p50 {took[len(took) // 2]:.2f} s, p99 {p99:.2f} s; {len(hostile)} hostile, {ended} of them named in the reports, {peak} panics")
    return p99


def spread(values: list[float]) -> str:
    """The median, the least and the most."""
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


def main() -> int:
    given = faults.arguments(__doc__, seconds=0, rate=25)
    seconds = given.seconds or (5 if given.bounded else 60)
    tally = Tally("hostile", "good files at a fixed rate, alone and among hostile ones")
    alone, among = [], []
    with faults.workplace(fast=True) as work:
        hostile = corpus(work, tally)
        for number in range(ROUNDS):
            # The short rounds share a large corpus among them.
            some = hostile[number::ROUNDS] if given.bounded and len(hostile) > 100 else hostile
            alone.append(flow(work, tally, f"alone-{number}", seconds, given.rate, []))
            among.append(flow(work, tally, f"among-{number}", seconds, given.rate, some))
    before, after = statistics.median(alone), statistics.median(among)
    if after > (max(10 * before, 5) if given.bounded else 2 * before):
        tally.fault(f"p99 went from {before:.2f} s to {after:.2f} s")
    return tally.end(f"p99 {spread(alone)} alone, {spread(among)} among {len(hostile)}")


if __name__ == "__main__":
    sys.exit(main())
