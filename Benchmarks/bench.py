#!/usr/bin/env python3
"""What recording costs: the thread that publishes, and the writer that makes rows durable, each beside its floor in the same run.

Builds the programs of this package, runs each measurement several times and prints medians. The row is bench_events (schemas/): 15
columns of fixed width, 4 names that repeat, 1 unique text of 20 bytes. Measures, and never asserts a time.
Exit status: 0 measured, 1 rows are missing or were refused, 74 something did not start.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WRITER = ROOT / ".build/release/spool-writer"
BUILT = HERE / ".build/release"
TICKS = os.sysconf("SC_CLK_TCK")
PARTS = ["publish", "drain", "socket", "python", "steady", "start"]


class Trouble(Exception):
    pass


def build() -> None:
    """The generated sources, then everything."""
    for language, path in (("c", "Sources/publish-c/bench_rows.h"), ("swift", "Sources/publish-swift/BenchEvents.swift")):
        subprocess.run([WRITER, "codegen", "--lang", language, "--schemas", HERE / "schemas", "--output", HERE / path], check=True)
    subprocess.run(["swift", "build", "-c", "release", "--package-path", HERE, "-Xswiftc", "-gnone"], check=True)


class Writer:
    """The real writer, on an empty spool."""

    def __init__(self, spool: Path, rings: Path | None, settings: dict[str, str] | None = None) -> None:
        shutil.rmtree(spool, ignore_errors=True)
        self.spool = spool
        self.socket = spool.parent / "writer.sock"
        command = [str(WRITER), "run", "--spool", str(spool), "--schemas", str(HERE / "schemas"), "--socket", str(self.socket)]
        if rings:
            shutil.rmtree(rings, ignore_errors=True)
            command += ["--rings", str(rings)]
        environment = dict(os.environ, **{f"COLDPATH_WRITER_{key.upper()}": value for key, value in (settings or {}).items()})
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
        line = self.process.stderr.readline()
        if b"ready" not in line:
            raise Trouble(f"the writer did not start: {line.decode()}{self.process.stderr.read().decode()}")

    def cpu(self) -> tuple[float, float]:
        """Seconds in user and in kernel mode so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICKS, int(fields[12]) / TICKS

    def peak_mib(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)

    def segments(self) -> list[Path]:
        return sorted(self.spool.glob("bench_events/*.lz4"))

    def data_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.segments())


