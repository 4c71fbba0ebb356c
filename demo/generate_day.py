#!/usr/bin/env python3
"""Generate a consistent trading day as JSON lines, one event a line, for every table except market_data.

The day hangs together, so that it can be checked after it has been through the recorder:

* an intent is judged by the risk engine, then becomes an order that is new, sent, acked, partially filled and in the
  end filled, cancelled, expired or rejected, with one `orders` row for each status;
* the fills of an order sum to its filled quantity;
* a position snapshot is the running sum of the fills reported before it (by ts_local);
* equity = starting equity + realized + unrealized P&L - fees, to the last digit: all money is integer arithmetic.

The same value is written in different ways on purpose (decimals as strings and as numbers, timestamps as integers and
as RFC 3339 with offsets, optional fields absent or null, escapes, unicode), and the extremes of the types occur, all in
rows that take no part in the sums.

Equal arguments, --end included, give equal bytes.
"""
from __future__ import annotations

import argparse
import datetime
import json
import random
import re
import sys
import time
from dataclasses import dataclass, field
from typing import IO, Any, Callable, Iterator

TABLES = (
    "orders", "fills", "positions_intraday", "account_state", "risk_decisions",
    "guardrail_transitions", "system_events", "metrics_timeseries",
)

SECOND = 1_000_000_000
MICROSECOND = 1_000
UNIT = 10 ** 10
"""Money and quantities are integers of 10^-10, the scale of Decimal(38, 10)."""

LARGEST_DECIMAL = 10 ** 38 - 1
# The recorder takes times from 1973-03-03T09:46:40Z, below which an integer is more likely in another unit, to the end
# of ClickHouse's DateTime.
EARLIEST_TIME = 10 ** 17
LATEST_TIME = 3_786_912_000_000_000_000  # 2090-01-01: the last time that spool-writer takes
LARGEST_UINT64 = 2 ** 64 - 1

Row = dict[str, Any]


# Values and how they are written


class Number(str):
    """JSON number text that is written as it stands, so that no float ever touches it."""


@dataclass(frozen=True)
class Money:
    """An exact decimal, as an integer of 10^-10."""

    units: int


@dataclass(frozen=True)
class Instant:
    """A time in nanoseconds since the Unix epoch."""

    ns: int


def decimal_text(units: int) -> str:
    """The shortest plain decimal for an integer of 10^-10."""
    whole, fraction = divmod(abs(units), UNIT)
    sign = "-" if units < 0 else ""
    digits = f"{fraction:010d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def exponent_text(units: int) -> str:
    """The same value in scientific notation, as some JSON encoders write small numbers."""
    mantissa, exponent = units, -10
    while mantissa and mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    return f"{mantissa}e{exponent}"


def rfc3339(ns: int, offset_minutes: int | None, digits: int) -> str:
    """A time as RFC 3339 with that many digits of fraction (which must hold it exactly); None is Z."""
    seconds, fraction = divmod(ns, SECOND)
    shown = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds, minutes=offset_minutes or 0)
    text = shown.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    if digits:
        text += f".{fraction:09d}"[: digits + 1]
    if offset_minutes is None:
        return text + "Z"
    sign = "-" if offset_minutes < 0 else "+"
    return f"{text}{sign}{abs(offset_minutes) // 60:02d}:{abs(offset_minutes) % 60:02d}"


def parse_time(text: str) -> int:
    """Nanoseconds since the Unix epoch from `now`, or from RFC 3339 with up to nine digits of fraction."""
    if text == "now":
        return time.time_ns()
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is neither `now` nor RFC 3339 such as 2026-01-02T16:00:00Z")
    date, clock, fraction, sign, hours, minutes = match.groups()
    moment = datetime.datetime.fromisoformat(f"{date}T{clock}+00:00")
    seconds = int(moment.timestamp())
    if sign:
        seconds -= (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)
    return seconds * SECOND + int((fraction or "").ljust(9, "0"))


