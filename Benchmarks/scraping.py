#!/usr/bin/env python3
"""What metrics cost: the same steady rate without them, scraped once a second, and scraped twenty times a second, side by side.

Who publishes into a ring has nothing to do with it: the figures are copied by the writer's loop once a second, and turned into text by a thread of its
own when somebody asks. So what is compared is the writer's processor time and the time from event to query.
"""
from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "demo")]

import latency  # noqa: E402
from pipeline import Pipeline, Trouble, end_on_signals, free_port  # noqa: E402


class Scraper(threading.Thread):
    def __init__(self, ports: list[int], per_second: float) -> None:
        super().__init__(daemon=True)
        self.ports, self.every = ports, 1 / per_second
        self.times: list[float] = []
        self.bytes = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(self.every):
            for port in self.ports:
                began = time.monotonic()
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                        self.bytes = max(self.bytes, len(answer.read()))
                except OSError:
                    continue
                self.times.append(time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=25_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.seed = 1
    end_on_signals()
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    scrapes: list[float] = []
    size = 0
    variants = [("no metrics", 0.0), ("served, not asked", -1.0), ("each second", 1.0), ("20 a second", 20.0)]
    for number in range(options.rounds):
        # Each in turn first: a machine that warms up, or is shared, must not favour one.
        for name, per_second in variants[number % len(variants):] + variants[:number % len(variants)]:
            directory = Path(tempfile.mkdtemp(prefix="coldpath-scraping-"))
            pipeline = Pipeline(directory)
            ports = [free_port(), free_port()]
            if per_second:
                for process, port in zip((pipeline.writer, pipeline.loader), ports):
                    process.command += ["--metrics", f"127.0.0.1:{port}"]
            scraper = Scraper(ports, per_second if per_second > 0 else 0.001)
            scraper.start()
            try:
                figures, wrong = latency.measure(pipeline, options)
                if wrong:
                    raise Trouble("; ".join(wrong))
                lag = figures["lag_ms"]["orders"]  # type: ignore[index]
                usage = figures["processes"]  # type: ignore[assignment]
                found.setdefault(name, []).append((usage["spool-writer"]["cpu_seconds_per_million_rows"], usage["spool-loader"]["cpu_seconds_per_million_rows"], lag["p50"], lag["p99"]))  # type: ignore[index]
            except (Trouble, OSError) as error:
                print(f"scraping: {error}", file=sys.stderr)
                return 74
            finally:
                scraper.stopping.set()
                pipeline.kill()
                shutil.rmtree(directory, ignore_errors=True)
            scrapes += scraper.times
            size = max(size, scraper.bytes)
    print(f"{options.rate:,} rows/s for {options.seconds:g} s, {options.rounds} rounds; medians")
    print(f"{'':20}{'writer CPU s/M':>16}{'loader CPU s/M':>16}{'p50 ms':>9}{'p99 ms':>9}   all rounds, writer")
    for name, rounds in found.items():
        values = [statistics.median(column) for column in zip(*rounds)]
        print(f"{name:20}{values[0]:>16.2f}{values[1]:>16.2f}{values[2]:>9.0f}{values[3]:>9.0f}   {' '.join(f'{row[0]:.2f}' for row in rounds)}")
    print(f"a scrape of up to {size / 1024:.0f} KiB: median {statistics.median(scrapes) * 1000:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
