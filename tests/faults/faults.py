"""Shared parts of the fault proofs: an inbox and a state folder of one's own, frames, a service, and the comparison of sets.

Python 3 standard library alone. The program is $ANOMALYD, else that of $CARGO_TARGET_DIR (target) / release. The model is the
shipped one of `digits`; every frame is made here.
"""

import argparse
import collections
import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ANOMALYD = os.environ.get("ANOMALYD") or str(TARGET / "release/anomalyd")
READERS = os.environ.get("ANOMALYD_PYTHON")
SIDE = 28
# Exit code of a proof that cannot be run here.
SKIPPED = 77
# Seconds after which what has not happened is not waited for any more. A machine that does other things is slow; nothing is proved
# by that.
DEADLINE = 300.0
# Bytes that must be free in memory for a proof to work there.
ROOM = 2 << 30


# --- frames -------------------------------------------------------------------------------------------------------------------


def pixels(seed: int) -> bytes:
    """28x28 grey values that no other seed has: a bar whose place depends on the seed, and the seed itself in the last row."""
    rows = [bytes([200 + seed % 50 if (row + seed) % 9 == 0 else 0]) * SIDE for row in range(SIDE - 1)]
    return b"".join(rows) + seed.to_bytes(8, "little") + bytes(SIDE - 8)


def png(seed: int) -> bytes:
    """An 8-bit grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    values = pixels(seed)
    lines = b"".join(b"\0" + values[row * SIDE : (row + 1) * SIDE] for row in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    data = zlib.compress(lines, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def npy(seed: int, frames: int) -> bytes:
    """A NPY cube of unsigned bytes, so many frames."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({frames}, {SIDE}, {SIDE}), }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    body = b"".join(pixels(seed + frame) for frame in range(frames))
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def tiff(pages: list[tuple[int, int, bytes]]) -> bytes:
    """An uncompressed 8-bit grey TIFF; each page is its width, its height and its values."""
    data, link = bytearray(b"II*\0\0\0\0\0"), 4
    for width, height, values in pages:
        strip = len(data)
        data += values + bytes(len(values) % 2)
        data[link : link + 4] = struct.pack("<I", len(data))
        tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: strip, 277: 1, 278: height, 279: len(values)}
        data += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        link = len(data)
        data += bytes(4)
    return bytes(data)


# --- the service --------------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """What was promised is not so."""