class Encoder:
    """Writes events as JSON, choosing among the ways in which producers write the same value."""

    OFFSETS = (None, 0, 480, -300, 330, -570)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}-encoder")

    def line(self, table: str, row: Row) -> str:
        """One JSON object; fields whose value is `...` are left out."""
        parts = [f'"table":{json.dumps(table)}']
        parts += [f"{json.dumps(name)}:{self._value(value)}" for name, value in row.items() if value is not ...]
        if self._random.random() < 0.02:
            parts = parts[1:] + parts[:1]
        separator = ", " if self._random.random() < 0.05 else ","
        return "{" + separator.join(parts) + "}"

    def _value(self, value: Any) -> str:
        if isinstance(value, Number):
            return str(value)
        if isinstance(value, Money):
            return self._money(value.units)
        if isinstance(value, Instant):
            return self._time(value.ns)
        if isinstance(value, list):
            return "[" + ",".join(self._value(item) for item in value) + "]"
        return json.dumps(value, ensure_ascii=self._random.random() < 0.5)

    def _money(self, units: int) -> str:
        dice = self._random.random()
        text = decimal_text(units)
        if dice < 0.45:
            return f'"{text}"'
        if dice < 0.50:
            padded = f"{text}." if "." not in text else text
            return f'"{padded}{"0" * (11 - len(padded[padded.index("."):]))}"'
        if dice < 0.51:
            return exponent_text(units)
        return text

    def _time(self, ns: int) -> str:
        if self._random.random() < 0.9:
            return str(ns)
        needed = len(f"{ns % SECOND:09d}".rstrip("0"))
        digits = self._random.randint(needed, 9)
        return f'"{rfc3339(ns, self._random.choice(self.OFFSETS), digits)}"'


# The market and the books


@dataclass(frozen=True)
class Symbol:
    """What is traded: price and size in steps of tick and lot (integers of 10^-10)."""

    name: str
    price: int
    tick: int
    lot: int
    fee_per_million: int
    tax_per_million: int


@dataclass(frozen=True)
class Strategy:
    """A strategy, the account it trades for and the symbols it trades."""

    name: str
    account: str
    symbols: tuple[Symbol, ...]


def money(text: str) -> int:
    """Integer of 10^-10 from a plain decimal."""
    whole, _, fraction = text.partition(".")
    return int(whole) * UNIT + int(fraction.ljust(10, "0"))


BTC = Symbol("BTCUSDT", money("61800.0"), money("0.1"), money("0.001"), 200, 0)
ETH = Symbol("ETHUSDT", money("2650.00"), money("0.01"), money("0.001"), 200, 0)
DOGE = Symbol("DOGEUSDT", money("0.10250"), money("0.00001"), money("1"), 200, 0)
TSMC = Symbol("2330.TW", money("905.0"), money("1"), money("1000"), 1425, 3000)
ZURICH = Symbol("ZÜRN.SW", money("480.2"), money("0.1"), money("1"), 350, 750)
SYMBOLS = (BTC, ETH, DOGE, TSMC, ZURICH)

STRATEGIES = (
    Strategy("maker-1", "ACC-001", (BTC, ETH)),
    Strategy("momentum", "ACC-001", (BTC, DOGE)),
    Strategy("均值回歸", "ACC-002", (TSMC,)),
    Strategy("pairs \"A/B\"", "ACC-002", (TSMC, ZURICH)),
    Strategy("hedge", "ACC-003", (ETH, ZURICH)),
)
START_EQUITY = {"ACC-001": money("1000000"), "ACC-002": money("25000000.5"), "ACC-003": money("500000.0000000001")}


