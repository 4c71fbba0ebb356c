#!/usr/bin/env python3
"""Catching up: how fast a backlog goes from the spool to ClickHouse, beside the same engine that reads the same batches itself.

Per round and side by side, each on an empty data directory of its own, with the very bodies, tokens and settings that the loader sends:
    direct    the engine reads each batch from its file (INSERT ... FROM INFILE), in a process of its own, on as many threads as the loader has inserts
              in flight: the most that there is to reach
    client    a small client posts the same files over HTTP to the development server: what HTTP and that server cost, without the loader
    loader    spool-loader run --once, to the same server
The engine's CPU is that of the process that holds it, the loader's that of the loader, both for the time of the load. Rows are counted at the end.

    Benchmarks/catchup.py --inflight 1 2 3 4 --batch-rows 50000 100000 250000 500000 1000000

Prints medians; never asserts a time. Exit status: 0 measured, 1 rows are missing or repeated, 74 something did not start.
"""
from __future__ import annotations

import argparse
import http.client
import json
import queue
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "devserver")]

from pipeline import SCHEMAS, ClickHouse, Trouble, binary, end_on_signals, run  # noqa: E402
from spools import BENCH_SCHEMAS, import_lines, machine, market_lines, measured_run, median, publish  # noqa: E402

TABLES = ("market_data", "bench_events")


@dataclass
class Load:
    seconds: float
    engine_cpu: float
    client_cpu: float


def cpu_now() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def batches(directory: Path) -> list[tuple[Path, dict[str, str]]]:
    return [(path.with_suffix(".lz4"), json.loads(path.read_text())) for path in sorted(directory.glob("*.json"))]


# ---- Direct: this program again, as a process that holds an engine

def direct(data: Path, kept: Path, schema: list[Path], threads: int) -> None:
    """Load the batches by the engine alone, and print what it took."""
    from engine import Engine, Job, quoted

    engine = Engine(data)
    for path in schema:
        for statement in filter(str.strip, path.read_text().split(";\n")):
            engine.run(Job(statement))
    work = batches(kept)

    def insert(batch: tuple[Path, dict[str, str]]) -> None:
        path, parameters = batch
        head, _, tail = parameters["query"].rpartition(" FORMAT ")
        settings = {name: value for name, value in parameters.items() if name not in ("query", "database", "query_id")}
        engine.run(Job(f"{head} FROM INFILE {quoted(str(path))} COMPRESSION 'lz4' FORMAT {tail}", settings=settings, has_data=True))

    began, cpu = time.monotonic(), cpu_now()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(insert, work))
    load = Load(time.monotonic() - began, cpu_now() - cpu, 0)
    rows = {table: int(engine.run(Job(f"SELECT count() FROM {table}")).body) for table in TABLES if any(table in str(path) for path in schema)}
    print(json.dumps({"load": asdict(load), "rows": rows}))


class Bench:
    def __init__(self, work: Path, rows: int, tables: list[str]) -> None:
        self.work, self.rows, self.tables = work, rows, tables
        self.spool = work / "spool"
        self.schema = [path for table in tables for path in
                       (SCHEMAS.glob("*_market_data.sql") if table == "market_data" else BENCH_SCHEMAS.glob("*.sql"))]
        self.schemas = work / "schemas"
        self.schemas.mkdir(parents=True)
        for path in self.schema:
            shutil.copy(path, self.schemas)
        self.is_right = True

    def record(self) -> None:
        if "market_data" in self.tables:
            import_lines(self.spool, market_lines(self.rows), schemas=self.schemas)
        if "bench_events" in self.tables:
            publish(self.spool, self.rows)
        said = run([binary("spool-loader"), "ls", "--spool", self.spool]).stdout
        print(said)

    def settings(self, inflight: int, batch_rows: int) -> dict[str, str]:
        return {"COLDPATH_LOADER_INFLIGHT": str(inflight), "COLDPATH_LOADER_BATCH_ROWS": str(batch_rows)}

    def loader_command(self, url: str) -> list[str | Path]:
        checkpoints = self.work / "checkpoints"
        shutil.rmtree(checkpoints, ignore_errors=True)
        return [binary("spool-loader"), "run", "--once", "--spool", self.spool, "--checkpoints", checkpoints, "--url", url]

    def keep_batches(self, batch_rows: int) -> Path:
        """The bodies that the loader sends, each in a file."""
        kept = self.work / "kept" / str(batch_rows)
        kept.mkdir(parents=True)
        sink = subprocess.Popen([sys.executable, ROOT / "Benchmarks/sink.py", "--schemas", self.schemas, "--keep", kept], stdout=subprocess.PIPE, text=True)
        try:
            assert sink.stdout
            url = sink.stdout.readline().split()[1]
            measured_run(self.loader_command(url), self.work / "loader.log", self.settings(1, batch_rows))
        finally:
            sink.kill()
            sink.wait()
        return kept

    def direct(self, kept: Path, threads: int) -> Load:
        data = self.work / "direct"
        shutil.rmtree(data, ignore_errors=True)
        said = run([sys.executable, __file__, "--direct", data, "--kept", kept, "--threads", str(threads), "--schema", *self.schema], timeout=1800)
        shutil.rmtree(data, ignore_errors=True)
        result = json.loads(said.stdout.splitlines()[-1])
        self.check("direct", result["rows"])
        return Load(**result["load"])

    def server(self) -> ClickHouse:
        shutil.rmtree(self.work / "clickhouse", ignore_errors=True)
        # The development server, also where a real one is on the PATH: the engine must be the one that `direct` has.
        server = ClickHouse(self.work, options=["--keep-alive", "30"])
        server.start_and_wait()
        run([binary("spool-loader"), "migrate", "apply", "--schemas", self.schemas, "--url", server.url])
        return server

    def client(self, kept: Path, connections: int) -> Load:
        server = self.server()
        try:
            waiting: queue.SimpleQueue[tuple[Path, dict[str, str]]] = queue.SimpleQueue()
            for batch in batches(kept):
                waiting.put(batch)
            problems: list[str] = []
            threads = [threading.Thread(target=post_all, args=(server.port, waiting, problems)) for _ in range(connections)]
            began, engine, own = time.monotonic(), server.cpu_seconds(), cpu_now()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            load = Load(time.monotonic() - began, server.cpu_seconds() - engine, cpu_now() - own)
            if problems:
                raise Trouble(f"the client's insert was refused: {problems[0]}")
            self.check("client", self.counts(server))
            return load
        finally:
            server.kill()

    def loader(self, inflight: int, batch_rows: int) -> Load:
        server = self.server()
        try:
            before = server.cpu_seconds()
            load = measured_run(self.loader_command(server.url), self.work / "loader.log", self.settings(inflight, batch_rows))
            engine = server.cpu_seconds() - before
            self.check("loader", self.counts(server))
            return Load(load.seconds, engine, load.cpu)
        finally:
            server.kill()

    def counts(self, server: ClickHouse) -> dict[str, int]:
        return {table: int(server.query(f"SELECT uniqExact(spool_seq) * (count() = uniqExact(spool_seq)) FROM {table}")) for table in self.tables}

    def check(self, who: str, rows: dict[str, int]) -> None:
        for table, count in rows.items():
            # publish-c warms up with a few.
            if not self.rows <= count <= self.rows + 64:
                self.is_right = False
                print(f"WRONG: {who}: {count} rows of {table}, not {self.rows}", file=sys.stderr)


