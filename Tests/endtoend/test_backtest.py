"""`coldpath.backtest`: what hftbacktest is given, and that a backtest says the same as with its own converter."""
from __future__ import annotations

import datetime
import gzip
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clients
from conftest import MakePipeline
from pipeline import ROOT, Pipeline, binary, run

MS = 1_000_000
START = 1_790_000_000_000 * MS
DEPTH, TRADE, CLEAR = 1, 2, 3
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28


@pytest.fixture(scope="module")
def backtest() -> Any:
    sys.path.insert(0, str(clients.python_packages()))
    import coldpath.backtest
    return coldpath.backtest


def imported(pipeline: Pipeline, events: list[dict[str, Any]], name: str = "events") -> None:
    path = pipeline.directory / f"{name}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    pipeline.import_files(path)


def quote(exchange: float, local: float, bid: tuple[float, float] | None = None, ask: tuple[float, float] | None = None, **more: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"table": "market_data", "ts_exchange": START + int(exchange * MS), "ts_local": START + int(local * MS), "symbol": "X", "source": "s", "event": "quote"}
    if bid:
        event |= {"bid_px1": bid[0], "bid_sz1": bid[1]}
    if ask:
        event |= {"ask_px1": ask[0], "ask_sz1": ask[1]}
    return event | more


def trade(exchange: float, local: float, price: float, quantity: float, aggressor: str) -> dict[str, Any]:
    return quote(exchange, local, event="trade", last_price=price, last_qty=quantity, aggressor=aggressor)


def plain(events: Any) -> list[tuple[int, int, str, float, float, float, float]]:
    """Kind, side, whose, exchange and local time in ms since the start, price, quantity."""
    return [(int(event["ev"]) & 0xFF, 1 if int(event["ev"]) & BUY else -1, ("e" if int(event["ev"]) & EXCHANGE else "") + ("l" if int(event["ev"]) & LOCAL else ""),
             (int(event["exch_ts"]) - START) / MS, (int(event["local_ts"]) - START) / MS, float(event["px"]), float(event["qty"])) for event in events]