class PricePath:
    """A random walk in ticks for each symbol, one step a second."""

    def __init__(self, rng: random.Random, start: int, seconds: int) -> None:
        self._start = start
        self._prices = {symbol.name: self._walk(rng, symbol, seconds) for symbol in SYMBOLS}

    def at(self, symbol: Symbol, ns: int) -> int:
        """The price at that time; the last one afterwards."""
        prices = self._prices[symbol.name]
        return prices[min(max((ns - self._start) // SECOND, 0), len(prices) - 1)]

    @staticmethod
    def _walk(rng: random.Random, symbol: Symbol, seconds: int) -> list[int]:
        price, prices = symbol.price, []
        for _ in range(seconds + 1):
            price = max(symbol.tick, price + rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2)) * symbol.tick)
            prices.append(price)
        return prices


@dataclass
class Position:
    """Quantity, cost and realized P&L of one strategy in one symbol, by the average cost method."""

    quantity: int = 0
    cost: int = 0
    realized: int = 0
    fees: int = 0

    def apply(self, signed_quantity: int, price: int, fee: int) -> None:
        """Take a fill in. What a partial close removes from the cost goes into the P&L, so nothing is rounded away."""
        self.fees += fee
        closing = 0
        if self.quantity * signed_quantity < 0:
            closing = min(abs(signed_quantity), abs(self.quantity)) * (1 if signed_quantity > 0 else -1)
            removed = self.cost * -closing // self.quantity
            self.realized += product(-closing, price) - removed
            self.cost -= removed
            self.quantity += closing
        opening = signed_quantity - closing
        self.quantity += opening
        self.cost += product(opening, price)

    def unrealized(self, mark: int) -> int:
        """P&L of what is open, against a mark price."""
        return product(self.quantity, mark) - self.cost


def product(quantity: int, price: int) -> int:
    """quantity * price at scale 10; exact, because lots and ticks have at most ten decimals between them."""
    result, rest = divmod(quantity * price, UNIT)
    assert rest == 0, (quantity, price)
    return result


# The day, as moments in time that emit rows when replayed in order


@dataclass
class Order:
    """One order and what will become of it."""

    number: int
    client_id: str
    strategy: Strategy
    symbol: Symbol
    side: str
    quantity: int
    limit: int | None
    order_type: str
    tif: str
    intent: int
    broker_id: str = ""
    sent: int | None = None
    acked: int | None = None
    reject_reason: str = ""
    filled: int = 0


Moment = tuple[int, int, Callable[[int], Iterator[tuple[str, Row]]]]


@dataclass
class Day:
    """Plans all moments of the day, then replays them against one ledger."""

    seed: int
    orders: int
    end: int
    hours: float
    snapshot_seconds: int
    moments: list[Moment] = field(default_factory=list)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    mode: str = "normal"

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}-day")
        self.span = int(self.hours * 3600 * SECOND)
        self.start = self.end - self.span
        self.prices = PricePath(self.rng, self.start, self.span // SECOND)
        self.recent: list[int] = []

    def events(self) -> Iterator[tuple[str, Row]]:
        """All events of the day, in the order in which a recorder would see them."""
        self._plan_orders()
        self._plan_snapshots()
        self._plan_guardrails()
        self._plan_system_events()
        self._plan_extremes()
        self.moments.sort(key=lambda moment: moment[:2])
        for at, _, emit in self.moments:
            yield from emit(at)

    def _at(self, ns: int, emit: Callable[[int], Iterator[tuple[str, Row]]]) -> None:
        self.moments.append((min(ns, self.end), len(self.moments), emit))

    # Orders

    def _plan_orders(self) -> None:
        # The last hundredth of the day is kept free, so that every order comes to its end within it.
        for number, at in enumerate(sorted(self.rng.randrange(self.span * 99 // 100) for _ in range(self.orders)), 1):
            self._plan_order(number, self.start + at)

    def _plan_order(self, number: int, intent: int) -> None:
        rng = self.rng
        strategy = rng.choice(STRATEGIES)
        symbol = rng.choice(strategy.symbols)
        side = rng.choice(("buy", "sell"))
        kind, tif = rng.choice((("limit", "day"), ("limit", "gtc"), ("limit", "ioc"), ("limit", "gtx"), ("market", "ioc")))
        away = rng.randrange(-3, 4) * symbol.tick
        limit = None if kind == "market" else max(symbol.tick, self.prices.at(symbol, intent) + away)
        order = Order(number, f"C{self.seed:02d}-{number:08d}", strategy, symbol, side, rng.randrange(1, 40) * symbol.lot,
                      limit, kind, tif, intent)
        decided = intent + rng.randrange(5, 200) * MICROSECOND
        refused = rng.random() < 0.05
        self._at(decided, lambda at: self._decision(order, refused, at))
        self._at(decided + rng.randrange(1, 900), lambda at: self._status(order, "rejected" if refused else "new"))
        if refused:
            order.reject_reason = rng.choice(("risk: max position", "risk: order rate", "risk: \"fat finger\""))
            return
        self._plan_life(order, decided + rng.randrange(1, 50) * MICROSECOND + 1000)

    def _plan_life(self, order: Order, sent: int) -> None:
        rng = self.rng
        acked = sent + rng.randrange(200, 9000) * MICROSECOND

        def send(_: int) -> Iterator[tuple[str, Row]]:
            order.sent = sent
            return self._status(order, "sent")

        def answer(_: int) -> Iterator[tuple[str, Row]]:
            order.acked = acked
            if rejected:
                order.reject_reason = rejected
                return self._status(order, "rejected")
            order.broker_id = f"B{self.seed:02d}-{order.number * 7919 % 10 ** 9:09d}"
            return self._status(order, "acked")

        rejected = rng.choice(("price outside \"band\"\n<±10 %>", "帳戶餘額不足", "throttle\tlimit")) if rng.random() < 0.02 else ""
        self._at(sent, send)
        self._at(acked, answer)
        if not rejected:
            self._plan_end(order, acked)

    def _plan_end(self, order: Order, acked: int) -> None:
        rng = self.rng
        lots = order.quantity // order.symbol.lot
        share = rng.choice((0.0, 0.3, 1.0, 1.0, 1.0))
        to_fill = lots if order.order_type == "market" else int(lots * share)
        at = acked
        for part in self._split(to_fill):
            at += rng.randrange(1, 20_000_000) * MICROSECOND // 4
            self._plan_fill(order, part * order.symbol.lot, at)
        if to_fill < lots:
            ending = "expired" if order.tif == "ioc" else "cancelled"
            at += rng.randrange(1, 30_000_000) * MICROSECOND // 4
            if ending == "cancelled":
                self._at(at - rng.randrange(100, 900), lambda _: self._status(order, "cancel_pending"))
            self._at(at + SECOND // 100, lambda _: self._status(order, ending))

    def _split(self, lots: int) -> list[int]:
        parts = []
        while lots:
            part = lots if len(parts) == 3 or self.rng.random() < 0.55 else self.rng.randint(1, lots)
            parts.append(part)
            lots -= part
        return parts

    def _plan_fill(self, order: Order, quantity: int, executed: int) -> None:
        symbol = order.symbol
        price = self.prices.at(symbol, executed)
        if order.limit is not None:
            price = min(price, order.limit) if order.side == "buy" else max(price, order.limit)
        notional = product(quantity, price)
        fee = notional * symbol.fee_per_million // 1_000_000 * self.rng.choice((1, 1, 1, -1))
        tax = notional * symbol.tax_per_million // 1_000_000 if order.side == "sell" else 0
        reported = executed + self.rng.randrange(150, 4000) * MICROSECOND
        self._at(reported, lambda at: self._fill(order, quantity, price, fee, tax, executed, at))

    def _decision(self, order: Order, refused: bool, at: int) -> Iterator[tuple[str, Row]]:
        position = self._position(order.strategy, order.symbol)
        mark = self.prices.at(order.symbol, at)
        self.recent = [then for then in self.recent if then > at - SECOND] + [at]
        yield "risk_decisions", {
            "ts": Instant(at),
            "strategy": order.strategy.name,
            "symbol": order.symbol.name,
            "client_order_id": order.client_id,
            "decision": "reject" if refused else "allow",
            "reason_code": "MAX_POSITION" if refused else self._either("", ...),
            "risk_mode": self.mode,
            "position": Money(position.quantity),
            "notional": Money(product(order.quantity, order.limit or mark)),
            "pnl": Money(position.realized + position.unrealized(mark)) if order.number % 9 else self._either(None, ...),
            "order_rate": Number(repr(len(self.recent) / 1.0)) if order.number % 11 else None,
        }

    def _status(self, order: Order, status: str) -> Iterator[tuple[str, Row]]:
        yield "orders", {
            "ts_intent": Instant(order.intent),
            "ts_send": Instant(order.sent) if order.sent else self._either(None, ...),
            "ts_ack": Instant(order.acked) if order.acked else self._either(None, ...),
            "client_order_id": order.client_id,
            "broker_order_id": order.broker_id or self._either("", ...),
            "strategy": order.strategy.name,
            "symbol": order.symbol.name,
            "side": order.side,
            "qty": Money(order.quantity),
            "limit_px": self._either(None, ...) if order.limit is None else Money(order.limit),
            "order_type": order.order_type,
            "tif": order.tif,
            "status": status,
            "reject_reason": order.reject_reason or self._either("", ...),
            "risk_mode": self.mode,
            "risk_decision_id": f"D-{order.number:08d}" if order.number % 5 else self._either("", ...),
        }

    def _fill(self, order: Order, quantity: int, price: int, fee: int, tax: int,
              executed: int, at: int) -> Iterator[tuple[str, Row]]:
        order.filled += quantity
        signed = quantity if order.side == "buy" else -quantity
        self._position(order.strategy, order.symbol).apply(signed, price, fee + tax)
        yield "fills", {
            "ts_exchange": Instant(executed),
            "ts_local": Instant(at),
            "client_order_id": order.client_id,
            "broker_order_id": order.broker_id,
            "fill_id": f"{order.broker_id}/{decimal_text(order.filled)}",
            "strategy": order.strategy.name,
            "symbol": order.symbol.name,
            "side": order.side,
            "fill_qty": Money(quantity),
            "fill_price": Money(price),
            "fees": Money(fee),
            "tax": Money(tax) if order.symbol.tax_per_million else self._either(None, ...),
            "source": "session-1" if order.number % 4 else "drop_copy",
        }
        yield from self._status(order, "filled" if order.filled == order.quantity else "partially_filled")

    # Snapshots

    def _plan_snapshots(self) -> None:
        step = self.snapshot_seconds * SECOND
        for at in range(self.start + step, self.end + 1, step):
            self._at(at, self._snapshots)
            self._at(at + 1, self._metrics)

    def _snapshots(self, at: int) -> Iterator[tuple[str, Row]]:
        for strategy in STRATEGIES:
            for symbol in strategy.symbols:
                yield "positions_intraday", self._position_row(strategy, symbol, at)
        for account in START_EQUITY:
            yield "account_state", self._account_row(account, at)

    def _position_row(self, strategy: Strategy, symbol: Symbol, at: int) -> Row:
        position = self._position(strategy, symbol)
        mark = self.prices.at(symbol, at)
        exposure = product(position.quantity, mark)
        return {
            "ts": Instant(at),
            "account_id": strategy.account,
            "symbol": symbol.name,
            "strategy": strategy.name,
            "position_qty": Money(position.quantity),
            "avg_price": Money(position.cost * UNIT // position.quantity) if position.quantity else self._either(None, ...),
            "realized_pnl": Money(position.realized),
            "unrealized_pnl": Money(position.unrealized(mark)),
            "fees_accum": Money(position.fees),
            "gross_exposure": Money(abs(exposure)),
            "net_exposure": Money(exposure),
        }

    def _account_row(self, account: str, at: int) -> Row:
        held = [(symbol, self._position(strategy, symbol))
                for strategy in STRATEGIES if strategy.account == account for symbol in strategy.symbols]
        pnl = sum(position.realized + position.unrealized(self.prices.at(symbol, at)) - position.fees
                  for symbol, position in held)
        value = sum(product(position.quantity, self.prices.at(symbol, at)) for symbol, position in held)
        gross = sum(abs(product(position.quantity, self.prices.at(symbol, at))) for symbol, position in held)
        equity = START_EQUITY[account] + pnl
        has_margin = account != "ACC-003"
        return {
            "ts": Instant(at),
            "account_id": account,
            "equity": Money(equity),
            "cash": Money(equity - value),
            "margin_used": Money(gross // 5) if has_margin else self._either(None, ...),
            "margin_available": Money(equity - gross // 5) if has_margin else None,
            "day_pnl": Money(pnl),
            "risk_mode": self._either(self.mode, ...) if self.mode == "" else self.mode,
        }

    def _metrics(self, at: int) -> Iterator[tuple[str, Row]]:
        usage = self.rng.random()
        yield "metrics_timeseries", {
            "ts": Instant(at), "source": "spool-writer", "metric": "queue_usage", "value": Number(repr(usage)),
            "unit": "ratio", "label_names": ["ring", "class"], "label_values": [f"ring-{self.rng.randrange(4)}", "audit"],
        }
        yield "metrics_timeseries", {
            "ts": Instant(at), "source": "gateway", "metric": "feed_latency",
            "value": Number(repr(self.rng.lognormvariate(-7, 1))), "unit": "seconds",
            "symbol": self.rng.choice(SYMBOLS).name, "label_names": self._either([], ...), "label_values": self._either([], ...),
        }
        yield "metrics_timeseries", {
            "ts": Instant(at), "source": "gateway", "metric": "api_calls", "value": Number(str(self.rng.randrange(1200))),
            "unit": self._either("", ...), "symbol": "", "label_names": ["host", "Größe"], "label_values": ["gw-1", ""],
        }

    # Incidents

    def _plan_guardrails(self) -> None:
        modes = ("normal", "warm", "storm", "halt", "warm")
        for number in range(20):
            following = modes[(number + 1) % len(modes)]
            self._at(self.start + self.rng.randrange(self.span), lambda at, mode=following: self._transition(mode, at))

    def _transition(self, mode: str, at: int) -> Iterator[tuple[str, Row]]:
        by_hand = self.rng.random() < 0.2
        previous, self.mode = self.mode, mode
        yield "guardrail_transitions", {
            "ts": Instant(at),
            "prev_mode": previous,
            "next_mode": mode,
            "trigger_metric": "manual" if by_hand else self.rng.choice(("drawdown", "feed_gap_seconds", "order_rate")),
            "value": self._either(None, ...) if by_hand else Number(repr(self.rng.uniform(0, 100))),
            "reason": "operator: \"pause\" \\ resume — 手動" if by_hand else self._either("", ...),
        }

    def _plan_system_events(self) -> None:
        for number in range(30):
            at = self.start + self.rng.randrange(self.span)
            emit = self._incident if number % 3 else self._loss
            self._at(at, lambda at, emit=emit: emit(at))

    def _incident(self, at: int) -> Iterator[tuple[str, Row]]:
        yield "system_events", {
            "ts": Instant(at), "component": self.rng.choice(("gateway", "bus", "risk")), "event": "feed_gap",
            "severity": self.rng.choice(("info", "warning", "error", ...)),
            "detail": self.rng.choice((..., "", "reconnected after 3 s \U0001F680", "line 1\nline 2\r\n\ttabbed", "C:\\feed\\\u0001\u007f")),
        }

    def _loss(self, at: int) -> Iterator[tuple[str, Row]]:
        rows = self.rng.randrange(1, 5000)
        first = self.rng.randrange(10 ** 6)
        yield "system_events", {
            "ts": Instant(at), "component": "spool-writer", "event": "rows_dropped", "severity": "warning",
            "table_name": "market_data", "symbol": self.rng.choice(SYMBOLS).name,
            "range_from": Instant(at - 5 * SECOND), "range_to": Instant(at - SECOND),
            "seq_from": Number(str(first)), "seq_to": Number(str(first + rows - 1)), "row_count": Number(str(rows)),
            "reason": "disk_pressure",
        }

    # Values at the edges of their types

    def _plan_extremes(self) -> None:
        for number, (table, row) in enumerate(self._extremes()):
            at = self.start + (number + 1) * self.span // 40
            self._at(at, lambda at, table=table, row=row: iter([(table, {"ts": Instant(at), **row})]))

    @staticmethod
    def _extremes() -> Iterator[tuple[str, Row]]:
        for units in (LARGEST_DECIMAL, -LARGEST_DECIMAL, 1, -1, 0):
            yield "risk_decisions", {
                "strategy": "self-test", "symbol": "", "decision": "reject",
                "client_order_id": f"self-test {units}" if units else "",
                "reason_code": "SELF_TEST", "risk_mode": "self-test",
                "position": Money(units), "notional": Money(-units), "pnl": Number(decimal_text(units)), "order_rate": Number("0"),
            }
        for text in ("1.7976931348623157e308", "-1.7976931348623157E+308", "5e-324", "2.2250738585072014e-308", "-0.0",
                     "0.1", "0.30000000000000004", "9007199254740993", "1e22", "123456789.12345678901234567890"):
            yield "metrics_timeseries", {
                "source": "self-test", "metric": "extreme", "value": Number(text),
                "label_names": ["", "\u0000", "a\"b", "é"], "label_values": ["", "/", "\u2028", "\U0001F4C8"],
            }
        yield "system_events", {
            "component": "self-test", "event": "extreme", "severity": "debug", "table_name": "", "symbol": "",
            "range_from": Instant(EARLIEST_TIME), "range_to": Instant(LATEST_TIME),
            "seq_from": Number("0"), "seq_to": Number(str(LARGEST_UINT64)), "row_count": Number(str(LARGEST_UINT64)),
            "reason": "", "detail": "",
        }
        yield "system_events", {
            "component": "self-test", "event": "extreme", "range_from": Instant(EARLIEST_TIME + 1), "range_to": None, "seq_from": None,
            "row_count": Number("0"), "detail": "long: " + "0123456789abcdef\u00df" * 1500,
        }
        yield "guardrail_transitions", {
            "prev_mode": "", "next_mode": "", "trigger_metric": "self-test", "value": Number("4.9406564584124654e-324"),
            "reason": "".join(chr(code) for code in range(0x80)),
        }

    def _position(self, strategy: Strategy, symbol: Symbol) -> Position:
        return self.positions.setdefault((strategy.name, symbol.name), Position())

    def _either(self, one: Any, other: Any) -> Any:
        return one if self.rng.random() < 0.5 else other


# Command


def write_day(day: Day, tables: set[str], out: IO[str]) -> int:
    """Write the events of these tables; returns how many."""
    encoder, count = Encoder(day.seed), 0
    for table, row in day.events():
        line = encoder.line(table, row)
        if table in tables:
            out.write(line + "\n")
            count += 1
    return count


def table_set(text: str) -> set[str]:
    """Table names from a comma-separated list."""
    names = set(text.split(","))
    unknown = names - set(TABLES)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    return names


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=5000, help="intents (default 5000, about 40,000 rows in all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=parse_time, default="now", help="end of the day: RFC 3339, or now (default)")
    parser.add_argument("--hours", type=float, default=8.0, help="length of the day (default 8)")
    parser.add_argument("--snapshot-seconds", type=int, default=60, help="between snapshots (default 60)")
    parser.add_argument("--tables", type=table_set, default=",".join(TABLES), help="only these, comma-separated")
    parser.add_argument("--out", default="-", help="file, or - for standard output (default)")
    options = parser.parse_args()
    if options.orders < 0 or options.hours <= 0 or options.snapshot_seconds < 1:
        parser.error("--orders must be at least 0, --hours above 0 and --snapshot-seconds at least 1")
    return options


def main() -> int:
    options = arguments()
    day = Day(options.seed, options.orders, options.end, options.hours, options.snapshot_seconds)
    if options.out == "-":
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        count = write_day(day, options.tables, sys.stdout)
    else:
        with open(options.out, "w", encoding="utf-8", newline="\n") as file:
            count = write_day(day, options.tables, file)
    print(f"{count} events", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
