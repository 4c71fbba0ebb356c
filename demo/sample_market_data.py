#!/usr/bin/env python3
"""Generate market_data events, one JSON object a line: random-walk books and trades of a few symbols.

For trying the recorder without a capture of a real feed. Each symbol starts with a few trades before its first quote
(so bid and ask are absent there), then quotes with top-5 arrays, trades with their aggressor, and sampled rows.

Equal arguments, --end included, give equal bytes.
"""
from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import dataclass, field
from typing import Any, Iterator

from generate_day import SECOND, parse_time


@dataclass
class Book:
    """A book of five levels a side, in integer ticks and lots; floats are made only when a row is written."""

    symbol: str
    mid: int
    tick_decimals: int
    lot_decimals: int
    trades_before_quotes: int
    bids: list[tuple[int, int]] = field(default_factory=list)
    asks: list[tuple[int, int]] = field(default_factory=list)
    last: tuple[int, int] | None = None

    def requote(self, rng: random.Random) -> None:
        """Move the middle by a few ticks and draw new sizes."""
        self.mid = max(100, self.mid + rng.choice((-3, -1, -1, 0, 0, 1, 1, 3)))
        bid, ask = self.mid - rng.randrange(1, 3), self.mid + rng.randrange(1, 3)
        self.bids, self.asks = self._levels(rng, bid, -1), self._levels(rng, ask, 1)

    def trade(self, rng: random.Random) -> str:
        """Take liquidity at the best price of one side; returns the aggressor."""
        aggressor = rng.choice(("buy", "sell", "sell", "buy", "unknown"))
        side = self.asks if aggressor == "buy" else self.bids
        price, size = side[0] if side else (self.mid, 50)
        self.last = (price, rng.randint(1, size))
        return aggressor

    def fields(self, with_depth: bool) -> dict[str, Any]:
        """What is known of the book, by column name; what is not known is left out."""
        known: dict[str, Any] = {}
        if self.bids:
            known["bid_px1"], known["bid_sz1"] = self._price(self.bids[0][0]), self._size(self.bids[0][1])
            known["ask_px1"], known["ask_sz1"] = self._price(self.asks[0][0]), self._size(self.asks[0][1])
        if self.last:
            known["last_price"], known["last_qty"] = self._price(self.last[0]), self._size(self.last[1])
        if self.bids and with_depth:
            for side, levels in (("bid", self.bids), ("ask", self.asks)):
                known[f"{side}_px"] = [self._price(price) for price, _ in levels]
                known[f"{side}_sz"] = [self._size(size) for _, size in levels]
        return known

    def _levels(self, rng: random.Random, best: int, direction: int) -> list[tuple[int, int]]:
        price, levels = best, []
        for _ in range(5):
            levels.append((price, max(1, int(rng.lognormvariate(5, 1.5)))))
            price += direction * rng.randrange(1, 4)
        return levels

    def _price(self, ticks: int) -> float:
        return ticks / 10 ** self.tick_decimals

    def _size(self, lots: int) -> float:
        return lots / 10 ** self.lot_decimals


def books() -> list[Book]:
    """The symbols of the sample."""
    return [
        Book("BTCUSDT", 618_000, 1, 3, 4),
        Book("ETHUSDT", 265_000, 2, 3, 2),
        Book("DOGEUSDT", 10_250, 5, 0, 1),
        Book("ZÜRN.SW", 4_802, 1, 0, 3),
    ]


def events(rows: int, seed: int, end: int, minutes: float, source: str) -> Iterator[dict[str, Any]]:
    """That many events, in order of arrival, the last one at the end."""
    rng = random.Random(f"{seed}-market")
    traded = books()
    step = int(minutes * 60 * SECOND) // max(rows, 1)
    for number in range(rows):
        book = rng.choice(traded)
        local = end - (rows - 1 - number) * step - (rng.randrange(step) if number < rows - 1 and step else 0)
        row = {
            "table": "market_data",
            "ts_exchange": local - rng.randrange(100_000, 5_000_000),
            "ts_local": local,
            "symbol": book.symbol,
            "source": source,
        }
        row.update(next_event(book, rng))
        yield row


def next_event(book: Book, rng: random.Random) -> dict[str, Any]:
    """Advance one book by one event."""
    dice = rng.random()
    if book.trades_before_quotes:
        book.trades_before_quotes -= 1
        dice = 0.0
    if dice < 0.2:
        return {"event": "trade", "aggressor": book.trade(rng), **book.fields(with_depth=False)}
    if dice < 0.95 or not book.bids:
        book.requote(rng)
        return {"event": "quote", **book.fields(with_depth=rng.random() < 0.9)}
    return {"event": "sample", **book.fields(with_depth=True)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="events (default 20000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=parse_time, default="now", help="time of the last event: RFC 3339, or now (default)")
    parser.add_argument("--minutes", type=float, default=10.0, help="time they are spread over (default 10)")
    parser.add_argument("--source", default="sample")
    parser.add_argument("--out", default="-", help="file, or - for standard output (default)")
    options = parser.parse_args()
    if options.rows < 0 or options.minutes <= 0:
        parser.error("--rows must be at least 0 and --minutes above 0")
    return options


def main() -> int:
    options = arguments()
    out = sys.stdout if options.out == "-" else open(options.out, "w", encoding="utf-8", newline="\n")
    with out:
        for row in events(options.rows, options.seed, options.end, options.minutes, options.source):
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