def test_pictures_become_what_changed(backtest: Any, make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline()
    imported(pipeline, [
        quote(0, 1, (10, 1), (11, 2)),
        quote(1, 2, (10, 3), (11, 2)),
        quote(2, 3, (9, 5), (11, 2), bid_px=[10, 9, 8], bid_sz=[7, 5, 6], ask_px=[11, 12], ask_sz=[9, 4]),
        quote(3, 4, (9, 5), None),
    ])
    assert plain(backtest.from_spool(pipeline.spool, "X")) == [
        (DEPTH, 1, "el", 0, 1, 10, 1), (DEPTH, -1, "el", 0, 1, 11, 2),
        (DEPTH, 1, "el", 1, 2, 10, 3),
        # The best quote is newer than the depth, which still has 10, and another quantity at 11.
        (DEPTH, 1, "el", 2, 3, 10, 0), (DEPTH, 1, "el", 2, 3, 9, 5), (DEPTH, 1, "el", 2, 3, 8, 6), (DEPTH, -1, "el", 2, 3, 12, 4),
        (DEPTH, 1, "el", 3, 4, 8, 0), (DEPTH, -1, "el", 3, 4, 11, 0), (DEPTH, -1, "el", 3, 4, 12, 0),
    ]


def test_trades_come_before_the_depth_that_they_took(backtest: Any, make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline()
    # The book's message arrives before that of the trade, though the exchange did both at one moment.
    imported(pipeline, [quote(0, 1, (10, 1), (12, 2)), quote(5, 6, (10, 1), (12, 1)), trade(5, 7, 12, 1, "unknown"), trade(8, 9, 10, 1, "unknown"), trade(9, 10, 11, 1, "unknown")])
    found = plain(backtest.from_spool(pipeline.spool, "X"))
    assert [event[:4] for event in found if "e" in event[2]] == [
        (DEPTH, 1, "el", 0), (DEPTH, -1, "el", 0), (TRADE, 1, "el", 5), (DEPTH, -1, "e", 5), (TRADE, -1, "el", 8), (TRADE, -1, "el", 9)]
    assert [event[4] for event in found if "l" in event[2]] == [1, 1, 6, 7, 9, 10]


def test_latency_is_made_positive_for_all(backtest: Any, make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline()
    imported(pipeline, [quote(0, -1200, (10, 1), (12, 2)), quote(5, 7, (10, 2), (12, 2))])
    latencies = {round((event[4] - event[3]) * 1000) for event in plain(backtest.from_spool(pipeline.spool, "X", base_latency=250_000))}
    assert latencies == {250, 1_202_250}


def test_where_rows_are_missing_the_book_is_cleared(backtest: Any, make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline()
    loss = {"table": "system_events", "component": "spool-writer", "event": "rows_dropped", "table_name": "market_data", "row_count": 5, "reason": "shed"}
    imported(pipeline, [
        quote(0, 1, (10, 1), (12, 2)), quote(50, 52, (10, 1), (12, 2)), quote(60, 61, (10, 1), (12, 2)),
        {**loss, "ts": START, "symbol": "X", "range_from": START + 20 * MS, "range_to": START + 40 * MS},
        {**loss, "ts": START, "symbol": "Y", "range_from": START + 55 * MS, "range_to": START + 56 * MS},
        {**loss, "ts": START, "symbol": "", "table_name": "metrics_timeseries", "range_from": START + 55 * MS, "range_to": START + 56 * MS},
    ])
    found = plain(backtest.from_spool(pipeline.spool, "X"))
    assert [event[:5] for event in found] == [
        (DEPTH, 1, "el", 0, 1), (DEPTH, -1, "el", 0, 1), (CLEAR, 1, "el", 20, 22), (CLEAR, -1, "el", 20, 22), (DEPTH, 1, "el", 50, 52), (DEPTH, -1, "el", 50, 52)]
    assert all(math.isnan(event[5]) for event in found if event[0] == CLEAR)


class Exchange:
    """A book of at most five levels a side, as the messages of an exchange and as rows of market_data."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bids = {100.0 - level / 10: float(self.rng.randrange(1, 50)) for level in range(5)}
        self.asks = {100.1 + level / 10: float(self.rng.randrange(1, 50)) for level in range(5)}
        self.raw: list[tuple[int, dict[str, Any]]] = []
        self.rows: list[dict[str, Any]] = []
        self.now, self.local = START // MS, START

    def play(self, steps: int) -> None:
        self._publish({}, {})
        for _ in range(steps):
            self.now += self.rng.choice((0, 1, 1, 5, 20))
            before = dict(self.bids), dict(self.asks)
            if self.rng.random() < 0.25:
                self._trade()
            else:
                self._requote()
            if before != (self.bids, self.asks):
                self._publish(*before)

    def _arrival(self) -> int:
        self.local = max(self.local + 1, self.now * MS + self.rng.randrange(100_000, 6 * MS))
        return self.local

    def _trade(self) -> None:
        is_buy = self.rng.random() < 0.5
        side = self.asks if is_buy else self.bids
        price = min(side) if is_buy else max(side)
        quantity = float(self.rng.randrange(1, int(side[price]) + 1))
        side[price] -= quantity
        if side[price] == 0:
            del side[price]
        at = self._arrival()
        self.raw.append((at, {"stream": "x@trade", "data": {"e": "trade", "E": self.now, "T": self.now, "s": "X", "p": f"{price:.1f}", "q": f"{quantity:.3f}", "X": "MARKET", "m": not is_buy}}))
        self.rows.append(quote(0, 0, event="trade", last_price=price, last_qty=quantity, aggressor="buy" if is_buy else "sell", ts_exchange=self.now * MS, ts_local=at))
        if not side:
            side[price] = 5.0

    def _requote(self) -> None:
        for side, step in ((self.bids, -1), (self.asks, 1)):
            if self.rng.random() < 0.3 and len(side) > 1:
                del side[self.rng.choice(sorted(side))]
            best = max(side) if step < 0 else min(side)
            price = round(best + self.rng.randrange(-1, 5) * step / 10, 1)
            if (price < min(self.asks)) if step < 0 else (price > max(self.bids)):
                side[price] = float(self.rng.randrange(1, 50))
            for far in sorted(side, reverse=step < 0)[5:]:
                del side[far]

    def _publish(self, bids: dict[float, float], asks: dict[float, float]) -> None:
        at = self._arrival()
        changes = [[[f"{price:.1f}", f"{now.get(price, 0):.3f}"] for price in sorted({*old, *now}) if old.get(price) != now.get(price)] for old, now in ((bids, self.bids), (asks, self.asks))]
        self.raw.append((at, {"stream": "x@depth@0ms", "data": {"e": "depthUpdate", "E": self.now, "T": self.now, "s": "X", "b": changes[0], "a": changes[1]}}))
        known = [(sorted(side, reverse=reverse), side) for side, reverse in ((self.bids, True), (self.asks, False))]
        (bid, bid_side), (ask, ask_side) = known
        self.rows.append(quote(0, 0, (bid[0], bid_side[bid[0]]), (ask[0], ask_side[ask[0]]), bid_px=bid, bid_sz=[bid_side[price] for price in bid], ask_px=ask,
                               ask_sz=[ask_side[price] for price in ask], ts_exchange=self.now * MS, ts_local=at))

    def write(self, path: Path) -> None:
        with gzip.open(path, "wt") as file:
            file.writelines(f"{at} {json.dumps(message)}\n" for at, message in self.raw)


def simulated(path: Path, tick: float, step: int) -> tuple[Any, list[float]]:
    """A strategy that takes now and quotes now: what it saw of the book each moment, and what became of it."""
    from hftbacktest import GTC, GTX, LIMIT, BacktestAsset, HashMapMarketDepthBacktest
    from numba import njit

    @njit
    def strategy(hbt, seen, end):  # type: ignore[no-untyped-def]
        number, rows = 0, 0
        while rows < len(seen) and hbt.elapse(step) == 0:
            depth = hbt.depth(0)
            seen[rows, 0], seen[rows, 1], seen[rows, 2], seen[rows, 3] = depth.best_bid, depth.best_ask, depth.best_bid_qty, depth.best_ask_qty
            rows += 1
            hbt.clear_inactive_orders(0)
            if rows % 40 == 0:
                number += 1
                if number % 4 == 0:
                    hbt.submit_buy_order(0, number, depth.best_ask, 0.5, GTC, LIMIT, False)
                elif number % 4 == 1:
                    hbt.submit_sell_order(0, number, depth.best_bid, 0.5, GTC, LIMIT, False)
                elif number % 4 == 2:
                    hbt.submit_buy_order(0, number, depth.best_bid, 0.5, GTX, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, number, depth.best_ask, 0.5, GTX, LIMIT, False)
        state = hbt.state_values(0)
        end[0], end[1], end[2], end[3], end[4] = state.position, state.balance, state.fee, state.num_trades, state.trading_volume
        return rows

    asset = (BacktestAsset().data([str(path)]).linear_asset(1.0).constant_order_latency(2 * MS, 2 * MS).risk_adverse_queue_model().no_partial_fill_exchange()
             .trading_value_fee_model(-0.00005, 0.0004).tick_size(tick).lot_size(0.001).last_trades_capacity(0))
    hbt = HashMapMarketDepthBacktest([asset])
    seen, end = np.full((50_000, 4), np.nan), np.zeros(5)
    rows = strategy(hbt, seen, end)
    hbt.close()
    return seen[:rows], end.tolist()


def test_a_backtest_on_five_levels_says_the_same_as_with_hftbacktests_own_converter(backtest: Any, make_pipeline: MakePipeline, tmp_path: Path) -> None:
    from hftbacktest.data import validate_event_order
    from hftbacktest.data.utils import binancefutures
    exchange = Exchange(3)
    exchange.play(6_000)
    exchange.write(tmp_path / "raw.gz")
    theirs = binancefutures.convert(str(tmp_path / "raw.gz"), str(tmp_path / "theirs.npz"), buffer_size=1_000_000)
    pipeline: Pipeline = make_pipeline()
    imported(pipeline, exchange.rows)
    ours = backtest.from_spool(pipeline.spool, "X", base_latency=0)
    validate_event_order(ours)
    assert (ours["ev"] & EXCHANGE != 0).sum() == (theirs["ev"] & EXCHANGE != 0).sum()
    np.savez_compressed(tmp_path / "ours.npz", data=ours)
    (seen, end), (expected, right) = simulated(tmp_path / "ours.npz", 0.1, 10 * MS), simulated(tmp_path / "theirs.npz", 0.1, 10 * MS)
    assert len(seen) == len(expected) > 2_000 and np.array_equal(seen, expected, equal_nan=True)
    assert end == right and end[3] > 40, (end, right)


def test_out_of_clickhouse_it_is_the_same(backtest: Any, make_pipeline: MakePipeline, tmp_path: Path) -> None:
    exchange = Exchange(4)
    exchange.play(800)
    shift = int(datetime.datetime.now(datetime.timezone.utc).timestamp() * 1000) * MS - START - 3_600_000 * MS
    for row in exchange.rows:
        row["ts_exchange"] += shift
        row["ts_local"] += shift
    loss = {"table": "system_events", "ts": START + shift, "component": "w", "event": "rows_dropped", "table_name": "market_data", "row_count": 1, "symbol": "X",
            "range_from": exchange.rows[300]["ts_exchange"] - 1, "range_to": exchange.rows[301]["ts_exchange"]}
    pipeline: Pipeline = make_pipeline()
    pipeline.start_clickhouse()
    imported(pipeline, [*exchange.rows, loss, quote(0, 0, (1, 1), (2, 2), symbol="Y", ts_exchange=START + shift, ts_local=START + shift)])
    pipeline.load_once()
    since, until = (exchange.rows[place]["ts_exchange"] for place in (50, 700))
    spool = backtest.from_spool(pipeline.spool, "X", since=since, until=until)
    server = backtest.from_clickhouse(pipeline.clickhouse.url, "X", since=since, until=until)
    assert len(spool) > 1_000 and spool.tobytes() == server.tobytes() and (spool["ev"] & 0xFF == CLEAR).sum() == 2
    # By command, from both; and what it says when there is nothing, or too much.
    environment = clients.environment()

    def said(*more: str, expect: int = 0) -> str:
        done = subprocess.run([sys.executable, "-m", "coldpath.backtest", *more], env=environment, capture_output=True, text=True)
        assert done.returncode == expect, done.stderr
        return done.stdout + done.stderr

    for place in (("--spool", str(pipeline.spool)), ("--url", pipeline.clickhouse.url)):
        output = tmp_path / f"{place[0][2:]}.npz"
        assert "trades" in said(*place, "--symbol", "X", str(output))
        assert np.load(output)["data"].dtype == backtest.EVENT
        assert "no rows of Z" in said(*place, "--symbol", "Z", str(output), expect=1)
    imported(pipeline, [quote(0, 1, (10, 1), (11, 1), source="other")], "more")
    assert "several sources: other, s" in said("--spool", str(pipeline.spool), "--symbol", "X", "x.npz", expect=64)
    assert "ClickHouse" in said("--url", pipeline.clickhouse.url, "--database", "none", "--symbol", "X", "x.npz", expect=74)


def test_latency_of_orders(backtest: Any, make_pipeline: MakePipeline, day_file: Path) -> None:
    pipeline: Pipeline = make_pipeline()
    pipeline.import_files(day_file)
    from coldpath.spool import Spool
    rows = Spool(pipeline.spool).table("orders")
    found = backtest.order_latency(rows)
    sent = {row["client_order_id"]: (row["ts_send"].value, row["ts_ack"].value) for row in rows.to_pylist() if row["ts_send"] is not None and row["ts_ack"] is not None}
    assert sorted(zip(found["req_ts"].tolist(), found["resp_ts"].tolist())) == sorted(sent.values()) and len(found) > 100
    assert (found["exch_ts"] >= found["req_ts"]).all() and (found["exch_ts"] <= found["resp_ts"]).all()


BESIDE = ROOT.parent / "shared"


@pytest.mark.skipif(not list((BESIDE / "data").glob("*.gz")), reason="no real capture lies beside the checkout")
def test_a_backtest_on_a_real_capture(backtest: Any, make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """Not the same, since rows have the best quote as it is streamed at once, and hftbacktest's converter the depth that comes in batches (docs/backtest.md)."""
    from hftbacktest.data import validate_event_order
    from hftbacktest.data.utils import binancefutures
    capture = sorted((BESIDE / "data").glob("*.gz"))[0]
    pipeline: Pipeline = make_pipeline()
    events = tmp_path / "events.jsonl"
    with events.open("w") as file:
        subprocess.run([sys.executable, BESIDE / "tools" / "binance_to_market_data.py", capture, "--as-recorded"], stdout=file, check=True)
    pipeline.import_files(events)
    ours = backtest.from_spool(pipeline.spool, "BTCUSDT")
    validate_event_order(ours)
    np.savez_compressed(tmp_path / "ours.npz", data=ours)
    binancefutures.convert(str(capture), str(tmp_path / "theirs.npz"), base_latency=1_000, buffer_size=5_000_000)
    (seen, end), (expected, right) = simulated(tmp_path / "ours.npz", 0.1, 50 * MS), simulated(tmp_path / "theirs.npz", 0.1, 50 * MS)
    rows = min(len(seen), len(expected))
    known = ~np.isnan(seen[:rows]).any(axis=1) & ~np.isnan(expected[:rows]).any(axis=1)
    apart = np.abs(seen[:rows] - expected[:rows])[known]
    print(f"best prices equal in {(apart[:, :2] < 0.05).all(axis=1).mean():.3f} of {known.sum()} moments, {apart[:, :2].mean():.3f} apart on average; {end} and {right}")
    assert known.mean() > 0.99 and (apart[:, :2] < 0.05).all(axis=1).mean() > 0.85 and apart[:, :2].mean() < 2
    assert end[3] > 50 and abs(end[3] - right[3]) < 0.2 * right[3]


def test_the_package_is_needed_for_nothing_else() -> None:
    """Who only publishes installs neither numpy nor pyarrow."""
    source = (ROOT / "clients/python/coldpath/__init__.py").read_text()
    assert "numpy" not in source and "pyarrow" not in source
    assert run([str(binary("spool-writer")), "--version"]).stdout
