#!/usr/bin/env python3
"""Exactly once through the rings under kill -9: eight producers are killed while they publish and replaced by new ones, and the writer is
killed every second.

Each producer (ring_producer.c) has one or two rings of 64 KiB to 4 MiB, with two tables each, counts its rows, and keeps how many it has
committed in a file that outlives it. Some die by a signal from here, some by their own hand between claim and commit, some close
properly. At the end every committed row must be in the spool once, in its ring's order, with its checksum whole; at most one row a ring
may be there beyond those counted, that of a producer killed between commit and count. Nothing may be refused, and no ring may be left.
The rows are counted by ring_count.c, out of what `lz4 -dc` makes of the segments, and by `spool-loader verify`.

The seed decides victims, moments and rows; what the machine makes of the moments is its own. Exit status: 0 all rows are there once, 1
something is missing, repeated or wrong (the work directory is kept and named), 74 something could not be started.
"""
from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))

import session  # noqa: E402
from pipeline import ROOT, Process, Trouble, binary, end_on_signals, run, wait_until  # noqa: E402

HERE = Path(__file__).resolve().parent
PRODUCERS = 8
MAX_RINGS = 2
"""Of one producer; as in ring_rows.h."""
ROWS_A_SECOND = (500, 4_000, 12_000)
RING_KIB = (64, 128, 256, 1_024, 4_096)
WRITER_LIVES = (0.0, 1.0)
"""Seconds between the writer's start and its death, beside half a second at least most times: every second on average."""
DRAIN_SECONDS = 60.0
SHOWN = 10

TABLES = ("ring_a", "ring_b")
SCHEMA = """
CREATE TABLE IF NOT EXISTS {table}
(
    ts DateTime64(9, 'UTC'), producer UInt32, life UInt32, n UInt64, kind LowCardinality(String), note String, check UInt64,{more}
    spool_writer LowCardinality(String), spool_seq UInt64
)
ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
"""

SETTINGS = """
# Small and quick, so that there is always something in the middle of being taken, cut, written, synced and rolled.
[writer]
chunk_rows = 400
chunk_age = "30ms"
sync = "every 10ms"
segment_bytes = "1MiB"
ring_poll = "2ms"
"""


class Producer:
    """One of the eight, in one of its lives."""

    def __init__(self, work: Path, rings: Path, number: int, life: int, rng: random.Random) -> None:
        self.number, self.life = number, life
        self.rings = rng.choice((1, 1, MAX_RINGS))
        self.counters = work / "counters" / f"{number}-{life}"
        self.process = subprocess.Popen(
            [work / "ring_producer", rings, self.counters, str(number), str(life), str(self.rings), str(rng.choice(RING_KIB)),
             str(rng.choice(ROWS_A_SECOND)), str(rng.randrange(2 ** 32))],
            stdin=subprocess.DEVNULL, stderr=open(work / "producers.log", "ab"))

    @property
    def status(self) -> int | None:
        return self.process.poll()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(DRAIN_SECONDS)

    def committed(self) -> list[int]:
        """Rows of each ring; none of a producer that died before it made the file."""
        data = self.counters.read_bytes() if self.counters.exists() else b""
        data = data.ljust(MAX_RINGS * 8, b"\0")
        return list(struct.unpack(f"<{MAX_RINGS}Q", data))[:self.rings]