class House:
    """A folder with an inbox, a pipeline, settings and a state folder."""

    def __init__(self, root: Path, state: Path | None = None, settings: str = "", watch: str = "settle_ms = 100", more: str = ""):
        self.root, self.inbox, self.state = root, root / "inbox", state or root / "state"
        for folder in (self.inbox, root / "pipelines"):
            folder.mkdir(parents=True, exist_ok=True)
        text = (ROOT / "pipelines/digits.toml").read_text()
        (root / "pipelines/digits.toml").write_text(f'inbox = "{self.inbox}"\n{text}\n[watch]\n{watch}\n{more}\n')
        (root / "anomalyd.toml").write_text(settings)

    def argv(self, *args: str) -> list[str]:
        """A command line of the program."""
        fixed = ["--config", str(self.root / "anomalyd.toml"), "--state", str(self.state)]
        return [ANOMALYD, *fixed, "--models", str(ROOT / "models"), "--pipelines", str(self.root / "pipelines"), *args]

    def run(self, *args: str, prefix: tuple[str, ...] = (), timeout: float = 600, **options) -> subprocess.CompletedProcess:
        """Runs a command to its end."""
        command = [*prefix, *self.argv(*args)]
        try:
            return subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=timeout, check=False, **options)
        except subprocess.TimeoutExpired:
            raise Broken(f"anomalyd {' '.join(args)} has not ended after {timeout:.0f} s") from None

    def must(self, *args: str, **options) -> str:
        """Runs a command that has to succeed; what it printed."""
        done = self.run(*args, **options)
        if done.returncode != 0:
            raise Broken(f"anomalyd {' '.join(args)} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def query(self, sql: str) -> list[dict[str, str]]:
        """Rows of a query."""
        return list(csv.DictReader(io.StringIO(self.must("query", sql, "--format", "csv"))))

    def status(self) -> dict:
        """Counts of the pipeline; empty before there is a ledger."""
        return json.loads(self.must("status", "--json"))["pipelines"].get("digits", {})

    def rows(self) -> collections.Counter:
        """How often each (file_digest, frame_index) stands in `scores`. A frame_id that stands there twice is an error by itself."""
        rows = self.query("SELECT file_digest, frame_index, frame_id FROM scores")
        names = collections.Counter(row["frame_id"] for row in rows)
        pairs = collections.Counter((row["file_digest"], int(row["frame_index"])) for row in rows)
        if len(names) != len(pairs):
            raise Broken(f"{len(pairs)} frames have {len(names)} names")
        return pairs

    def rejected(self) -> list[dict[str, str]]:
        """The rows of `rejected`."""
        return self.query("SELECT source, file_digest, frame_index, reason FROM rejected")

    def drop(self, name: str, content: bytes) -> Path:
        """Puts a file into the inbox in one rename."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.rename(path)
        return path

    def supports(self, settings: str) -> bool:
        """Whether the program knows these settings."""
        file = self.root / "probe.toml"
        file.write_text(settings)
        command = [ANOMALYD, "--config", str(file), "--state", str(self.root / "nowhere"), "status"]
        return subprocess.run(command, cwd=self.root, capture_output=True, check=False).returncode == 0

    def supports_pipeline(self, lines: str) -> bool:
        """Whether the program knows these lines of a pipeline file."""
        file = self.root / "probe-pipeline.toml"
        file.write_text(f'inbox = "{self.root}/nowhere"\n{(ROOT / "pipelines/digits.toml").read_text()}\n{lines}\n')
        return self.run("watch", str(file)).returncode == 6

    def supports_command(self, name: str) -> bool:
        """Whether the program knows this command."""
        return self.run(name, "--help").returncode == 0


class Service:
    """`anomalyd watch` at work; killed when it is left."""

    def __init__(self, house: House, *args: str, prefix: tuple[str, ...] = (), wait: bool = True, env: dict | None = None):
        self.house, self.log = house, house.root / f"log-{time.monotonic_ns()}"
        command = [*prefix, *house.argv("watch", *args)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=house.root, stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **(env or {})}
            )
        if wait:
            self.wait_for_log("ready")

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def wait_for_log(self, word: str, seconds: float = DEADLINE) -> None:
        """Waits until the log says it."""
        wait(lambda: word in self.text() or self.process.poll() is not None, f"{word!r} in the log", seconds)
        if word not in self.text():
            raise Broken(f"the service ended with {self.process.returncode}: {self.text()[-600:]}")

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Broken(f"SIGTERM has not ended the service after {DEADLINE:.0f} s: {self.text()[-300:]}") from None

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)

    def memory(self, key: str) -> int:
        """`VmRSS` or `VmHWM`, KiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+)", text).group(1))


def is_ready(house: House) -> bool | None:
    """What `/readyz` says; `None` where the service offers none."""
    answer = http(house, "/readyz")
    return None if answer is None else answer[0] == 200


def http(house: House, path: str) -> tuple[int, str] | None:
    """GET over the service's own socket: status code and body; `None` where it offers none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60)
        # A socket's name is at most 107 bytes long: go through the folder's descriptor.
        folder = os.open(house.state, os.O_PATH)
        try:
            link.connect(f"/proc/self/fd/{folder}/control.sock")
        finally:
            os.close(folder)
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while block := link.recv(65536):
            data += block
        head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
        return int(head.split()[1]), body
    return None


# --- proofs -------------------------------------------------------------------------------------------------------------------


def wait(condition, what: str, seconds: float = DEADLINE, pace: float = 0.05) -> None:
    """Waits until a condition holds, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Broken(f"after {seconds:.0f} s still not: {what}")
        time.sleep(pace)


def difference(expected, rows: collections.Counter) -> tuple[int, int, int]:
    """Lost, doubled and strange frames."""
    lost = sum(1 for pair in expected if pair not in rows)
    doubled = sum(count - 1 for count in rows.values())
    return lost, doubled, sum(1 for pair in rows if pair not in expected)


