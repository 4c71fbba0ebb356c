#!/usr/bin/env python3
"""A page of what happened: prices with the fills on them, latency of orders, P&L with the guardrail's transitions, latency and gaps of the feed, and what the queries
beside this say, as PNG and HTML.

    make report                                                        # of the demo's data, on an embedded ClickHouse: .build/report
    queries/report.py --url http://127.0.0.1:8123 --from 2026-11-25 --to 2026-11-26 --out report

Needs matplotlib.
"""
from __future__ import annotations

import argparse
import base64
import datetime
import html
import importlib.machinery
import importlib.util
import json
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
QUERIES = ("execution_quality", "order_latency", "risk_to_execution", "market_data_quality", "reconciliation", "around_guardrail")
Row = dict[str, Any]
GOOD, BAD, MAIN, DIM = "#2a9d57", "#c0392b", "#2b6cb0", "#999999"


class Server:
    """ClickHouse, asked for a span of time."""

    def __init__(self, url: str, database: str, begin: str, end: str) -> None:
        self._url, self._database, self.begin, self.end = url, database, begin, end

    def ask(self, sql: str, **parameters: str) -> list[Row]:
        settings = {"database": self._database, "default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0", "output_format_json_quote_decimals": "0",
                    "param_from": self.begin, "param_to": self.end, "param_step": "300", "param_seconds": "60", "param_allowed": "['allow']",
                    **{f"param_{name}": value for name, value in parameters.items()}}
        with urllib.request.urlopen(f"{self._url}/?{urllib.parse.urlencode(settings)}", sql.encode()) as answer:
            return [json.loads(line) for line in answer.read().decode().split("\n") if line]

    def ask_file(self, name: str) -> list[Row]:
        return self.ask((ROOT / "queries" / f"{name}.sql").read_text())


SPAN = "{from:DateTime64(9, 'UTC')} AND %s < {to:DateTime64(9, 'UTC')}"


def within(column: str) -> str:
    return f"{column} >= {SPAN % column}"


def times(rows: list[Row], name: str) -> list[datetime.datetime]:
    return [datetime.datetime.fromtimestamp(row[name], datetime.timezone.utc) for row in rows]


def draw_prices(axes: Any, server: Server, symbol: str) -> None:
    quotes = server.ask(f"""SELECT toUnixTimestamp64Nano(ts_exchange) / 1e9 AS at, (bid_px1 + ask_px1) / 2 AS mid FROM market_data
        WHERE symbol = {{symbol:String}} AND event != 'trade' AND {within('ts_exchange')} AND bid_px1 IS NOT NULL AND ask_px1 IS NOT NULL ORDER BY ts_exchange, spool_seq""", symbol=symbol)
    fills = server.ask(f"""SELECT toUnixTimestamp64Nano(ts_exchange) / 1e9 AS at, side, toFloat64(fill_price) AS price FROM fills
        WHERE symbol = {{symbol:String}} AND {within('ts_exchange')} AND ts_exchange >= (SELECT min(ts_exchange) FROM market_data WHERE symbol = {{symbol:String}} AND {within('ts_exchange')})
        ORDER BY ts_exchange""", symbol=symbol)
    axes.plot(times(quotes, "at"), [row["mid"] for row in quotes], color=DIM, linewidth=0.8, label=f"mid, {len(quotes):,} quotes")
    for side, mark, color in (("buy", "^", GOOD), ("sell", "v", BAD)):
        its = [row for row in fills if row["side"] == side]
        axes.scatter(times(its, "at"), [row["price"] for row in its], marker=mark, color=color, s=36, zorder=3, label=f"{side}, {len(its)} fills")
    axes.set_title(f"{symbol}: mid price and fills", fontsize=10)
    axes.legend(loc="best", fontsize=8)