class Torment:
    """Writer and producers, and who of them dies when."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work = work
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.lives: list[Producer] = []
        # Where rings belong: in shared memory, if there is any.
        shared = Path("/dev/shm")
        self.rings = Path(tempfile.mkdtemp(prefix="coldpath-rings-", dir=shared if os.access(shared, os.W_OK) else work))
        for name in ("counters", "schemas"):
            (work / name).mkdir()
        for index, (table, more) in enumerate(zip(TABLES, ("", " levels Array(UInt32),"))):
            (work / "schemas" / f"{index + 1:04d}_{table}.sql").write_text(SCHEMA.format(table=table, more=more))
        (work / "coldpath.toml").write_text(SETTINGS)
        for name in ("ring_producer", "ring_count"):
            # Swift brings its own where the system has none.
            run([shutil.which("cc") or "clang", "-O2", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "Sources" / "CSpoolRing" / "include", "-I", HERE,
                 HERE / f"{name}.c", "-o", work / name])
        self.writer = Process("spool-writer", [
            binary("spool-writer"), "run", "--config", work / "coldpath.toml", "--spool", work / "spool", "--schemas", work / "schemas",
            "--socket", os.path.relpath(work / "writer.sock"), "--rings", self.rings], work / "writer.log")
        self.current: list[Producer] = []

    def run(self, seconds: float) -> None:
        """Kill and replace for this long; then let the dead's rings be drained, and stop."""
        self.writer.start()
        self.current = [self._new(number, 0) for number in range(PRODUCERS)]
        end = time.monotonic() + seconds
        writer_at, producer_at = self._writer_dies(), self._producer_dies()
        while (now := time.monotonic()) < end:
            if now >= writer_at:
                self._kill_writer()
                writer_at = self._writer_dies()
            if now >= producer_at:
                self._end_producer(self.random.randrange(PRODUCERS))
                producer_at = self._producer_dies()
            self._replace_dead()
            time.sleep(max(0.0, min(writer_at, producer_at, end, now + 0.05) - time.monotonic()))
        for producer in self.current:
            self._note_end(producer, producer.end(signal.SIGKILL) if producer.status is None else producer.status)
        if not self.writer.is_alive:
            self._note_writer()
            self.writer.start()
        if not wait_until(lambda: not list(self.rings.glob("*.ring")) or not self.writer.is_alive, DRAIN_SECONDS, 0.05):
            self.complaints.append(f"rings of dead producers are left: {names(self.rings.glob('*.ring'))}")
        if status := self.writer.stop():
            self.complaints.append(f"the writer, asked to stop, ended with {status}")

    def _new(self, number: int, life: int) -> Producer:
        producer = Producer(self.work, self.rings, number, life, self.random)
        self.lives.append(producer)
        return producer

    def _writer_dies(self) -> float:
        # Now and then in the middle of its start.
        least = 0.5 if self.random.random() < 0.85 else 0.0
        return time.monotonic() + least + self.random.uniform(*WRITER_LIVES) * (1.0 if least else 0.2)

    def _producer_dies(self) -> float:
        return time.monotonic() + self.random.expovariate(2.5)

    def _kill_writer(self) -> None:
        self._note_writer()
        self.writer.kill()
        self.kills["writer"] += 1
        # Sometimes nobody drains for a while, and small rings fill up.
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(0, 0.4))
        self.writer.start()

    def _note_writer(self) -> None:
        """It ends when it is killed, and for nothing else."""
        if not self.writer.is_alive:
            self.complaints.append(f"the writer ended by itself with {self.writer.status}")

    def _end_producer(self, number: int) -> None:
        producer = self.current[number]
        if producer.status is None:
            closes = self.random.random() < 0.15
            status = producer.end(signal.SIGTERM if closes else signal.SIGKILL)
            self._note_end(producer, status, "closed" if status == 0 else "producer")
        else:
            self._note_end(producer, producer.status)
        self.current[number] = self._new(number, producer.life + 1)

    def _replace_dead(self) -> None:
        for number, producer in enumerate(self.current):
            if producer.status is not None:
                self._note_end(producer, producer.status)
                self.current[number] = self._new(number, producer.life + 1)

    def _note_end(self, producer: Producer, status: int, how: str = "producer by its own hand") -> None:
        # Asked to close before it could listen, it dies of that, which is as good a death as any.
        if status not in (0, -signal.SIGKILL, -signal.SIGTERM):
            self.complaints.append(f"producer {producer.number} life {producer.life} ended with {status}; see producers.log")
        self.kills[how] += 1

    def kill(self) -> None:
        self.writer.kill()
        for producer in self.lives:
            if producer.status is None:
                producer.end(signal.SIGKILL)