def post_all(port: int, waiting: queue.SimpleQueue[tuple[Path, dict[str, str]]], problems: list[str]) -> None:
    """Posts batches until none waits. The kernel copies a file into the socket: no cheaper client can be."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        try:
            path, parameters = waiting.get_nowait()
        except queue.Empty:
            return
        with open(path, "rb") as file:
            connection.putrequest("POST", "/?" + urlencode(parameters))
            connection.putheader("Content-Encoding", "lz4")
            connection.putheader("Content-Length", str(path.stat().st_size))
            connection.endheaders()
            connection.sock.sendfile(file)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 200 or text:
            problems.append(text.decode(errors="replace"))
            return


def show(name: str, loads: list[Load], rows: int, floor: float | None) -> float:
    seconds, engine, client = (median([getattr(load, field) for load in loads]) for field in ("seconds", "engine_cpu", "client_cpu"))
    rate, million = rows / seconds, rows / 1e6
    share = f"{rate / floor:8.1%}" if floor else " " * 8
    own = f"{client / million:10.3f}{client / engine:8.1%}" if client else ""
    spread = f"{min(load.seconds for load in loads):.2f}..{max(load.seconds for load in loads):.2f}"
    print(f"{name:36}{rate:12,.0f}{share}{engine / million:10.3f}{own or ' ' * 18}   {spread} s", flush=True)
    return rate


def measure(bench: Bench, options: argparse.Namespace) -> None:
    print(f"{machine()}; {options.rows:,} rows of each of {', '.join(options.tables)}; {options.rounds} rounds")
    print(f"{'':36}{'rows/s':>12}{'share':>8}{'eng s/M':>10}{'own s/M':>10}{'of eng':>8}   all rounds")
    for batch_rows in options.batch_rows:
        kept = bench.keep_batches(batch_rows)
        loads: dict[str, list[Load]] = {}
        for _ in range(options.rounds):
            for inflight in options.inflight:
                loads.setdefault(f"direct, {inflight} threads", []).append(bench.direct(kept, inflight))
                if not options.no_client:
                    loads.setdefault(f"client, {inflight} connections", []).append(bench.client(kept, inflight))
                loads.setdefault(f"loader, inflight {inflight}", []).append(bench.loader(inflight, batch_rows))
        rows = options.rows * len(options.tables)
        sizes = [path.stat().st_size for path, _ in batches(kept)]
        print(f"batch_rows {batch_rows:,}: {len(sizes)} batches of at most {max(sizes) / 2 ** 20:.1f} MiB, {sum(sizes) / rows:.1f} bytes a row")
        # Each beside the engine with as many at a time.
        floors = {name.split()[1]: rows / median([load.seconds for load in of]) for name, of in loads.items() if name.startswith("direct")}
        for name, of in sorted(loads.items(), key=lambda item: (item[0].split()[0], item[0])):
            inflight = name.split()[2] if name.startswith("loader") else name.split()[1]
            show("  " + name, of, rows, None if name.startswith("direct") else floors[inflight])
        shutil.rmtree(kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000, help="of each table")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["market_data"])
    parser.add_argument("--inflight", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-rows", type=int, nargs="+", default=[500_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-client", action="store_true", help="leave the small client out")
    parser.add_argument("--work", type=Path, help="where to work; by default a directory of its own, which is removed")
    for name in ("--direct", "--kept"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--schema", type=Path, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.direct:
        direct(options.direct, options.kept, options.schema, options.threads)
        return 0
    end_on_signals()
    work = Path(tempfile.mkdtemp(prefix="coldpath-catchup-", dir=options.work))
    try:
        bench = Bench(work, options.rows, options.tables)
        bench.record()
        measure(bench, options)
        return 0 if bench.is_right else 1
    except Trouble as trouble:
        print(f"catchup: {trouble}", file=sys.stderr)
        return 74
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