def draw_latency(axes: Any, server: Server) -> None:
    rows = server.ask(f"""SELECT (toUnixTimestamp64Nano(min(ts_send)) - toUnixTimestamp64Nano(min(ts_intent))) / 1e3 AS send,
            (toUnixTimestamp64Nano(min(ts_ack)) - toUnixTimestamp64Nano(min(ts_send))) / 1e3 AS ack FROM orders WHERE {within('ts_intent')} GROUP BY client_order_id""")
    for name, title, color in (("send", "intent to send", MAIN), ("ack", "send to answer", BAD)):
        values = sorted(max(row[name], 1) for row in rows if row[name] is not None)
        if not values:
            continue
        low, high = values[0], values[-1] * 1.01
        bounds = [low * (high / low) ** (step / 60) for step in range(61)]
        axes.hist(values, bins=bounds, alpha=0.6, color=color, label=f"{title}: p50 {values[len(values) // 2]:,.0f}, p99 {values[len(values) * 99 // 100]:,.0f} µs")
    axes.set_xscale("log")
    axes.set_title("latency of orders, µs", fontsize=10)
    axes.legend(loc="best", fontsize=8)


def draw_pnl(axes: Any, server: Server) -> None:
    rows = server.ask(f"SELECT account_id, toUnixTimestamp64Nano(ts) / 1e9 AS at, 100 * toFloat64(day_pnl) / nullIf(toFloat64(equity - day_pnl), 0) AS pnl FROM account_state WHERE {within('ts')} ORDER BY ts, spool_seq")
    for account in sorted({row["account_id"] for row in rows}):
        its = [row for row in rows if row["account_id"] == account]
        axes.plot(times(its, "at"), [row["pnl"] for row in its], linewidth=1, label=account)
    for row in server.ask(f"SELECT toUnixTimestamp64Nano(ts) / 1e9 AS at, next_mode FROM guardrail_transitions WHERE {within('ts')} AND next_mode IN ('storm', 'halt')"):
        axes.axvline(times([row], "at")[0], color=BAD if row["next_mode"] == "halt" else DIM, linewidth=0.6)
    axes.set_title("P&L of the day, % of the equity that it began with; lines: guardrail to storm (grey), to halt (red)", fontsize=10)
    axes.legend(loc="best", fontsize=8)


def draw_feed(axes: Any, server: Server, symbol: str) -> None:
    rows = server.ask(f"""SELECT toUnixTimestamp(toStartOfInterval(ts_local, INTERVAL 1 SECOND)) AS at, count() AS rows,
            quantileExact(0.5)(toUnixTimestamp64Nano(ts_local) - toUnixTimestamp64Nano(ts_exchange)) / 1e6 AS middle,
            quantileExact(0.99)(toUnixTimestamp64Nano(ts_local) - toUnixTimestamp64Nano(ts_exchange)) / 1e6 AS slow
        FROM market_data WHERE symbol = {{symbol:String}} AND {within('ts_exchange')} GROUP BY at ORDER BY at""", symbol=symbol)
    axes.plot(times(rows, "at"), [row["middle"] for row in rows], color=MAIN, linewidth=0.8, label="p50 of a second")
    axes.plot(times(rows, "at"), [row["slow"] for row in rows], color=BAD, linewidth=0.8, label="p99")
    gaps = 0
    for before, after in zip(rows, rows[1:]):
        if after["at"] - before["at"] > 5:
            gaps += 1
            axes.axvspan(times([before], "at")[0], times([after], "at")[0], color=DIM, alpha=0.3)
    lost = server.ask(f"""SELECT toUnixTimestamp64Nano(range_from) / 1e9 AS at, toUnixTimestamp64Nano(range_to) / 1e9 AS until, row_count FROM system_events
        WHERE event = 'rows_dropped' AND table_name = 'market_data' AND symbol IN ('', {{symbol:String}}) AND {within('range_from')}""", symbol=symbol)
    for row in lost:
        axes.axvspan(times([row], "at")[0], times([row], "until")[0], color=BAD, alpha=0.3)
    if rows:
        axes.set_xlim(times(rows[:1], "at")[0], times(rows[-1:], "at")[0])
    axes.set_title(f"{symbol}: feed latency, ms; grey: {gaps} gaps of more than 5 s, red: losses ({len(lost)} in the whole time)", fontsize=10)
    axes.legend(loc="best", fontsize=8)