def names(paths: object) -> str:
    found = sorted(path.name for path in paths)  # type: ignore[attr-defined]
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def count(torment: Torment) -> tuple[int, dict[tuple[int, int], tuple[int, int]]]:
    """(rows, by ring and life: rows and highest n + 1), out of the segments, without the recorder's code."""
    rows, found = 0, {}
    for index, table in enumerate(TABLES):
        segments = sorted((torment.work / "spool" / table).glob("*.lz4"))
        counts = torment.work / f"counts-{table}"
        counts.write_text("")
        with subprocess.Popen(["cat", *segments], stdout=subprocess.PIPE) as whole, \
                subprocess.Popen(["lz4", "-dc"], stdin=whole.stdout, stdout=subprocess.PIPE) as plain:
            result = subprocess.run([torment.work / "ring_count", str(index), counts], stdin=plain.stdout, capture_output=True, text=True)
        if result.returncode or plain.returncode:
            torment.complaints.append(f"{table}: ring_count {result.returncode}, lz4 {plain.returncode}: {result.stderr.rstrip()}")
        rows += int(result.stdout or 0)
        for line in counts.read_text().splitlines():
            ring, life, own, end = map(int, line.split())
            before = found.get((ring, life), (0, 0))
            found[ring, life] = (before[0] + own, max(before[1], end))
    return rows, found


def judge(torment: Torment) -> tuple[int, int, int]:
    """(rows found, rows counted by their producers, rows beyond those). Complains of all that is wrong."""
    rows, found = count(torment)
    committed = beyond = 0
    for producer in torment.lives:
        for ring, least in enumerate(producer.committed()):
            own, end = found.pop((producer.number * MAX_RINGS + ring, producer.life), (0, 0))
            committed += least
            beyond += max(0, own - least)
            # Each n below the end belongs to one table: as many rows as that, none repeated, is all of them.
            if own != end or not least <= own <= least + 1:
                torment.complaints.append(
                    f"producer {producer.number} life {producer.life} ring {ring}: {least} rows committed, {own} in the spool up to n {end}")
    for ring, life in found:
        torment.complaints.append(f"rows of ring {ring} life {life}, which never was")
    verify = run([binary("spool-loader"), "verify", "--spool", torment.work / "spool"], expect=(0, 1, 64, 74), timeout=600)
    if verify.returncode:
        torment.complaints.append(f"spool-loader verify: exit {verify.returncode}: {verify.stdout}{verify.stderr}")
    left = [path for path in torment.rings.iterdir() if path.name.endswith((".ring", ".bad"))]
    if left:
        torment.complaints.append(f"left in the rings' directory: {names(left)}")
    for line in torment.writer.log.read_text(errors="replace").splitlines():
        # A ring runs full here on purpose: those rows were never committed.
        if "the ring was full" not in line and (" error " in line or " critical " in line or "refused" in line):
            torment.complaints.append(f"the writer said: {line}")
    return rows, committed, beyond


def arguments() -> argparse.Namespace:
    parser = session.parser(__doc__, verbose="")
    parser.add_argument("--seconds", type=float, default=20.0)
    return session.parse(parser)


def main() -> int:
    options = arguments()
    end_on_signals()
    directory = session.work_directory("rings", options)
    print(f"rings: {options.seconds:g} s, seed {options.seed}", flush=True)
    torment = None
    try:
        torment = Torment(directory, options.seed)
        torment.run(options.seconds)
        rows, committed, beyond = judge(torment)
    except (Trouble, OSError, subprocess.SubprocessError) as error:
        return session.not_started("rings", options, directory, error)
    finally:
        if torment is not None:
            torment.kill()
    for complaint in torment.complaints[:30]:
        print(f"WRONG: {complaint}")
    ended = ", ".join(f"{name} {number}" for name, number in sorted(torment.kills.items()))
    print(f"ended       {ended}")
    print(f"producers   {len(torment.lives)} lives, {sum(len(p.committed()) for p in torment.lives)} rings")
    print(f"committed   {committed:,} rows by their producers' counts")
    print(f"found       {rows:,} rows, {beyond} of them committed and not yet counted when their producer died")
    if not torment.complaints:
        shutil.rmtree(torment.rings)
    return session.ended("rings", options, directory, torment.complaints, also=f" and {torment.rings}")


if __name__ == "__main__":
    sys.exit(main())
