"""Market data as hftbacktest (2.x) takes it: its event array, from ClickHouse or straight from a spool.

    python -m coldpath.backtest --spool /var/lib/coldpath/spool --symbol BTCUSDT --since 2026-11-25 --until 2026-11-26 day.npz
    python -m coldpath.backtest --url http://127.0.0.1:8123 --symbol BTCUSDT --source binance --since 2026-11-25 --until 2026-11-26 day.npz

    events = coldpath.backtest.from_spool("/var/lib/coldpath/spool", "BTCUSDT")       # numpy array of EVENT
    hftbacktest.BacktestAsset().data(events)...

What becomes of a row of market_data (docs/backtest.md has the reasons):

* A trade is a trade with its taker's side. Where the feed did not say it, the price decides: above the middle of the last quote a buy, below it a sell, else as the
  trade before.
* Any other row is the book as it was seen: the levels that differ from the row before become depth events, those that are gone with quantity 0. Of rows with five
  levels all are used, of others the best.
* What happens at one exchange time is put in the order trade, then book: a trade comes before the depth that it took.
* Where the loss ledger (system_events) says that rows of the symbol are missing, both sides of the book are cleared when the gap begins, and the first row after
  it brings them back.
* Feed latency is made positive: if it is below `base_latency` anywhere, since the exchange's clock is ahead of ours, all local times are moved by what is missing.
"""
from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from . import spool as _spool
from .spool import Time

__all__ = ["EVENT", "Gap", "Source", "from_clickhouse", "from_spool", "order_latency", "to_events"]

EVENT = np.dtype([("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"), ("ival", "i8"), ("fval", "f8")], align=True)
"""hftbacktest's event: flags, times in nanoseconds, price, quantity."""
ORDER_LATENCY = np.dtype([("req_ts", "i8"), ("exch_ts", "i8"), ("resp_ts", "i8"), ("_padding", "i8")], align=True)

_DEPTH, _TRADE, _CLEAR = 1, 2, 3
_EXCHANGE, _LOCAL, _BUY, _SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_COLUMNS = ["ts_exchange", "ts_local", "symbol", "event", "bid_px1", "bid_sz1", "ask_px1", "ask_sz1", "bid_px", "bid_sz", "ask_px", "ask_sz", "last_price", "last_qty",
            "aggressor", "source", "spool_writer", "spool_seq"]


@dataclass(frozen=True)
class Gap:
    """Event times of the first and the last row that is missing, nanoseconds."""

    begin: int
    end: int


class Source(ValueError):
    """Several sources say something of the symbol: each has a book of its own."""


def from_spool(path: str, symbol: str, source: str | None = None, since: Time | None = None, until: Time | None = None, base_latency: int = 1_000) -> np.ndarray[Any, Any]:
    """Events of a symbol out of a spool's files."""
    spool = _spool.Spool(path)
    rows = spool.table("market_data", _COLUMNS, since, until)
    ledger = spool.table("system_events", ["event", "table_name", "symbol", "range_from", "range_to"]) if "system_events" in spool.tables() else pa.table({})
    return to_events(_of_symbol(rows, symbol, source), _gaps(ledger, symbol), base_latency)


