"""Whatever lies in the rings' directory, and whatever a producer does to its ring: the writer lives, says which ring it was and what
was wrong, keeps it aside, and every row of a healthy ring is recorded once."""
from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import wait_until
from rings import ATTACHED, CONSUMER_PAGE, DATA_BYTES, DURABLE, SET_ASIDE, TABLES, WRITE, Ring, RingWriter, declaration, header

QUICK = """
[writer]
chunk_rows = 100
chunk_age = "20ms"
sync = "every 10ms"
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RingWriter]:
    made = RingWriter(tmp_path, QUICK)
    yield made
    made.kill()


# What is no ring


def plant(directory: Path, what: str) -> Path:
    path = directory / "x.ring"
    identity, tables, fields = header(7)
    whole = (identity.ljust(TABLES, b"\0") + tables).ljust(fields["header_bytes"] + DATA_BYTES, b"\0")

    def changed(**changes: int) -> bytes:
        own, tables, _ = header(7, **changes)
        return (own.ljust(TABLES, b"\0") + tables).ljust(len(whole), b"\0")

    def declared(tables: bytes) -> bytes:
        own, tables, fields = header(7, tables=tables)
        return (own.ljust(TABLES, b"\0") + tables).ljust(fields["header_bytes"] + DATA_BYTES, b"\0")

    contents: dict[str, Callable[[], bytes]] = {
        "an empty file": lambda: b"",
        "a short file": lambda: whole[:100],
        "a file of its header": lambda: whole[:fields["header_bytes"]],
        "other bytes": lambda: b"#!/bin/sh\n" * 10_000,
        "zeros": lambda: bytes(len(whole)),
        "another magic": lambda: changed(magic=0x31474E4952445044),
        "version 2": lambda: changed(version=2),
        "a wrong checksum": lambda: changed(checksum=0x12345678),
        "a flipped bit in its declarations": lambda: whole[:TABLES + 20] + bytes([whole[TABLES + 20] ^ 1]) + whole[TABLES + 21:],
        "huge data": lambda: changed(data_bytes=1 << 63),
        "huge data 2": lambda: changed(data_bytes=(1 << 64) - 1),
        "data that are no power of two": lambda: changed(data_bytes=DATA_BYTES + 4096),
        "a huge header": lambda: changed(header_bytes=0xFFFFF000),
        "no header": lambda: changed(header_bytes=0),
        "a header that is no page": lambda: changed(header_bytes=TABLES + 100),
        "no tables": lambda: changed(table_count=0),
        "65 tables": lambda: changed(table_count=65),
        "huge declarations": lambda: changed(tables_bytes=0xFFFFFFFF),
        "names within the declarations": lambda: changed(names_offset=TABLES),
        "names behind the end": lambda: changed(names_offset=0xFFFFFFF0),
        "huge names": lambda: changed(names_bytes=0xFFFFFFFF),
        "declarations of nothing": lambda: declared(b""),
        "declarations that go on": lambda: declared(declaration() + b"x"),
        "a table declared twice": lambda: changed(table_count=2, tables=declaration() + declaration()),  # type: ignore[arg-type]
        "another name": lambda: whole,
    }
    if what == "a link":
        target = directory.parent / "target"
        target.write_bytes(whole)
        path.symlink_to(target)
    elif what == "a link to nothing":
        path.symlink_to("nothing")
    elif what == "a link to itself":
        path.symlink_to("x.ring")
    elif what == "a named pipe":
        os.mkfifo(path)
    elif what == "a directory":
        # Under its name at once: the writer sets it aside as soon as it sees it.
        hidden = directory / ".made"
        (hidden / "y.ring").mkdir(parents=True)
        hidden.rename(path)
    elif what == "a socket":
        # Bound by a short name: a socket's path has room for 107 bytes.
        here = os.getcwd()
        os.chdir(directory)
        try:
            socket.socket(socket.AF_UNIX).bind("x.ring")
        finally:
            os.chdir(here)
    elif what == "a device":
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
    elif what == "a sparse file of a terabyte":
        with open(path, "wb") as file:
            file.write(changed(data_bytes=1 << 32))
            file.truncate(1 << 40)
    else:
        path.write_bytes(contents[what]())
    return path


NO_RINGS = [
    "an empty file", "a short file", "a file of its header", "other bytes", "zeros", "another magic", "version 2", "a wrong checksum",
    "a flipped bit in its declarations", "huge data", "huge data 2", "data that are no power of two", "a huge header", "no header",
    "a header that is no page", "no tables", "65 tables", "huge declarations", "names within the declarations", "names behind the end",
    "huge names", "declarations of nothing", "declarations that go on", "a table declared twice", "another name", "a link",
    "a link to nothing", "a link to itself", "a named pipe", "a directory", "a socket", "a sparse file of a terabyte",
]


@pytest.mark.parametrize("what", NO_RINGS)
def test_what_is_no_ring_is_set_aside(what: str, writer: RingWriter) -> None:
    writer.start()
    path = plant(writer.rings, what)
    writer.expect_line("ring set aside: not a ring", path)
    assert not os.path.lexists(path) and os.path.lexists(f"{path}.bad")
    if what == "a link":
        assert (writer.rings.parent / "target").exists()
    # It was there before the writer, too.
    plant_again = writer.rings / "x.ring"
    os.rename(f"{path}.bad", plant_again)
    writer.finish([])
    assert len(writer.lines("ring set aside: not a ring", path)) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to make the file of another user, or a device")
@pytest.mark.parametrize("what", ["a foreign owner", "a device"])
def test_what_belongs_to_others_is_set_aside(what: str, writer: RingWriter) -> None:
    if what == "a device":
        path = plant(writer.rings, what)
    else:
        ring = writer.ring()
        os.chown(ring.path, 12345, 12345)
        path = ring.path
    writer.start()
    writer.expect_line("ring set aside: not a ring", path, "user 12345" if what != "a device" else "no regular file")
    assert Path(f"{path}.bad").exists()
    writer.finish([])


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to make the file of another user")
def test_rings_of_users_that_are_named_are_taken(tmp_path: Path) -> None:
    writer = RingWriter(tmp_path, QUICK + "ring_users = [\"12345\"]\n")
    try:
        ring = writer.ring()
        os.chown(ring.path, 12345, 12345)
        ring.publish(1)
        writer.start()
        writer.settle(ring)
        writer.finish([1])
    finally:
        writer.kill()


def test_a_hard_link_is_set_aside_and_its_ring_goes_on(writer: RingWriter) -> None:
    bad = writer.ring()
    bad.publish(1)
    writer.start()
    writer.settle(bad)
    os.link(bad.path, writer.rings / "x.ring")
    writer.expect_line("ring set aside: not a ring: it has 2 names", writer.rings / "x.ring")
    bad.publish(2)
    writer.settle(bad)
    os.remove(writer.rings / "x.ring.bad")
    writer.finish([1, 2])


def test_a_name_of_control_characters_forges_no_line_of_the_log(writer: RingWriter) -> None:
    writer.start()
    (writer.rings / "a\n2026-01-01T00:00:00Z critical : forged\x1b[2J.ring").write_bytes(b"no ring")
    writer.expect_line("ring set aside: not a ring", "forged")
    assert not any(line.startswith("2026-01-01T00:00:00Z") for line in writer.log.splitlines())
    assert "\x1b" not in writer.log
    writer.finish([])


def test_a_name_that_is_no_text_does_not_fill_the_log(writer: RingWriter) -> None:
    writer.start()
    with open(os.fsencode(writer.rings) + b"/\xff\xfe.ring", "wb") as file:
        file.write(b"no ring")
    wait_until(lambda: bool(writer.lines("ring waits")), 5)
    for _ in range(20):
        # Each new name lets the directory be looked at.
        (writer.rings / "note").write_text("")
        (writer.rings / "note").unlink()
        writer.feed(10)
    assert len(writer.lines("cannot be opened")) == 1
    writer.finish([])


# What a ring's producer does to it


Deed = Callable[[Ring], object]

RECORDS: dict[str, Deed] = {
    "a record of no length": lambda ring: ring.publish_raw(struct.pack("<IHH", 0, 0, 0) + bytes(32)),
    "a record of 4 bytes": lambda ring: ring.publish_raw(struct.pack("<IHH", 4, 0, 0) + bytes(32)),
    "a record of 8 bytes": lambda ring: ring.publish_raw(struct.pack("<IHH", 8, 0, 0) + bytes(32)),
    "a record shorter than its row": lambda ring: ring.publish_raw(struct.pack("<IHH", 24, 0, 0) + bytes(16)),
    "an unaligned record": lambda ring: ring.publish_raw(struct.pack("<IHH", 41, 0, 0) + bytes(32)),
    "a huge record": lambda ring: ring.publish_raw(struct.pack("<IHH", 0xFFFFFFF8, 0, 0) + bytes(32)),
    "a record of more than a quarter": lambda ring: ring.publish_raw(struct.pack("<IHH", DATA_BYTES // 4 + 8, 0, 0) + bytes(DATA_BYTES // 4)),
    "a record past the write position": lambda ring: ring.publish_raw(struct.pack("<IHH", 4096, 0, 0) + bytes(32)),
    "an unknown table": lambda ring: ring.publish_raw(struct.pack("<IHH", 40, 1, 0) + bytes(32)),
    "table 65,535": lambda ring: ring.publish_raw(struct.pack("<IHH", 40, 65535, 0) + bytes(32)),
    "a reserved field": lambda ring: ring.publish_raw(struct.pack("<IHH", 40, 0, 1) + bytes(32)),
    "zeros": lambda ring: ring.publish_raw(bytes(4096)),
    "noise": lambda ring: ring.publish_raw(os.urandom(4096)),
}

POSITIONS: dict[str, Deed] = {
    "backwards": lambda ring: ring.publish_raw(b"", -40),
    "to the beginning": lambda ring: ring.put(WRITE, 0),
    "beyond the ring": lambda ring: ring.publish_raw(b"", DATA_BYTES + 8),
    "wild": lambda ring: ring.put(WRITE, 0x123456789ABCDEF0),
    "to the end of all numbers": lambda ring: ring.put(WRITE, 0xFFFFFFFFFFFFFFF8),
    "between records": lambda ring: ring.publish_raw(b"", 4),
    "between bytes of a word": lambda ring: ring.publish_raw(b"", 1),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_cannot_be_sets_its_ring_aside(name: str, writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    expected = list(range(50))
    for n in expected:
        bad.publish(n)
    RECORDS[name](bad)
    writer.expect_line("ring set aside: corrupt: at", bad.path)
    assert bad.aside.exists() and not bad.path.exists()
    assert bad.state == SET_ASIDE
    writer.finish(expected)


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("when", ["in use", "before the start"])
def test_a_write_position_that_cannot_be_sets_its_ring_aside(name: str, when: str, writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    expected = list(range(50))
    for n in expected:
        bad.publish(n)
    writer.settle(bad)
    if when == "in use":
        POSITIONS[name](bad)
    else:
        writer.process.kill()
        POSITIONS[name](bad)
        writer.start()
    writer.expect_line("ring set aside: corrupt: it is", bad.path)
    assert bad.aside.exists()
    writer.finish(expected)


@pytest.mark.parametrize("position", [0, 4, 40, 1 << 40, (1 << 64) - 8, (1 << 64) - 1])
def test_a_durable_position_that_is_not_ours_does_no_harm(position: int, writer: RingWriter) -> None:
    """In use it is not read; a writer that starts takes it for what it can be, or sets the ring aside."""
    bad = writer.ring()
    writer.start()
    for n in range(50):
        bad.publish(n)
    writer.settle(bad)
    bad.put(DURABLE, position)
    for n in range(50, 60):
        bad.publish(n)
    assert wait_until(lambda: bad.durable == bad.position, 20)
    writer.process.kill()
    bad.put(DURABLE, position)
    writer.start()
    if position in (0, 40):
        writer.settle(bad)
    else:
        writer.expect_line("ring set aside: corrupt: it is durable up to", bad.path)
    writer.finish(list(range(60)))


def test_a_page_of_the_writers_that_is_full_of_noise_does_no_harm(writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    for n in range(10):
        bad.publish(n)
    writer.settle(bad)
    bad.map[CONSUMER_PAGE:CONSUMER_PAGE + 4096] = b"\xff" * 4096
    for n in range(10, 20):
        bad.publish(n, symbol=1 if n != 15 else 77)
    assert wait_until(lambda: bad.durable == bad.position, 20)
    writer.finish([n for n in range(20) if n != 15])


@pytest.mark.parametrize("count", [0, 1, 3, 1000, 0xFFFFFFFF])
def test_names_that_shrink_or_grow_beyond_their_room_set_the_ring_aside(count: int, writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    bad.publish(0)
    writer.settle(bad)
    bad.put(bad.names_offset, count, ctypes.c_uint32)
    bad.publish(1)
    writer.expect_line("ring set aside: corrupt", "name", bad.path)
    assert bad.aside.exists()
    writer.finish([0])


def test_names_that_change_after_use_change_nothing(writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    bad.publish(0)
    writer.settle(bad)
    bad.map[bad.names_offset + 6] = 0xFF
    bad.publish(1)
    writer.settle(bad)
    writer.process.kill()
    # The next writer reads it anew, and what is no UTF-8 refuses the rows that use it.
    writer.start()
    bad.publish(2)
    bad.publish(3, symbol=2)
    writer.settle(bad)
    writer.expect_line("row refused: ticks.symbol", bad.path)
    writer.finish([0, 1, 3])


def test_rows_that_are_wrong_are_refused_alone_and_named(writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    for n in range(200):
        bad.publish(n, symbol=1 if n % 50 else 99)
    writer.settle(bad)
    assert len(writer.lines("row refused: ticks.symbol: a text that is not UTF-8", bad.path, "position=")) == 4
    assert bad.state == ATTACHED
    writer.finish([n for n in range(200) if n % 50])


# What is done to a ring's file


@pytest.mark.parametrize("size", [0, 4096, 8192, 12288, "middle", "last page"])
@pytest.mark.parametrize("busy", [True, False])
def test_a_file_that_is_cut_while_it_is_mapped_sets_its_ring_aside(size: int | str, busy: bool, writer: RingWriter) -> None:
    bad = writer.ring()
    writer.start()
    n = 0
    for _ in range(3_000 if busy else 100):
        if bad.has_room():
            bad.publish(n, b"x" * 20)
            n += 1
    if not busy:
        writer.settle(bad)
    cut = bad.header_bytes + DATA_BYTES // 2 if size == "middle" else bad.size - 4096 if size == "last page" else int(size)
    durable = bad.durable_rows()
    bad.truncate(cut)
    if cut > WRITE:
        # As far as its pages are there; this process would die of the others as the writer would.
        while cut >= bad.header_bytes and bad.path.exists() and bad.has_room() and bad.position % DATA_BYTES + 200 < cut - bad.header_bytes:
            bad.publish(n, b"x" * 20)
            n += 1
        bad.put(WRITE, bad.position + 256)
    writer.expect_line("ring set aside", bad.path)
    assert bad.aside.exists()
    # What was durable is there, and of the rest as much as was taken before the cut.
    writer.finish(lambda found: found == list(range(len(found))) and durable <= len(found) <= n)


def copy(path: Path, to: Path) -> None:
    """Under its name at once: half a copy is something else."""
    hidden = to.with_name(".copy")
    shutil.copyfile(path, hidden)
    hidden.rename(to)


def test_a_ring_copied_under_another_name_is_not_recorded_twice(writer: RingWriter) -> None:
    ring = writer.ring()
    writer.start()
    for n in range(50):
        ring.publish(n)
    copy(ring.path, writer.rings / "copy.ring")
    writer.expect_line("ring set aside: not a ring: it is a copy", writer.rings / "copy.ring")
    writer.settle(ring)
    writer.process.kill()
    for n in range(50, 60):
        ring.publish(n)
    # Seen before the true one.
    copy(ring.path, writer.rings / "a.ring")
    writer.start()
    writer.expect_line("ring set aside: not a ring: it is a copy", writer.rings / "a.ring")
    writer.settle(ring)
    writer.finish(list(range(60)))


@pytest.mark.parametrize("deed", ["deleted", "renamed", "replaced by another ring", "replaced by nonsense"])
def test_a_ring_whose_file_is_gone_goes_on_and_the_log_says_so(deed: str, writer: RingWriter) -> None:
    ring = writer.ring()
    writer.start()
    for n in range(50):
        ring.publish(n)
    writer.settle(ring)
    other = None
    if deed == "deleted":
        ring.path.unlink()
    elif deed == "renamed":
        ring.path.rename(writer.rings / "other.ring")
    elif deed == "replaced by another ring":
        other = writer.ring()
        other.publish(100)
        writer.settle(other)
        other.path.rename(ring.path)
    else:
        (writer.rings / "nonsense").write_bytes(b"nonsense")
        (writer.rings / "nonsense").rename(ring.path)
    writer.expect_line("removed, renamed or replaced while it is in use", ring.path)
    for n in range(50, 60):
        ring.publish(n)
    writer.settle(ring)
    ring.close()
    writer.expect_line("ring drained: its producer is gone", ring.path)
    expected = list(range(50)) + ([100] if other else []) + list(range(50, 60))
    writer.finish(expected)


# Too many


def test_rings_beyond_the_limit_of_open_files_wait_and_are_kept(tmp_path: Path) -> None:
    """Half of what a process may open is for rings; further ones wait until others go. None of them is at fault."""
    writer = RingWriter(tmp_path, QUICK, ["prlimit", "--nofile=80:80"])
    try:
        writer.start()
        rings = [writer.ring() for _ in range(60)]
        for n, ring in enumerate(rings):
            ring.publish(n)
        writer.expect_line("rings are drained, the most there can be")
        writer.feed()
        assert not list(writer.rings.glob("*.bad"))
        for ring in rings:
            ring.close()
        assert wait_until(lambda: len(list(writer.rings.glob("*.ring"))) == 1, 20), writer.log
        writer.healthy.publish(1_000_000 + writer.sent)
        writer.sent += 1
        writer.settle(writer.healthy)
        writer.healthy.close()
        assert wait_until(lambda: not writer.healthy.path.exists(), 20)
        assert writer.process.stop() == 0
        assert sorted(n for n in writer.numbers() if n < 1_000_000) == list(range(60))
    finally:
        writer.kill()