def run(command: list) -> tuple[dict, dict]:
    """The program's JSON from standard output, and from standard error if there is one."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise Trouble(f"{command[0]}: {done.stderr}{done.stdout}")
    notes = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return json.loads(done.stdout), notes[0] if notes else {}


def median(values: list[float]) -> float:
    return statistics.median(values)


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        print("  " + row[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])))


class Bench:
    def __init__(self, work: Path, rounds: int, scale: float, seconds: int) -> None:
        self.work, self.rounds, self.scale, self.seconds = work, rounds, scale, seconds
        self.rings = Path(tempfile.mkdtemp(prefix="coldpath-bench-", dir="/dev/shm"))
        self.result: dict[str, object] = {}

    def rows(self, count: int) -> int:
        return max(1000, int(count * self.scale))

    # ---- The thread that publishes.

    def publish(self) -> None:
        """Interleaved, so that what else the machine does meets all of them alike."""
        kinds = {
            "memcpy of the row (C)": ("publish-c", "-memcpy"),
            "typed row, C": ("publish-c", ""),
            "typed row, Swift": ("publish-swift", ""),
        }
        seen: dict[str, list[dict]] = {kind: [] for kind in [*kinds, "spdlog, 10 fields"]}
        for _ in range(self.rounds):
            writer = Writer(self.work / "spool", self.rings)
            try:
                for kind, (program, suffix) in kinds.items():
                    burst, _ = run([BUILT / program, self.rings, 256 << 10, "burst" + suffix, self.rows(1_000_000)])
                    paced, _ = run([BUILT / program, self.rings, 4096, "latency" + suffix, self.rows(1_000_000), 1000])
                    slow, _ = run([BUILT / program, self.rings, 4096, "latency" + suffix, self.rows(100_000), 40_000])
                    seen[kind].append({**paced, "cpu_ns": burst["cpu_ns"], "full": burst["full"] + paced["full"], "slow": slow})
            finally:
                writer.stop()
            log = self.work / "spdlog.log"
            burst, _ = run([BUILT / "publish-spdlog", log, "burst", self.rows(500_000)])
            paced, _ = run([BUILT / "publish-spdlog", log, "latency", self.rows(500_000), 1000])
            slow, _ = run([BUILT / "publish-spdlog", log, "latency", self.rows(100_000), 40_000])
            seen["spdlog, 10 fields"].append({**paced, "cpu_ns": burst["cpu_ns"], "slow": slow})
            log.unlink(missing_ok=True)
        rows = []
        for kind, results in seen.items():
            pick = {key: median([result[key] for result in results]) for key in ("cpu_ns", "p50", "p99", "p999", "full")}
            slow = {key: median([result["slow"][key] for result in results]) for key in ("p50", "p99", "p999")}
            self.result[kind] = {**pick, "at 25,000/s": slow}
            rows.append([kind, f"{pick['cpu_ns']:.1f}", *(f"{pick[key]:.0f}" for key in ("p50", "p99", "p999")),
                         *(f"{slow[key]:.0f}" for key in ("p50", "p99", "p999")), f"{pick['full']:.0f}"])
        table("publish, ns on the publishing thread while the writer drains",
              ["", "mean CPU", "1M/s p50", "p99", "p99.9", "25k/s p50", "p99", "p99.9", "full"], rows)

    # ---- The writer.

    def drain(self) -> None:
        rows = self.rows(4_000_000)
        lines = []
        floor: dict = {}
        for label, kib, spool in (("ring 4 MiB, disk", 4096, self.work / "spool"), ("ring 1 MiB, disk", 1024, self.work / "spool"),
                                  ("ring 4 MiB, no disk", 4096, self.rings / "spool")):
            results, floors = [], []
            for _ in range(self.rounds):
                rings = self.rings / "rings"
                writer = Writer(spool, rings)
                before = writer.cpu()
                published, notes = run([BUILT / "publish-c", rings, kib, "load", rows])
                after = writer.cpu()
                results.append({"user": (after[0] - before[0]) / rows * 1e9, "system": (after[1] - before[1]) / rows * 1e9,
                                "wall": rows / notes["durable_seconds"], "rss": writer.peak_mib(), "refused": published["refused"],
                                "ring_bytes": notes["row_bytes"]})
                writer.stop()
                results[-1]["disk"] = writer.data_bytes() / rows
                # Beside it, at once: the same blocks through nothing but LZ4.
                floors.append(run([BUILT / "lz4-floor", 3, *writer.segments()[:2]])[0])
            pick = {key: median([result[key] for result in results]) for key in results[0]}
            floor = {key: median([entry[key] for entry in floors]) for key in floors[0]}
            self.result[label] = {**pick, "floor": floor}
            self.check(label, pick["refused"])
            lines.append([label, f"{pick['user'] + pick['system']:.0f}", f"{pick['user']:.0f}", f"{floor['memcpy_ns']:.1f}",
                          f"{floor['bare_lz4_ns']:.0f}", f"{floor['frame_ns']:.0f}", f"{pick['user'] / floor['bare_lz4_ns']:.2f}",
                          f"{(pick['user'] - floor['frame_ns']) / floor['frame_ns']:.2f}", f"{pick['wall'] / 1e6:.2f}",
                          f"{pick['ring_bytes']:.0f} > {floor['raw_bytes']:.0f} > {pick['disk']:.1f}", f"{pick['rss']:.1f}"])
        table("ring to durable spool, one producer at full speed",
              ["", "CPU ns/row", "user", "memcpy", "bare LZ4", "LZ4 frame", "user/bare", "rest/frame", "M rows/s", "bytes a row", "RSS MiB"], lines)

    def socket(self) -> None:
        lines = []
        for label, batch, count in (("JSON, 64 KiB a send", 65536, 3_000_000), ("JSON, one line a send", 0, 2_000_000)):
            results = []
            for _ in range(self.rounds):
                writer = Writer(self.work / "spool", None)
                rows = self.rows(count)
                before = writer.cpu()
                sent, _ = run([BUILT / "socket-load", "--socket", writer.socket, "--rows", rows, "--batch", batch])
                after = writer.cpu()
                results.append({"user": (after[0] - before[0]) / rows * 1e9, "system": (after[1] - before[1]) / rows * 1e9,
                                "wall": sent["rows_per_second"], "rss": writer.peak_mib(), "refused": sent["refused"]})
                writer.stop()
                results[-1]["disk"] = writer.data_bytes() / rows
                results[-1]["bare"] = run([BUILT / "lz4-floor", 3, *writer.segments()[:2]])[0]["bare_lz4_ns"]
            pick = {key: median([result[key] for result in results]) for key in results[0]}
            self.result[label] = pick
            self.check(label, pick["refused"])
            lines.append([label, f"{pick['user'] + pick['system']:.0f}", f"{pick['user']:.0f}", f"{pick['bare']:.0f}", f"{pick['wall'] / 1e6:.2f}",
                          f"{pick['disk']:.1f}", f"{pick['rss']:.1f}"])
        table("JSON lines over the socket to durable spool",
              ["", "CPU ns/row", "user", "bare LZ4", "M rows/s", "disk B/row", "RSS MiB"], lines)

    def steady(self) -> None:
        """What it costs to be there: 25,000 rows/s, and nothing at all."""
        seconds = self.seconds
        lines = []
        for label, kib, rate in (("ring 1 MiB, 25,000 rows/s", 1024, 25_000), ("ring 4 MiB, 25,000 rows/s", 4096, 25_000),
                                 ("ring 4 MiB, 100,000 rows/s", 4096, 100_000), ("ring, silent", 4096, 0), ("no ring, idle", 0, 0)):
            writer = Writer(self.work / "spool", self.rings / "rings" if kib else None)
            rows = rate * seconds
            idle = None
            if not rate and kib:
                idle = subprocess.Popen([str(BUILT / "publish-c"), str(self.rings / "rings"), str(kib), "latency", "2", str(seconds * 2e9)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(2.5)
            before, start = writer.cpu(), time.monotonic()
            if rate:
                run([BUILT / "publish-c", self.rings / "rings", kib, "load", rows, 1e9 / rate])
            else:
                time.sleep(seconds)
            after, elapsed = writer.cpu(), time.monotonic() - start
            share = sum(after) - sum(before)
            rss = writer.peak_mib()
            if idle:
                idle.kill()
                idle.wait()
            writer.stop()
            disk = writer.data_bytes() / rows if rows else 0
            self.result[label] = {"cpu_share": share / elapsed, "rss": rss, "disk": disk}
            lines.append([label, f"{share / elapsed * 100:.2f} %", f"{rss:.1f}", f"{disk:.1f}" if rows else ""])
        table(f"steady, {seconds} s each", ["", "of a core", "RSS MiB", "disk B/row"], lines)

    def start(self) -> None:
        times = []
        for _ in range(11):
            begun = time.perf_counter()
            writer = Writer(self.work / "spool", self.rings / "rings")
            times.append((time.perf_counter() - begun) * 1000)
            writer.stop()
        stripped = self.work / "stripped"
        subprocess.run(["strip", "-o", stripped, WRITER], check=True)
        size = stripped.stat().st_size / 1e6
        self.result["start"] = {"ready_ms": median(times), "stripped_mb": size}
        print(f"\nspool-writer: ready in {median(times):.1f} ms (1 table, new spool); stripped {size:.1f} MB")

    def python(self) -> None:
        """The package as people install it, in an environment of its own."""
        home = self.work / "python"
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        python = home / "bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT / "clients/python"], check=True)
        subprocess.run([WRITER, "codegen", "--lang", "python", "--schemas", HERE / "schemas", "--output", home / "bench_rows.py"], check=True)
        writer = Writer(self.work / "spool", self.rings / "rings")
        done = subprocess.run(
            [python, HERE / "publish_python.py", self.rings / "rings", self.work / "rows.jsonl", str(self.rows(1_000_000)), str(self.rounds)],
            env=dict(os.environ, PYTHONPATH=str(home)), capture_output=True, text=True)
        writer.stop()
        if done.returncode:
            raise Trouble(f"publish_python.py: {done.stderr}")
        figures = json.loads(done.stdout)
        self.result["python"] = figures
        self.check("python", figures["refused"])
        table(f"Python, {figures['rows']:,} rows from an asyncio loop, µs of CPU a row",
              ["", "ring", "json.dumps + file", "ratio", "other tasks late, p99"],
              [["20 fields", f"{figures['ring_us']:.2f}", f"{figures['json_file_us']:.2f}", f"{figures['ring_us'] / figures['json_file_us']:.2f}",
                f"{figures['loop_late_p99_ms']:.1f} ms"]])

    def check(self, label: str, refused: float) -> None:
        if refused:
            raise Trouble(f"{label}: {refused:.0f} rows were refused")

    def close(self) -> None:
        shutil.rmtree(self.rings, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each measurement is repeated; medians are printed")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer rows")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--seconds", type=int, default=20, help="of each steady measurement")
    parser.add_argument("--work", type=Path, help="where the spools lie; a temporary directory by default")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    build()
    work = options.work or Path(tempfile.mkdtemp(prefix="coldpath-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(work, options.rounds, options.scale, options.seconds)
    try:
        print(f"\nload before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors; medians of {options.rounds}")
        for part in options.only or PARTS:
            getattr(bench, part)()
        if options.json:
            options.json.write_text(json.dumps(bench.result, indent=1))
    except Trouble as trouble:
        print(f"bench: {trouble}", file=sys.stderr)
        return 1
    finally:
        bench.close()
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