def from_clickhouse(url: str, symbol: str, source: str | None = None, since: Time | None = None, until: Time | None = None, base_latency: int = 1_000, *,
                    database: str = "default", user: str | None = None, password: str | None = None) -> np.ndarray[Any, Any]:
    """The same out of ClickHouse, over HTTP."""
    def ask(sql: str) -> pa.Table:
        settings = {"database": database, "param_symbol": symbol, "default_format": "ArrowStream", "output_format_arrow_string_as_string": "1",
                    "output_format_arrow_low_cardinality_as_dictionary": "0", "output_format_arrow_compression_method": "none"}
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password or ""} if user else {}
        request = urllib.request.Request(f"{url.rstrip('/')}/?{urllib.parse.urlencode(settings)}", sql.encode(), headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return pa.ipc.open_stream(answer.read()).read_all()
        except urllib.error.HTTPError as error:
            raise OSError(f"ClickHouse at {url}: {error.read(400).decode(errors='replace')}") from error

    times = [f"ts_exchange {sign} fromUnixTimestamp64Nano({_spool._nanoseconds(time)}, 'UTC')" for sign, time in ((">=", since), ("<", until)) if time is not None]
    # Enums as texts: Arrow has numbers for them.
    columns = ", ".join(f"toString({name}) AS {name}" if name in ("event", "aggressor") else name for name in _COLUMNS)
    rows = ask(f"SELECT {columns} FROM market_data WHERE {' AND '.join(['symbol = {symbol:String}', *times])}")
    ledger = ask("SELECT event, table_name, symbol, range_from, range_to FROM system_events WHERE event = 'rows_dropped' AND symbol IN ('', {symbol:String})")
    return to_events(_of_symbol(rows, symbol, source), _gaps(ledger, symbol), base_latency)


def to_events(rows: pa.Table, gaps: Iterable[Gap] = (), base_latency: int = 1_000) -> np.ndarray[Any, Any]:
    """Events of rows of market_data of one symbol and source.

    gaps            where rows are missing
    base_latency    nanoseconds that the smallest feed latency is to have at least
    """
    if rows.num_rows == 0:
        return np.empty(0, EVENT)
    order = np.lexsort((_numbers(rows, "spool_seq"), _texts(rows, "event") != "trade", _numbers(rows, "ts_local")))
    rows = rows.take(pa.array(order))
    exchange, local = _numbers(rows, "ts_exchange"), _numbers(rows, "ts_local")
    builder = _Builder()
    pending = sorted(gaps, key=lambda gap: gap.begin)
    columns = [_texts(rows, "event").tolist(), *(rows[name].to_pylist() for name in _COLUMNS[4:14]), _texts(rows, "aggressor").tolist()]
    for exch, at, event, bid, bid_size, ask, ask_size, bids, bid_sizes, asks, ask_sizes, price, quantity, aggressor in zip(exchange.tolist(), local.tolist(), *columns):
        while pending and pending[0].begin <= exch:
            gap = pending.pop(0)
            builder.clear(gap.begin, gap.begin + max(at - exch, 0))
        if event == "trade":
            builder.trade(exch, at, price, quantity, aggressor)
        else:
            builder.book(exch, at, _levels(bid, bid_size, bids, bid_sizes, -1), _levels(ask, ask_size, asks, ask_sizes, 1))
    return _ordered(builder.array(), base_latency)


def order_latency(rows: pa.Table) -> np.ndarray[Any, Any]:
    """What hftbacktest's latency model of orders takes, out of rows of `orders`: each order that was sent and answered, once. The exchange's own time is not
    recorded: it is put in the middle."""
    sent, acked = _numbers(rows, "ts_send"), _numbers(rows, "ts_ack")
    known = ~(rows["ts_send"].is_null().to_numpy() | rows["ts_ack"].is_null().to_numpy())
    first: dict[str, tuple[int, int]] = {}
    for name, request, response in zip(np.asarray(rows["client_order_id"].to_pylist(), object)[known], sent[known].tolist(), acked[known].tolist()):
        first.setdefault(name, (request, response))
    found = np.zeros(len(first), ORDER_LATENCY)
    for index, (request, response) in enumerate(sorted(first.values())):
        found[index] = (request, (request + response) // 2, response, 0)
    return found


# MARK: Rows


def _numbers(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    column = rows[name]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    return column.fill_null(0).to_numpy()


def _texts(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    column = rows[name]
    return np.asarray((column.cast(pa.string()) if not pa.types.is_string(column.type) else column).to_pylist(), object)


def _of_symbol(rows: pa.Table, symbol: str, source: str | None) -> pa.Table:
    if rows.num_rows == 0:
        return rows
    rows = rows.filter(pa.array(_texts(rows, "symbol") == symbol))
    sources = _texts(rows, "source")
    if source is None:
        if len(found := sorted(set(sources.tolist()))) > 1:
            raise Source(f"{symbol} has rows of several sources: {', '.join(found)}; name one")
        return rows
    return rows.filter(pa.array(sources == source))


def _gaps(ledger: pa.Table, symbol: str) -> list[Gap]:
    found = []
    for row in ledger.to_pylist() if ledger.num_rows else []:
        if row["event"] == "rows_dropped" and row["table_name"] == "market_data" and row["symbol"] in ("", symbol) and row["range_from"] is not None:
            found.append(Gap(_moment(row["range_from"]), _moment(row["range_to"] or row["range_from"])))
    return found


def _moment(time: Any) -> int:
    return int(time.value) if hasattr(time, "value") else _spool._nanoseconds(time) or 0


Levels = dict[float, float]


def _levels(best: float | None, size: float | None, prices: Sequence[float] | None, sizes: Sequence[float] | None, direction: int) -> Levels:
    """Price to quantity. The best level is that of the best quote; the depth, which may be an older picture, says what lies behind it."""
    if best is None:
        return {}
    levels = {best: size if size is not None else 0.0}
    for price, quantity in zip(prices or (), sizes or ()):
        if (price - best) * direction > 0:
            levels[price] = quantity
    return levels


# MARK: Events


class _Builder:
    """Turns pictures of a book into what changed in it."""

    def __init__(self) -> None:
        self._events: list[tuple[int, int, int, float, float]] = []
        self._bids: Levels = {}
        self._asks: Levels = {}
        self._side = _BUY

    def trade(self, exchange: int, local: int, price: float, quantity: float, aggressor: str) -> None:
        self._events.append((_TRADE | self._side_of(price, aggressor), exchange, local, price, quantity))

    def _side_of(self, price: float, aggressor: str) -> int:
        if aggressor in ("buy", "sell"):
            self._side = _BUY if aggressor == "buy" else _SELL
        elif self._bids and self._asks:
            middle = (max(self._bids) + min(self._asks)) / 2
            if price != middle:
                self._side = _BUY if price > middle else _SELL
        return self._side

    def book(self, exchange: int, local: int, bids: Levels, asks: Levels) -> None:
        for side, before, now in ((_BUY, self._bids, bids), (_SELL, self._asks, asks)):
            # What is gone first: so the book is never crossed in between.
            for price in before:
                if price not in now:
                    self._events.append((_DEPTH | side, exchange, local, price, 0.0))
            for price, quantity in now.items():
                if before.get(price) != quantity:
                    self._events.append((_DEPTH | side, exchange, local, price, quantity))
        self._bids, self._asks = bids, asks

    def clear(self, exchange: int, local: int) -> None:
        # A price that is no number clears the whole side.
        self._events += [(_CLEAR | side, exchange, local, float("nan"), 0.0) for side in (_BUY, _SELL)]
        self._bids, self._asks = {}, {}

    def array(self) -> np.ndarray[Any, Any]:
        array = np.zeros(len(self._events), EVENT)
        for name, values in zip(("ev", "exch_ts", "local_ts", "px", "qty"), zip(*self._events)):
            array[name] = values
        return array


def _ordered(events: np.ndarray[Any, Any], base_latency: int) -> np.ndarray[Any, Any]:
    """In both orders at once, as hftbacktest wants them: an event that comes at another place by the exchange's time than by ours stands twice, once for each."""
    if len(events) == 0:
        return events
    short = base_latency - int((events["local_ts"] - events["exch_ts"]).min())
    if short > 0:
        events["local_ts"] += short
    is_trade = (events["ev"] & 0xFF) == _TRADE
    is_clear = (events["ev"] & 0xFF) == _CLEAR
    # Within one moment: the gap, trades, the book.
    rank = np.where(is_clear, 0, np.where(is_trade, 1, 2))
    places = np.arange(len(events))
    by_exchange, by_local = np.lexsort((places, rank, events["exch_ts"])), np.lexsort((places, rank, events["local_ts"]))
    chosen: list[int] = []
    flags: list[int] = []
    one, other, count = 0, 0, len(events)
    exchange, local = events["exch_ts"].tolist(), events["local_ts"].tolist()
    first, second = by_exchange.tolist(), by_local.tolist()
    while one < count or other < count:
        if one < count and other < count and first[one] == second[other]:
            chosen.append(first[one])
            flags.append(_EXCHANGE | _LOCAL)
            one, other = one + 1, other + 1
        elif other == count or (one < count and (exchange[first[one]], local[first[one]]) <= (exchange[second[other]], local[second[other]])):
            chosen.append(first[one])
            flags.append(_EXCHANGE)
            one += 1
        else:
            chosen.append(second[other])
            flags.append(_LOCAL)
            other += 1
    result = events[np.asarray(chosen)]
    result["ev"] |= np.asarray(flags, np.uint64)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m coldpath.backtest", description=(__doc__ or "").splitlines()[0])
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--spool", metavar="DIR", help="read the files of this spool")
    place.add_argument("--url", help="ask ClickHouse at this address")
    parser.add_argument("--database", default="default")
    parser.add_argument("--user", help="the password is asked for on standard input")
    parser.add_argument("--symbol", required=True)
    parser.add_argument("--source", help="needed where several sources say something of the symbol")
    parser.add_argument("--since", help="event times from here on: a date, or RFC 3339")
    parser.add_argument("--until", help="event times before this")
    parser.add_argument("--base-latency", type=int, default=1_000, metavar="NS", help="least feed latency, nanoseconds (1000)")
    parser.add_argument("output", help="NAME.npz")
    options = parser.parse_args(arguments)
    more = (options.symbol, options.source, options.since, options.until, options.base_latency)
    try:
        if options.spool:
            events = from_spool(options.spool, *more)
        else:
            password = sys.stdin.readline().rstrip("\n") if options.user else None
            events = from_clickhouse(options.url, *more, database=options.database, user=options.user, password=password)
    except (OSError, Source, ValueError, _spool.Damage) as error:
        print(f"coldpath.backtest: {error}", file=sys.stderr)
        return 74 if isinstance(error, (OSError, _spool.Damage)) else 64
    if len(events) == 0:
        print(f"coldpath.backtest: no rows of {options.symbol} in that time", file=sys.stderr)
        return 1
    np.savez_compressed(options.output, data=events)
    kinds = events["ev"] & 0xFF
    print(f"{len(events)} events: {int((kinds == _TRADE).sum())} trades, {int((kinds == _DEPTH).sum())} depth, {int((kinds == _CLEAR).sum())} clears")
    return 0


if __name__ == "__main__":
    sys.exit(main())
