"""A disk that remembers: one file, served over FUSE, whose every write and flush goes into a log in the order it reached the disk.

usage: disk.py IMAGE LOG FOLDER      serves IMAGE as FOLDER/disk until it is unmounted; root only

A loop device on FOLDER/disk turns each block written into a WRITE and each cache flush into an FSYNC. `Log` builds from the log
what a power cut at any moment leaves: everything before the last flush, and of what came after it any part.
"""

import ctypes
import errno
import os
import random
import stat
import struct
import sys
from pathlib import Path

HEADER = struct.Struct("<IIQQIIIHH")
RECORD = struct.Struct("<cQI")
ROOT, DISK = 1, 2
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 27, 28, 29, 36, 38, 42
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
DIRECT_IO = 1
MOST = 1 << 20
SECTOR = 512


class Disk:
    """The FUSE server."""

    def __init__(self, image: str, log: str, folder: str):
        self.image = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.image).st_size
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.link = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.link},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={MOST}".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"disk", folder.encode(), b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), f"cannot mount {folder}")

    def serve(self) -> None:
        """Answers until the file system is unmounted."""
        while True:
            try:
                request = os.read(self.link, MOST + 65536)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                raise
            _, code, unique, node, *_ = HEADER.unpack_from(request)
            if code in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self.answer(code, node, memoryview(request)[HEADER.size :])
            error, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
            os.writev(self.link, [struct.pack("<IiQ", 16 + len(body), error, unique), body])
            if code == DESTROY:
                return

    def answer(self, code: int, node: int, body: memoryview) -> bytes | int:
        """The body of an answer, or an errno."""
        if code == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self.image, size, offset)
        if code == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + size]
            os.pwrite(self.image, data, offset)
            os.writev(self.log, [RECORD.pack(b"w", offset, size), data])
            return struct.pack("<II", size, 0)
        if code == FSYNC:
            os.write(self.log, RECORD.pack(b"f", 0, 0))
            return b""
        if code == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, MOST, BIG_WRITES | MAX_PAGES, 64, 48, MOST, 1, MOST // 4096, 0, 0)
        if code == LOOKUP:
            name = bytes(body).rstrip(b"\0")
            return struct.pack("<QQQQII", DISK, 1, 3600, 3600, 0, 0) + self.attributes(DISK) if name == b"disk" else errno.ENOENT
        if code in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self.attributes(node)
        if code in (OPEN, OPENDIR):
            return struct.pack("<QIi", 1, DIRECT_IO if code == OPEN else 0, 0)
        if code == STATFS:
            return struct.pack("<QQQQQIIII24x", self.size // 4096, 0, 0, 1, 0, 4096, 255, 4096, 0)
        return b"" if code in (RELEASE, FLUSH, READDIR, RELEASEDIR, DESTROY) else errno.ENOSYS

    def attributes(self, node: int) -> bytes:
        """What a node is."""
        mode, size = (stat.S_IFREG | 0o600, self.size) if node == DISK else (stat.S_IFDIR | 0o755, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class Log:
    """What reached a disk, in order; cut at growing positions."""

    def __init__(self, path: Path, base: Path):
        self.log, self.durable = path.open("rb"), os.open(base, os.O_RDWR)
        self.base, self.pending = base, []

    def moments(self, start: int, count: int, chance: random.Random) -> list[int]:
        """Positions after `start`, in order: half of them anywhere, half right before a flush, where most is at stake."""
        before, ends = [], []
        while (record := self.next(1 << 62)) is not None:
            if record[0] == b"f":
                before.append(self.log.tell() - RECORD.size)
            ends.append(self.log.tell())
        self.log.seek(0)
        before, ends = ([place for place in places if place > start] for places in (before, ends))
        return sorted(chance.choices(before, k=count // 2) + chance.choices(ends, k=count - count // 2))

    def cut(self, position: int, into: Path, how: str, chance: random.Random) -> int:
        """The disk as a power cut leaves it when so many bytes of log had been written; the writes that were at stake.

        Of the writes since the last flush `all`, `none`, or a random part (`some`, the last of them torn) has arrived.
        """
        while (record := self.next(position)) is not None:
            kind, offset, data = record
            if kind == b"w":
                self.pending.append((offset, data))
            else:
                self.settle()
        os.makedirs(into.parent, exist_ok=True)
        os.system(f"cp --sparse=always '{self.base}' '{into}'")
        arrived = {"all": self.pending, "none": []}.get(how)
        if arrived is None:
            arrived = [write for write in self.pending if chance.random() < 0.5]
            chance.shuffle(arrived)
            if arrived:
                offset, data = arrived[-1]
                arrived[-1] = (offset, data[: chance.randrange(0, len(data) + 1, SECTOR)])
        with into.open("r+b") as image:
            for offset, data in arrived:
                os.pwrite(image.fileno(), data, offset)
        return len(self.pending)

    def settle(self) -> None:
        """A flush has ended: what came before it stays."""
        for offset, data in self.pending:
            os.pwrite(self.durable, data, offset)
        self.pending = []

    def next(self, position: int) -> tuple[bytes, int, bytes] | None:
        """The next record, where it ended before the position."""
        start = self.log.tell()
        head = self.log.read(RECORD.size)
        if len(head) < RECORD.size:
            self.log.seek(start)
            return None
        kind, offset, size = RECORD.unpack(head)
        if start + RECORD.size + size > position:
            self.log.seek(start)
            return None
        return kind, offset, self.log.read(size)


if __name__ == "__main__":
    Disk(*sys.argv[1:4]).serve()