class Tally:
    """What a proof has found so far; prints its one line at the end."""

    def __init__(self, name: str, what: str):
        self.name, self.what, self.started = name, what, time.monotonic()
        self.tries = self.lost = self.doubled = 0
        self.faults: list[str] = []

    def count(self, expected, rows: collections.Counter, label: str) -> None:
        """One try's rows against what was dropped in."""
        lost, doubled, strange = difference(expected, rows)
        self.tries += 1
        self.lost += lost
        self.doubled += doubled
        if lost or doubled or strange:
            self.fault(f"{label}: {lost} lost, {doubled} doubled, {strange} strange")

    def fault(self, text: str) -> None:
        """Something that must not be."""
        self.faults.append(text)
        print(f"  {self.name}: {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A figure for the reader."""
        print(f"  {self.name}: {text}", file=sys.stderr, flush=True)

    def end(self, extra: str = "") -> int:
        """Prints the line; the exit code."""
        seconds = time.monotonic() - self.started
        verdict = "ok" if not self.faults else f"FAILED ({len(self.faults)})"
        extra = f", {extra}" if extra else ""
        print(
            f"{self.name}: {verdict}: {self.what}: {self.tries} tries, lost {self.lost}, doubled {self.doubled}{extra}, {seconds:.0f} s",
            flush=True,
        )
        return 1 if self.faults else 0


def skip(name: str, why: str) -> None:
    """Ends a proof that cannot be run here."""
    print(f"{name}: SKIPPED: {why}", flush=True)
    sys.exit(SKIPPED)


@contextlib.contextmanager
def reading(house: House, tally: "Tally", pause: float = 0.02):
    """Readers that loop over the reports meanwhile, with a pause between two rounds."""
    if not READERS:
        tally.note("readers: polars, DuckDB and pandas SKIPPED (ANOMALYD_PYTHON is not set)")
        yield
        return
    script = str(Path(__file__).with_name("readers.py"))
    process = subprocess.Popen([READERS, script, str(house.state), str(pause)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.stderr.readline()
        yield
    finally:
        process.terminate()
        out, trouble = process.communicate(timeout=DEADLINE)
    try:
        found = json.loads(out)
    except json.JSONDecodeError:
        tally.fault(f"the readers died: {trouble[-400:]}")
        return
    tally.note(f"readers: {found['reads']} reads, {len(found['faults'])} faults")
    for fault in found["faults"][:5]:
        tally.fault(fault)
    if not found["reads"]:
        tally.fault("the readers read nothing")


def arguments(text: str, **options) -> argparse.Namespace:
    """`--bounded`, and numbers with defaults by name."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--bounded", action="store_true", help="fewer tries, for CI")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    given = parser.parse_args()
    if not Path(ANOMALYD).is_file():
        sys.exit(f"{ANOMALYD}: no such program; build it, or name it in ANOMALYD")
    if not (ROOT / "models/digits/current").exists():
        skip(Path(sys.argv[0]).stem, "models/digits is missing")
    return given


def apart(name: str, *needed: str) -> None:
    """Goes on in a mount namespace of its own, whose mounts end with it; skips where that cannot be, or something needed is not there."""
    missing = [thing for thing in needed if not (os.path.exists(thing) or shutil.which(thing))]
    if os.geteuid() != 0 or missing:
        skip(name, f"needs root{''.join(f', {thing}' for thing in needed)}")
    if "ANOMALYD_FAULTS_APART" in os.environ:
        return
    os.environ["ANOMALYD_FAULTS_APART"] = "1"
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        skip(name, "needs the right to mount")
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def can_inject() -> bool:
    """Whether strace is there, and may trace and kill: some machines have it and let nobody use it."""
    if not shutil.which("strace"):
        return False
    probe = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "inject=openat:signal=SIGKILL:when=1", "cat", "/dev/null"]
    return subprocess.run(probe, capture_output=True, check=False).returncode in (-9, 137)


def has_room(folder: Path) -> bool:
    """Whether a proof fits there, and what the service keeps free beside it."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize >= ROOM


@contextlib.contextmanager
def workplace(fast: bool = False):
    """A folder that is gone afterwards; `fast` puts it into memory, for what no power cut is part of."""
    memory = Path("/dev/shm")
    base = memory if fast and memory.is_dir() and os.access(memory, os.W_OK) and has_room(memory) else None
    folder = Path(tempfile.mkdtemp(prefix="anomalyd-", dir=base))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reference(root: Path, contents) -> dict[int, str]:
    """Digest of each of these different contents, as `score` names it, by position: what a quiet run makes of them."""
    house = House(root)
    for index, content in enumerate(contents):
        (house.inbox / f"{index:06}").write_bytes(content)
    house.must("score", "digits", "inbox")
    rows = house.query("SELECT source, file_digest FROM scores") + house.rejected()
    return {int(Path(row["source"]).name): row["file_digest"] for row in rows}