def busiest(server: Server) -> str:
    """The symbol with the most fills among those with market data, or with the most market data."""
    rows = server.ask(f"""SELECT symbol, (SELECT count() FROM fills AS f WHERE f.symbol = m.symbol) AS fills FROM
        (SELECT symbol, count() AS rows FROM market_data WHERE {within('ts_exchange')} GROUP BY symbol) AS m ORDER BY rows DESC LIMIT 1""")
    if not rows:
        raise SystemExit("report: no market data in that time")
    with_fills = server.ask(f"""SELECT symbol, count() AS fills FROM fills WHERE {within('ts_exchange')}
        AND symbol IN (SELECT symbol FROM market_data WHERE {within('ts_exchange')}) GROUP BY symbol ORDER BY fills DESC, symbol LIMIT 1""")
    return str((with_fills or rows)[0]["symbol"])


def table(name: str, rows: list[Row]) -> str:
    def cell(value: Any) -> str:
        return html.escape("-" if value is None else f"{value:,.3f}" if isinstance(value, float) else ", ".join(f"{item:,.1f}" for item in value) if isinstance(value, list) else str(value))

    if not rows:
        return f"<h2>{name}</h2><p>nothing</p>"
    head = "".join(f"<th>{html.escape(column)}</th>" for column in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row.values()) + "</tr>" for row in rows)
    return f"<h2>{name}</h2><table><tr>{head}</tr>{body}</table>"


STYLE = "body{font:14px sans-serif;margin:2em;max-width:1500px}table{border-collapse:collapse;font-size:12px}td,th{border:1px solid #ccc;padding:2px 6px;text-align:right}img{max-width:100%}"


def report(server: Server, out: Path) -> None:
    symbol = busiest(server)
    figure, axes = plt.subplots(2, 2, figsize=(16, 9), constrained_layout=True)
    draw_prices(axes[0][0], server, symbol)
    draw_latency(axes[0][1], server)
    draw_pnl(axes[1][0], server)
    draw_feed(axes[1][1], server, symbol)
    for each in (axes[0][0], axes[1][0], axes[1][1]):
        each.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S" if each is not axes[1][0] else "%H:%M"))
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "report.png", dpi=90)
    picture = base64.b64encode((out / "report.png").read_bytes()).decode()
    parts = [table(name, server.ask_file(name)) for name in QUERIES]
    (out / "report.html").write_text(
        f"<!doctype html><meta charset=utf-8><title>Coldpath: {server.begin}</title><style>{STYLE}</style><h1>{server.begin} to {server.end}, UTC</h1>"
        f"<img src='data:image/png;base64,{picture}' alt='prices, latency, P&amp;L, feed'>{''.join(parts)}")
    print(f"{out / 'report.png'}\n{out / 'report.html'}")


def of_demo(out: Path) -> None:
    """The demo's events, loaded into an embedded ClickHouse."""
    sys.path.insert(0, str(ROOT / "demo"))
    from pipeline import Pipeline
    loader = importlib.machinery.SourceFileLoader("demo_run", str(ROOT / "demo" / "run"))
    demo = importlib.util.module_from_spec(importlib.util.spec_from_loader("demo_run", loader) or sys.exit("report: no demo"))
    loader.exec_module(demo)
    directory = Path(tempfile.mkdtemp(prefix="coldpath-report-"))
    pipeline = Pipeline(directory)
    try:
        files = demo.prepare_events(directory, None, demo.Screen())
        pipeline.start_clickhouse()
        pipeline.import_files(*files)
        pipeline.load_once()
        begin, end = pipeline.clickhouse.rows("SELECT toString(toUnixTimestamp(min(ts))), toString(toUnixTimestamp(max(ts)) + 1) FROM account_state")[0]
        report(Server(pipeline.clickhouse.url, "default", begin, end), out)
    finally:
        pipeline.kill()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="ClickHouse; without it the demo's data on an embedded one")
    parser.add_argument("--database", default="default")
    parser.add_argument("--from", dest="begin", default=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d} 00:00:00")
    parser.add_argument("--to", dest="end", default="2090-01-01 00:00:00")
    parser.add_argument("--out", type=Path, default=ROOT / ".build" / "report")
    options = parser.parse_args()
    if options.url:
        report(Server(options.url, options.database, options.begin, options.end), options.out)
    else:
        of_demo(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
