#!/usr/bin/env python3
"""What an inline materialized view of one-second bars would cost the loader, and what becomes of it when it fails: why `spool-loader rollup` is a job.

The same spool is loaded with and without the view, side by side, several times. Then once with a view that fails for a while, as one does that runs out
of memory or whose target is full: the loader repeats the insert until it is told that the rows are there, and the bars are counted.
"""
from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "demo")]

from catchup import Bench, Load, show  # noqa: E402
from pipeline import ClickHouse, Trouble, end_on_signals, wait_until  # noqa: E402
from spools import machine  # noqa: E402

TARGET = """
CREATE TABLE bars_inline (
    ts DateTime('UTC'), symbol LowCardinality(String), source LowCardinality(String),
    mid_open AggregateFunction(argMin, Float64, DateTime64(9, 'UTC')), mid_high SimpleAggregateFunction(max, Float64),
    mid_low SimpleAggregateFunction(min, Float64), mid_close AggregateFunction(argMax, Float64, DateTime64(9, 'UTC')),
    volume SimpleAggregateFunction(sum, Float64), rows SimpleAggregateFunction(sum, UInt64)
) ENGINE = AggregatingMergeTree PARTITION BY toDate(ts) ORDER BY (symbol, source, ts) SETTINGS non_replicated_deduplication_window = 10000
"""
VIEW = """
CREATE MATERIALIZED VIEW bars_view TO bars_inline AS
SELECT toDateTime(ts_exchange, 'UTC') AS ts, symbol, source, argMinState(assumeNotNull((bid_px1 + ask_px1) / 2), ts_exchange) AS mid_open,
    max(assumeNotNull((bid_px1 + ask_px1) / 2)) AS mid_high, min(assumeNotNull((bid_px1 + ask_px1) / 2)) AS mid_low,
    argMaxState(assumeNotNull((bid_px1 + ask_px1) / 2), ts_exchange) AS mid_close, sum(ifNull(last_qty, 0)) AS volume, count() AS rows
FROM market_data {where} GROUP BY ts, symbol, source
"""


class ViewBench(Bench):
    view = ""

    def server(self) -> ClickHouse:
        server = super().server()
        if self.view:
            server.query(TARGET)
            server.query(self.view)
        return server

    def failing(self, rows: int) -> tuple[int, int, str]:
        """(rows of market_data, rows that the bars are of, what the loader said)."""
        from pipeline import Process

        # It fails for every batch with one of the last rows in it.
        self.view = VIEW.format(where=f"WHERE NOT throwIf(spool_seq > {rows * 9 // 10}, 'the view fails')")
        server = self.server()
        loader = Process("spool-loader", [part for part in self.loader_command(server.url) if part != "--once"], self.work / "failing.log")
        try:
            loader.start()
            wait_until(lambda: int(server.query("SELECT count() FROM market_data")) >= rows, 60)
            loader.stop()
            said = (self.work / "failing.log").read_text()
            return (int(server.query("SELECT count() FROM market_data")), int(server.query("SELECT sum(rows) FROM bars_inline")), said)
        finally:
            loader.kill()
            server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batch-rows", type=int, nargs="+", default=[10_000, 500_000], help="live batches are small, those behind are large")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    end_on_signals()
    work = Path(tempfile.mkdtemp(prefix="coldpath-view-"))
    try:
        bench = ViewBench(work, options.rows, ["market_data"])
        bench.record()
        print(f"{machine()}; {options.rows:,} rows of market_data, one insert at a time; {options.rounds} rounds")
        for batch_rows in options.batch_rows:
            loads: dict[str, list[Load]] = {"no view": [], "inline view": []}
            for _ in range(options.rounds):
                for name, of in loads.items():
                    bench.view = VIEW.format(where="") if name == "inline view" else ""
                    of.append(bench.loader(1, batch_rows))
            print(f"batch_rows {batch_rows:,}")
            plain = show("  no view", loads["no view"], options.rows, None)
            show("  inline view", loads["inline view"], options.rows, plain)
        rows, barred, said = bench.failing(options.rows)
        print(f"a view that fails: {rows:,} rows of market_data, bars of {barred:,}")
        print("\n".join("  " + line for line in said.splitlines() if "fails" in line or "rows are" in line or "stopped" in line)[:1500])
        return 0 if bench.is_right else 1
    except Trouble as trouble:
        print(f"inline_view: {trouble}", file=sys.stderr)
        return 74
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
