"""`queries/report.py`: what its pictures show, against what is computed here from the events that went in."""
from __future__ import annotations

import importlib.util
import math
import struct
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pipeline import ROOT
from test_queries import SECOND, Day, day  # noqa: F401


class Axes:
    """Notes what is drawn."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **more: self.calls[name].append((arguments, more))

    def labelled(self, name: str) -> dict[str, tuple[Any, ...]]:
        return {more["label"]: arguments for arguments, more in self.calls[name]}


@pytest.fixture(scope="module")
def report() -> Any:
    specification = importlib.util.spec_from_file_location("report", ROOT / "queries" / "report.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server(report: Any, day: Day) -> Any:  # noqa: F811
    return report.Server(day.pipeline.clickhouse.url, "default", str(day.begin // SECOND), str(day.end // SECOND))


def seconds(moments: list[datetime]) -> list[float]:
    return [moment.timestamp() for moment in moments]


def same(found: list[float], expected: list[float], tolerance: float) -> bool:
    return len(found) == len(expected) and all(math.isclose(a, b, rel_tol=1e-12, abs_tol=tolerance) for a, b in zip(found, expected))


def market(day: Day, symbol: str) -> list[dict[str, Any]]:  # noqa: F811
    return [event for event in day.tables["market_data"] if event["symbol"] == symbol and day.within(event["ts_exchange"])]


def test_prices_and_fills(report: Any, server: Any, day: Day) -> None:  # noqa: F811
    for symbol in ("BTCUSDT", "2330.TW"):
        axes = Axes()
        report.draw_prices(axes, server, symbol)
        quotes = sorted((event["ts_exchange"], (float(event["bid_px1"]) + float(event["ask_px1"])) / 2) for event in market(day, symbol)
                        if event["event"] != "trade" and "bid_px1" in event)
        (moments, mids), = [arguments for arguments, _ in axes.calls["plot"]]
        assert len(quotes) > 50
        assert same(seconds(moments), [at / 1e9 for at, _ in quotes], 1e-5) and same(mids, [mid for _, mid in quotes], 1e-9)
        first = min(event["ts_exchange"] for event in market(day, symbol))
        drawn = {label.split(",")[0]: arguments for label, arguments in axes.labelled("scatter").items()}
        for side in ("buy", "sell"):
            fills = sorted((fill["ts_exchange"], float(fill["fill_price"])) for fill in day.tables["fills"]
                           if fill["symbol"] == symbol and fill["side"] == side and day.within(fill["ts_exchange"]) and fill["ts_exchange"] >= first)
            assert fills
            assert same(sorted(seconds(drawn[side][0])), [at / 1e9 for at, _ in fills], 1e-5)
            assert same(sorted(drawn[side][1]), sorted(price for _, price in fills), 1e-9)


def test_latency_of_orders(report: Any, server: Any, day: Day) -> None:  # noqa: F811
    axes = Axes()
    report.draw_latency(axes, server)
    orders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in day.tables["orders"]:
        if day.within(event["ts_intent"]):
            orders[event["client_order_id"]].append(event)
    sends, acks = [], []
    for rows in orders.values():
        send, ack = (min((row[name] for row in rows if row.get(name) is not None), default=None) for name in ("ts_send", "ts_ack"))
        if send is not None:
            sends.append((send - rows[0]["ts_intent"]) / 1e3)
        if send is not None and ack is not None:
            acks.append((ack - send) / 1e3)
    assert len(sends) > len(acks) > 100
    drawn = {label.split(":")[0]: (arguments[0], more["bins"]) for arguments, more in axes.calls["hist"] for label in [more["label"]]}
    for name, values in (("intent to send", sends), ("send to answer", acks)):
        found, bins = drawn[name]
        assert same(found, sorted(max(value, 1) for value in values), 1e-6)
        assert bins[0] <= found[0] and found[-1] <= bins[-1], "every value lies in a bin"


def test_profit_and_the_guardrail(report: Any, server: Any, day: Day) -> None:  # noqa: F811
    axes = Axes()
    report.draw_pnl(axes, server)
    lines = axes.labelled("plot")
    accounts = {event["account_id"] for event in day.tables["account_state"]}
    assert set(lines) == accounts
    for account in accounts:
        rows = [event for event in day.tables["account_state"] if event["account_id"] == account and day.within(event["ts"])]
        moments, values = lines[account]
        assert same(seconds(moments), [row["ts"] / 1e9 for row in rows], 1e-5)
        for value, row in zip(values, rows):
            begun = float(row["equity"]) - float(row["day_pnl"])
            assert value is None if begun == 0 else math.isclose(value, 100 * float(row["day_pnl"]) / begun, rel_tol=1e-9, abs_tol=1e-12)
    drawn = [moment.timestamp() for (moment,), _ in axes.calls["axvline"]]
    transitions = [event["ts"] / 1e9 for event in day.tables["guardrail_transitions"] if day.within(event["ts"]) and event["next_mode"] in ("storm", "halt")]
    assert transitions and same(sorted(drawn), sorted(transitions), 1e-5)


def test_feed_and_its_gaps(report: Any, server: Any, day: Day) -> None:  # noqa: F811
    axes = Axes()
    report.draw_feed(axes, server, "BTCUSDT")
    by_second: dict[int, list[int]] = defaultdict(list)
    for event in market(day, "BTCUSDT"):
        by_second[event["ts_local"] // SECOND].append(event["ts_local"] - event["ts_exchange"])
    moments, middles = axes.labelled("plot")["p50 of a second"]
    assert seconds(moments) == sorted(by_second)
    # The value at the place that is asked for, of the sorted ones; ClickHouse takes the lower of two in the middle as the upper.
    for second, middle in zip(sorted(by_second), middles):
        values = sorted(by_second[second])
        assert middle * 1e6 == pytest.approx(values[len(values) // 2], abs=1)
    gaps = [(a, b) for a, b in zip(sorted(by_second), sorted(by_second)[1:]) if b - a > 5]
    losses = [(event["range_from"] / 1e9, event["range_to"] / 1e9) for event in day.tables["system_events"]
              if event["event"] == "rows_dropped" and event.get("table_name") == "market_data" and event.get("symbol", "") in ("", "BTCUSDT") and day.within(event["range_from"])]
    spans = sorted((a.timestamp(), b.timestamp()) for (a, b), _ in axes.calls["axvspan"])
    assert gaps and losses
    assert spans == [(pytest.approx(a, abs=1e-5), pytest.approx(b, abs=1e-5)) for a, b in sorted(gaps + losses)]


def test_the_page(report: Any, server: Any, day: Day, tmp_path: Path) -> None:  # noqa: F811
    report.report(server, tmp_path / "out")
    picture = (tmp_path / "out" / "report.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 1_000 and height > 600 and len(picture) > 20_000
    page = (tmp_path / "out" / "report.html").read_text()
    for name in report.QUERIES:
        rows = server.ask_file(name)
        part = page.split(f"<h2>{name}</h2>")[1].split("<h2>")[0]
        assert part.count("<tr>") == len(rows) + 1 if rows else "nothing" in part, name
    # Of the symbol with the most fills among those with market data.
    fills: dict[str, int] = defaultdict(int)
    for fill in day.tables["fills"]:
        if day.within(fill["ts_exchange"]):
            fills[fill["symbol"]] += 1
    quoted = {event["symbol"] for event in day.tables["market_data"] if day.within(event["ts_exchange"])}
    assert report.busiest(server) == max(sorted(symbol for symbol in fills if symbol in quoted), key=lambda symbol: fills[symbol])


def test_without_market_data_it_says_so(report: Any, day: Day, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(SystemExit, match="no market data in that time"):
        report.report(report.Server(day.pipeline.clickhouse.url, "default", "2001-01-01 00:00:00", "2001-01-02 00:00:00"), tmp_path)
