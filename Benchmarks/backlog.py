#!/usr/bin/env python3
"""A large backlog: the loader against a server that discards, its memory, and what `ls`, `verify` and `audit` take on such a spool.

The spool is made through a ring (bench_events: some 55 bytes a row), as large as --segments says. Then, each several times, with medians:
    sink      everything goes to Benchmarks/sink.py, which discards it; beside it, what sendfile of the same segments to the same sink reaches.
              With a spool that fits the page cache this is the loader's own speed; its peak of anonymous memory is looked at every 50 ms
    tools     `ls` and `verify`, `ls` also with a cold page cache (as root)
    engine    the first --engine-gib go to a real ClickHouse, then `audit` of those

Measures, and never asserts a time. Exit status: 0 measured, 1 something is wrong with the rows, 74 something did not start.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from pipeline import ClickHouse, Trouble, binary, end_on_signals, run  # noqa: E402
from spools import BENCH_SCHEMAS, Memory, bytes_of, machine, measured_run, median, publish  # noqa: E402

GIB = 1 << 30


class Sink:
    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, ROOT / "Benchmarks/sink.py", "--schemas", BENCH_SCHEMAS], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url = self._process.stdout.readline().split()[1]

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(self.url + "/stats") as answer:
            return json.load(answer)

    def reset(self) -> None:
        urllib.request.urlopen(self.url + "/reset").close()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Backlog:
    def __init__(self, work: Path, spool: Path) -> None:
        self.work, self.spool, self.is_right = work, spool, True
        self.log = work / "loader.log"

    def checkpoints(self, name: str = "checkpoints") -> Path:
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def floor(self, sink: Sink, connections: int) -> float:
        """Bytes a second that the kernel brings from the segments to the sink."""
        segments = sorted(self.spool.glob("*/*.lz4"))
        parts = [segments[start::connections] for start in range(connections)]
        began = time.monotonic()
        threads = [threading.Thread(target=send_files, args=(sink.url, part)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return bytes_of(self.spool) / (time.monotonic() - began)

    def sink(self, rounds: int, variants: list[tuple[int, int]]) -> None:
        print(f"{'against the sink':34}{'GB/s':>8}{'CPU s/GB':>10}{'GB/CPU s':>10}{'anon MiB':>10}{'RSS MiB':>9}   {'GB/s of all rounds'}")
        with Sink() as sink:
            rates: dict[str, list[tuple[float, float, float, float]]] = {}
            for _ in range(rounds):
                for connections in (1, 2):
                    rates.setdefault(f"sendfile, {connections} connections", []).append((self.floor(sink, connections), 0, 0, 0))
                for inflight, batch_rows in variants:
                    sink.reset()
                    run_ = measured_run(
                        [binary("spool-loader"), "run", "--once", "--spool", self.spool, "--checkpoints", self.checkpoints(), "--url", sink.url], self.log,
                        {"COLDPATH_LOADER_INFLIGHT": str(inflight), "COLDPATH_LOADER_BATCH_ROWS": str(batch_rows)})
                    sent = sink.stats()["bytes"]
                    if sent < bytes_of(self.spool) * 0.99:
                        self.is_right = False
                        print(f"WRONG: {sent} bytes came to the sink, of {bytes_of(self.spool)}", file=sys.stderr)
                    rates.setdefault(f"inflight {inflight}, batch_rows {batch_rows:,}", []).append(
                        (sent / run_.seconds, run_.cpu / sent, run_.anonymous_mib, run_.resident_mib))
        for name, of in rates.items():
            rate, cpu, anonymous, resident = (median([values[i] for values in of]) for i in range(4))
            rest = f"{cpu * 1e9:10.3f}{1 / cpu / 1e9:10.2f}{max(v[2] for v in of):10.1f}{resident:9.1f}" if cpu else " " * 39
            print(f"{name:34}{rate / 1e9:8.2f}{rest}   " + " ".join(f"{values[0] / 1e9:.2f}" for values in of), flush=True)

    def tools(self, rounds: int) -> None:
        checkpoints = self.work / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        commands: dict[str, list[str | Path]] = {
            "ls": ["ls", "--spool", self.spool, "--checkpoints", checkpoints],
            "ls TABLE": ["ls", "bench_events", "--spool", self.spool, "--checkpoints", checkpoints],
            "verify": ["verify", "--spool", self.spool],
        }
        print(f"{'':20}{'seconds':>10}{'CPU s':>9}{'anon MiB':>10}{'RSS MiB':>9}")
        for name, command in commands.items():
            for cold in ([False, True] if name.startswith("ls") else [False]):
                runs = []
                for _ in range(rounds if name.startswith("ls") else 1):
                    if cold and not drop_caches():
                        break
                    runs.append(measured_run([binary("spool-loader"), *command], self.work / "tools.log"))
                if runs:
                    seconds, cpu, anonymous, resident = (median([getattr(r, f) for r in runs]) for f in ("seconds", "cpu", "anonymous_mib", "resident_mib"))
                    print(f"{name + (', cold' if cold else ''):20}{seconds:10.3f}{cpu:9.2f}{anonymous:10.1f}{resident:9.1f}", flush=True)

    def engine(self, gib: float, inflight: int, batch_rows: int) -> None:
        shutil.rmtree(self.work / "clickhouse", ignore_errors=True)
        server = ClickHouse(self.work)
        checkpoints = self.checkpoints("engine-checkpoints")
        loader = None
        try:
            server.start_and_wait()
            run([binary("spool-loader"), "migrate", "apply", "--schemas", BENCH_SCHEMAS, "--url", server.url])
            per_row = bytes_of(self.spool) / self.rows()
            wanted = int(gib * GIB / per_row)
            environment = dict(os.environ, COLDPATH_LOADER_INFLIGHT=str(inflight), COLDPATH_LOADER_BATCH_ROWS=str(batch_rows))
            command = [binary("spool-loader"), "run", "--spool", self.spool, "--checkpoints", checkpoints, "--url", server.url]
            began = time.monotonic()
            with open(self.log, "ab") as log:
                loader = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            memory = Memory(loader.pid)
            memory.start()
            count = 0
            while count < wanted and loader.poll() is None:
                time.sleep(0.5)
                count = int(server.query("SELECT count() FROM bench_events"))
            seconds = time.monotonic() - began
            loader.terminate()
            _, _, usage = os.wait4(loader.pid, 0)
            loader.returncode = 0
            count = int(server.query("SELECT count() FROM bench_events"))
            print(f"engine, inflight {inflight}, batch_rows {batch_rows:,}: {count:,} rows ({count * per_row / GIB:.1f} GiB) in {seconds:.1f} s, "
                  f"{count / seconds:,.0f} rows/s; loader {usage.ru_utime + usage.ru_stime:.2f} CPU s, anonymous {memory.peak_kib / 1024:.1f} MiB, "
                  f"resident {usage.ru_maxrss / 1024:.1f} MiB", flush=True)
            (self.work / "audit.log").unlink(missing_ok=True)
            audit = measured_run([binary("spool-loader"), "audit", "--spool", self.spool, "--checkpoints", checkpoints, "--url", server.url],
                                 self.work / "audit.log", expect=(0, 1))
            print(f"audit of {count:,} rows: {audit.seconds:.1f} s, {audit.cpu:.2f} CPU s, anonymous {audit.anonymous_mib:.1f} MiB")
            print((self.work / "audit.log").read_text())
        finally:
            if loader and loader.poll() is None:
                loader.kill()
                loader.wait()
            server.kill()
            shutil.rmtree(self.work / "clickhouse", ignore_errors=True)

    def rows(self) -> int:
        said = json.loads(run([binary("spool-loader"), "ls", "--json", "--spool", self.spool, "--checkpoints", self.work]).stdout)
        tables = said["tables"] if isinstance(said, dict) else said
        return sum(int(table["rows"]) for table in tables)


def send_files(url: str, segments: list[Path]) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        for path in segments:
            with open(path, "rb") as file:
                connection.sendall(f"POST /?query=INSERT HTTP/1.1\r\nHost: x\r\nContent-Length: {path.stat().st_size}\r\n\r\n".encode())
                connection.sendfile(file)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(4_096)


def drop_caches() -> bool:
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return True
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="sink, tools, engine; all by default")
    parser.add_argument("--segments", nargs="+", metavar="SIZE=GIB", default=["64MiB=2"],
                        help="what the spool is made of: so many GiB in segments of that size (writer.segment_bytes), one after the other")
    parser.add_argument("--engine-gib", type=float, default=1)
    parser.add_argument("--inflight", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-rows", type=int, nargs="+", default=[500_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spool", type=Path, help="a spool of bench_events to use, or to make and keep")
    parser.add_argument("--work", type=Path, help="where to work; by default below the directory for temporary files")
    options = parser.parse_args()
    parts = options.parts or ["sink", "tools", "engine"]
    if unknown := set(parts) - {"sink", "tools", "engine"}:
        parser.error(f"no such part: {', '.join(unknown)}")
    end_on_signals()
    work = Path(tempfile.mkdtemp(prefix="coldpath-backlog-", dir=options.work))
    try:
        spool = options.spool or work / "spool"
        if not spool.exists():
            began = time.monotonic()
            end = 0
            for size, _, gib in (text.partition("=") for text in options.segments):
                end += int(float(gib) * GIB)
                publish(spool, 1 << 40, {"segment_bytes": size}, stop_at_bytes=end)
            print(f"made in {time.monotonic() - began:.0f} s")
        backlog = Backlog(work, spool)
        print(f"{machine()}; spool of {bytes_of(spool) / GIB:.2f} GiB, {backlog.rows():,} rows, {len(list(spool.glob('*/*.lz4')))} segments")
        variants = [(inflight, rows) for rows in options.batch_rows for inflight in options.inflight]
        if "sink" in parts:
            backlog.sink(options.rounds, variants)
        if "tools" in parts:
            backlog.tools(options.rounds)
        if "engine" in parts:
            for inflight, rows in variants:
                backlog.engine(options.engine_gib, inflight, rows)
        return 0 if backlog.is_right else 1
    except (Trouble, OSError) as trouble:
        print(f"backlog: {trouble}", file=sys.stderr)
        return 74
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
