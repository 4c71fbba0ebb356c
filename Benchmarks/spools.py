"""Spools to measure the loader with, made as quickly as the writer takes rows; and what such measurements share."""
from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from pipeline import SCHEMAS, Process, Trouble, binary, wait_until  # noqa: E402

import latency  # noqa: E402

PUBLISH = ROOT / "Benchmarks/.build/release/publish-c"
BENCH_SCHEMAS = ROOT / "Benchmarks/schemas"
PUBLISHED_BEFORE = 64
"""Rows that publish-c publishes before it counts."""
MADE = 50_000
SAMPLE_SECONDS = 0.05


def market_lines(rows: int, seed: int = 1, rate: int = 25_000) -> Iterator[bytes]:
    """Lines of market_data as at `rate` rows a second, all of one day; prices walk, every second row has depth."""
    rng = random.Random(seed)
    made = [latency.market_line(rng, number) for number in range(MADE)]
    first, step = time.time_ns() // 86_400_000_000_000 * 86_400_000_000_000, 1_000_000_000 // rate
    for start in range(0, rows, MADE):
        base = first + start * step
        yield b"".join(line % (base + i * step, base + i * step + 150_000) for i, line in enumerate(made[: rows - start]))


def import_lines(spool: Path, lines: Iterator[bytes], settings: dict[str, str] | None = None, schemas: Path = SCHEMAS) -> None:
    """Record lines as `spool-writer import` does."""
    command = [binary("spool-writer"), "import", "--spool", spool, "--schemas", schemas]
    environment = dict(os.environ, **{f"COLDPATH_WRITER_{key.upper()}": value for key, value in (settings or {}).items()})
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    assert process.stdin and process.stdout
    try:
        for part in lines:
            process.stdin.write(part)
        process.stdin.close()
    except BrokenPipeError:
        pass
    said = process.stdout.read().decode()
    if process.wait() != 0:
        raise Trouble(f"spool-writer import ended with {process.returncode}: {said}")


def publish(spool: Path, rows: int, settings: dict[str, str] | None = None, stop_at_bytes: int = 0) -> None:
    """Record rows of bench_events through a ring, as fast as they become durable; the class is audit, so that none is given up.

    Parameters:
        stop_at_bytes: end once the spool is so large, whatever the rows; 0 for never.
    """
    if not PUBLISH.exists():
        raise Trouble(f"{PUBLISH} is missing; run: make bench")
    spool.parent.mkdir(parents=True, exist_ok=True)
    rings = Path(f"/dev/shm/coldpath-bench-{os.getpid()}")
    rings.mkdir()
    environment = {f"COLDPATH_WRITER_{key.upper()}": value for key, value in ({"class": "audit"} | (settings or {})).items()}
    log = spool.parent / f"{spool.name}.writer.log"
    writer = Process("spool-writer", ["env", *(f"{key}={value}" for key, value in environment.items()), binary("spool-writer"), "run",
                                      "--spool", spool, "--schemas", BENCH_SCHEMAS, "--socket", spool.parent / f"{spool.name}.sock", "--rings", rings], log)
    flood = None
    try:
        writer.start()
        if not wait_until(lambda: "ready:" in log.read_text(), 30):
            raise Trouble(f"spool-writer did not start; see {log}")
        flood = subprocess.Popen([PUBLISH, rings, "16384", "load", str(rows)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while flood.poll() is None:
            time.sleep(0.2)
            if stop_at_bytes and bytes_of(spool) >= stop_at_bytes:
                flood.kill()
                flood.wait()
        writer.stop()
    finally:
        for process in filter(None, (flood, writer)):
            process.kill()
        shutil.rmtree(rings, ignore_errors=True)


def bytes_of(spool: Path) -> int:
    return sum(path.stat().st_size for path in spool.glob("*/*.lz4"))


class Memory(threading.Thread):
    """The most anonymous memory that a process has had (RssAnon), looked at every 50 ms."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.peak_kib = 0

    def run(self) -> None:
        while True:
            try:
                text = self._status.read_text()
            except OSError:
                return
            for line in text.splitlines():
                if line.startswith("RssAnon"):
                    self.peak_kib = max(self.peak_kib, int(line.split()[1]))
            if "State:\tZ" in text:
                return
            time.sleep(SAMPLE_SECONDS)


@dataclass
class Run:
    """What a program took, from its start to its end."""

    seconds: float
    cpu: float
    anonymous_mib: float
    resident_mib: float
    status: int


def measured_run(command: list[str | Path], log: Path, environment: dict[str, str] | None = None, expect: tuple[int, ...] = (0,)) -> Run:
    """Run a program to its end and measure it.

    Raises:
        Trouble: it ended with another status than expected.
    """
    with open(log, "ab") as out:
        began = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=dict(os.environ, **(environment or {})))
        memory = Memory(process.pid)
        memory.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expect:
        raise Trouble(f"{Path(str(command[0])).name} {command[1]} ended with {process.returncode}; see {log}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, memory.peak_kib / 1024, usage.ru_maxrss / 1024, process.returncode)


def median(values: list[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}"
