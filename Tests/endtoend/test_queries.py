"""`queries/`: each answer against one that is computed here from the events that went in."""
from __future__ import annotations

import bisect
import datetime
import json
import math
import os
import random
import subprocess
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from conftest import generated
from pipeline import ROOT, Pipeline

SECOND = 10 ** 9
Event = dict[str, Any]


def nanoseconds(value: Any) -> int | None:
    """A time as events have it: an integer, or RFC 3339."""
    if value is None or isinstance(value, int):
        return value
    text = value.upper().replace("Z", "+00:00")
    head, rest = text[:19], text[19:]
    fraction, zone = (rest[1:].replace("-", "+").split("+")[0], rest[-6:]) if rest.startswith(".") else ("", rest[-6:])
    moment = datetime.datetime.fromisoformat(head + zone)
    return int(moment.timestamp()) * SECOND + int(fraction.ljust(9, "0") or 0)


class Day:
    """The events of a day with quotes beside them, loaded, and as Python has them."""

    def __init__(self, pipeline: Pipeline, events: list[Event]) -> None:
        self.pipeline = pipeline
        self.tables: dict[str, list[Event]] = defaultdict(list)
        self.add(events)
        times = [event["ts"] for event in self.tables["account_state"]]
        first, last = min(times) - 60 * SECOND, max(times)
        # A part of the day, so that edges matter; whole seconds.
        self.begin, self.end = ((first + (last - first) * fifths // 5) // SECOND * SECOND for fifths in (1, 4))

    def add(self, events: list[Event]) -> None:
        for event in events:
            for name in ("ts", "ts_intent", "ts_send", "ts_ack", "ts_exchange", "ts_local", "range_from", "range_to"):
                if name in event:
                    event[name] = nanoseconds(event[name])
            self.tables[event["table"]].append(event)

    def edges(self) -> list[Event]:
        """What lies across the edges of the time that is asked about, and an order that nobody answered."""
        loss = {"table": "system_events", "component": "spool-writer", "event": "rows_dropped", "table_name": "market_data", "severity": "warning"}
        at = self.begin + 100 * SECOND
        order = {"table": "orders", "ts_intent": at, "client_order_id": "unanswered", "strategy": "hedge", "symbol": "ETHUSDT", "side": "buy", "qty": 1,
                 "order_type": "market", "tif": "ioc", "risk_mode": "normal"}
        fill = next(event for event in self.tables["fills"] if event["strategy"] == "hedge" and event["ts_local"] > self.end)
        snapshot = max(event["ts"] for event in self.tables["positions_intraday"] if self.within(event["ts"]))
        return [
            {**loss, "ts": self.begin, "symbol": "BTCUSDT", "row_count": 5, "range_from": self.begin - 2, "range_to": self.begin},
            {**loss, "ts": self.begin, "symbol": "BTCUSDT", "row_count": 50, "range_from": self.begin - 2, "range_to": self.begin - 1},
            {**loss, "ts": self.end, "symbol": "", "row_count": 500, "range_from": self.end - 1, "range_to": self.end + 9},
            {**loss, "ts": self.end, "symbol": "ETHUSDT", "row_count": 5000, "range_from": self.end, "range_to": self.end + 9},
            {**order, "status": "new"}, {**order, "status": "sent", "ts_send": at + 5},
            {"table": "risk_decisions", "ts": at + 1, "strategy": "hedge", "symbol": "ETHUSDT", "client_order_id": "unanswered", "decision": "allow", "risk_mode": "normal"},
            # Executed before the last snapshot, and reported after it: not in it yet.
            {**fill, "ts_exchange": snapshot - 5, "ts_local": snapshot + 5, "fill_id": "late", "client_order_id": "", "source": "drop_copy"},
        ]

    def ask(self, name: str, **parameters: Any) -> list[Event]:
        sql = (ROOT / "queries" / f"{name}.sql").read_text()
        span = {"from": f"{self.begin // SECOND}", "to": f"{self.end // SECOND}"}
        settings = {f"param_{key}": str(value) for key, value in (span | parameters).items()}
        text = self.pipeline.clickhouse.query(sql + "\nFORMAT JSONEachRow", output_format_json_quote_64bit_integers="0", output_format_json_quote_decimals="1", **settings)
        return [json.loads(line) for line in text.split("\n") if line]

    def within(self, time: int) -> bool:
        return self.begin <= time < self.end


def quotes(day: list[Event]) -> list[Event]:
    """A mid for each symbol of the day every few seconds, with gaps, crossed books and trades among them."""
    rng = random.Random(8)
    intents = sorted(nanoseconds(event["ts_intent"]) or 0 for event in day if event["table"] == "orders")
    events: list[Event] = []
    for symbol, price in (("BTCUSDT", 61_800.0), ("ETHUSDT", 2_650.0), ("DOGEUSDT", 0.1), ("2330.TW", 905.0)):
        at = intents[0] - 5 * SECOND if symbol != "2330.TW" else intents[len(intents) // 2]
        while at < intents[-1]:
            price *= 1 + rng.gauss(0, 1e-5)
            local = at + rng.randrange(-1_000_000, 5_000_000)
            event: Event = {"table": "market_data", "ts_exchange": at, "ts_local": local, "symbol": symbol, "source": rng.choice(("a", "b"))}
            if rng.random() < 0.2:
                event |= {"event": "trade", "last_price": price, "last_qty": 1.5, "aggressor": "buy"}
            else:
                event |= {"event": "quote", "bid_px1": price * 0.99999, "ask_px1": price * rng.choice((1.00001, 1.00001, 1.00001, 0.99999))}
                if rng.random() < 0.05:
                    del event["bid_px1"]
            events.append(event)
            at += rng.choice((1, 2, 3, 40)) * SECOND + rng.randrange(SECOND)
    return events


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("queries")
    path = generated("generate_day.py", "--orders", "1500", "--hours", "3", "--snapshot-seconds", "60", "--seed", "5", to=directory / "day.jsonl")
    parsed = [json.loads(line, parse_float=Decimal) for line in path.read_text().split("\n") if line]
    pipeline = Pipeline(directory / "p")
    day = Day(pipeline, parsed)
    more = quotes(parsed) + day.edges()
    day.add(more)
    (directory / "more.jsonl").write_text("".join(json.dumps(event, default=str) + "\n" for event in more))
    try:
        pipeline.start_clickhouse()
        pipeline.import_files(path, directory / "more.jsonl")
        pipeline.load_once()
        yield day
    finally:
        pipeline.kill()


def exact(value: Any) -> Decimal:
    return Decimal(str(value)) if value is not None else Decimal(0)


def close(found: Any, expected: float | None) -> bool:
    return found is None if expected is None else math.isclose(float(found), expected, rel_tol=1e-9, abs_tol=1e-9)


def lives(day: Day) -> dict[str, list[Event]]:
    """The rows of each order that was decided in the time that is asked about."""
    rows: dict[str, list[Event]] = defaultdict(list)
    for event in day.tables["orders"]:
        if day.within(event["ts_intent"]):
            rows[event["client_order_id"]].append(event)
    return rows


def fills_of(day: Day) -> dict[str, list[Event]]:
    fills: dict[str, list[Event]] = defaultdict(list)
    for event in day.tables["fills"]:
        fills[event["client_order_id"]].append(event)
    return fills


def test_execution_quality(day: Day) -> None:
    found = {row["strategy"]: row for row in day.ask("execution_quality")}
    known: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for event in day.tables["market_data"]:
        if event["event"] != "trade" and "bid_px1" in event:
            known[event["symbol"]].append((event["ts_local"], (float(event["bid_px1"]) + float(event["ask_px1"])) / 2))
    for prices in known.values():
        prices.sort()
    fills = fills_of(day)
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, rows in lives(day).items():
        of, last = sums[rows[0]["strategy"]], rows[-1]["status"]
        of["orders"] += 1
        of["rejected"] += last == "rejected"
        of["filled_whole"] += last == "filled"
        quantity = sum((exact(fill["fill_qty"]) for fill in fills[name]), Decimal(0))
        of["share"] += float(quantity / exact(rows[0]["qty"]))
        value = float(sum((exact(fill["fill_qty"]) * exact(fill["fill_price"]) for fill in fills[name]), Decimal(0)))
        of["value"] += value
        of["costs"] += float(sum((exact(fill.get("fees")) + exact(fill.get("tax")) for fill in fills[name]), Decimal(0)))
        prices = known[rows[0]["symbol"]]
        place = bisect.bisect_right(prices, (rows[0]["ts_intent"], math.inf)) - 1
        if fills[name] and place < 0:
            of["without_mid"] += 1
        elif fills[name]:
            sign = 1 if rows[0]["side"] == "buy" else -1
            of["slip"] += sign * (value - float(quantity) * prices[place][1])
            of["base"] += float(quantity) * prices[place][1]
    assert found.keys() == sums.keys() and len(found) == 5
    for strategy, of in sums.items():
        row = found[strategy]
        assert [row["orders"], row["rejected"], row["filled_whole"], row["without_mid"]] == [
            of["orders"], of["rejected"], of["filled_whole"], of["without_mid"]], strategy
        assert close(row["fill_ratio"], of["share"] / (of["orders"] - of["rejected"])) and close(row["traded_value"], of["value"])
        assert close(row["cost_bp"], 1e4 * of["costs"] / of["value"])
        assert (row["slippage_bp"] is None) == (of["base"] == 0) and (of["base"] == 0 or math.isclose(row["slippage_bp"], 1e4 * of["slip"] / of["base"], rel_tol=1e-6))
    assert sum(of["without_mid"] for of in sums.values()) > 10 and sum(of["base"] > 0 for of in sums.values()) >= 4


def quantiles(values: list[float], *levels: float) -> list[float]:
    values = sorted(values)
    return [values[int(level * len(values))] for level in levels]


def test_order_latency(day: Day) -> None:
    found = {row["strategy"]: row for row in day.ask("order_latency")}
    orders: dict[str, list[tuple[int, int | None, int | None]]] = defaultdict(list)
    for rows in lives(day).values():
        sent = [row["ts_send"] for row in rows if row.get("ts_send")]
        acked = [row["ts_ack"] for row in rows if row.get("ts_ack")]
        orders[rows[0]["strategy"]].append((rows[0]["ts_intent"], min(sent, default=None), min(acked, default=None)))
    assert found.keys() == orders.keys()
    for strategy, times in orders.items():
        row = found[strategy]
        assert row["orders"] == len(times) and row["not_sent"] == sum(sent is None for _, sent, _ in times)
        assert row["not_answered"] == sum(sent is not None and acked is None for _, sent, acked in times)
        steps = {"intent_to_send_us": [(sent - intent) / 1000 for intent, sent, _ in times if sent],
                 "send_to_ack_us": [(acked - sent) / 1000 for _, sent, acked in times if sent and acked],
                 "intent_to_ack_us": [(acked - intent) / 1000 for intent, _, acked in times if acked]}
        for name, values in steps.items():
            assert row[name] == pytest.approx(quantiles(values, 0.5, 0.9, 0.99, 0.999), rel=1e-9), (strategy, name)


def test_pnl_and_exposure(day: Day) -> None:
    step = 900
    found = {(row["account_id"], row["at"]): row for row in day.ask("pnl_and_exposure", step=step)}
    accounts: dict[tuple[str, int], Event] = {}
    positions: dict[tuple[str, int], dict[tuple[str, str], Event]] = defaultdict(dict)
    for event in day.tables["account_state"]:
        if day.within(event["ts"]):
            accounts[event["account_id"], event["ts"] // SECOND // step * step] = event
    for event in day.tables["positions_intraday"]:
        if day.within(event["ts"]):
            positions[event["account_id"], event["ts"] // SECOND // step * step][event["symbol"], event["strategy"]] = event
    assert len(found) == len(accounts) > 15
    for (account, at), event in accounts.items():
        row = found[account, datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")]
        assert [exact(row[name]) for name in ("equity", "cash", "day_pnl")] == [exact(event[name]) for name in ("equity", "cash", "day_pnl")]
        for name, field in (("gross_exposure", "gross_exposure"), ("net_exposure", "net_exposure"), ("realized_pnl", "realized_pnl"),
                            ("unrealized_pnl", "unrealized_pnl"), ("fees", "fees_accum")):
            assert exact(row[name]) == sum((exact(held[field]) for held in positions[account, at].values()), Decimal(0)), (account, at, name)


def test_risk_to_execution(day: Day) -> None:
    found = {(row["decision"], row["reason_code"], row["risk_mode"]): row for row in day.ask("risk_to_execution", allowed="['allow','reduce']")}
    orders: dict[str, list[Event]] = defaultdict(list)
    for event in day.tables["orders"]:
        orders[event["client_order_id"]].append(event)
    fills = fills_of(day)
    sums: dict[tuple[str, str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event in day.tables["risk_decisions"]:
        name = event["client_order_id"]
        if not day.within(event["ts"]) or not name:
            continue
        of = sums[event["decision"], event.get("reason_code", ""), event["risk_mode"]]
        of["intents"] += 1
        of["notional"] += float(exact(event.get("notional")))
        of["orders_sent"] += any(row.get("ts_send") for row in orders[name])
        of["orders_rejected"] += bool(orders[name]) and orders[name][-1]["status"] == "rejected"
        of["orders_with_fills"] += bool(fills[name])
        of["traded_value"] += float(sum((exact(fill["fill_qty"]) * exact(fill["fill_price"]) for fill in fills[name]), Decimal(0)))
    assert found.keys() == sums.keys() and len(found) > 5
    for key, of in sums.items():
        for name in ("intents", "notional", "orders_sent", "orders_rejected", "orders_with_fills", "traded_value"):
            assert close(found[key][name], of[name]), (key, name)
        assert found[key]["sent_nevertheless"] == 0
    # One that should never be is found.
    assert sum(row["sent_nevertheless"] for row in day.ask("risk_to_execution", allowed="['reduce']")) == sum(of["orders_sent"] for of in sums.values())


def test_around_guardrail(day: Day) -> None:
    seconds = 120
    found = day.ask("around_guardrail", seconds=seconds)
    transitions = sorted(event["ts"] for event in day.tables["guardrail_transitions"] if day.within(event["ts"]))
    assert len(found) == len(transitions) > 5
    moments: list[tuple[int, str, float]] = []
    moments += [(event["ts"], "allowed" if event["decision"] == "allow" else "refused", 0.0) for event in day.tables["risk_decisions"]]
    moments += [(min(event["ts_intent"] for event in rows), "orders", 0.0) for rows in
                (lambda all_rows: [[row for row in day.tables["orders"] if row["client_order_id"] == name] for name in all_rows])({row["client_order_id"] for row in day.tables["orders"]})]
    moments += [(event["ts_local"], "fills", float(exact(event["fill_qty"]) * exact(event["fill_price"]))) for event in day.tables["fills"]]
    for row, at in zip(found, transitions):
        for kind in ("allowed", "refused", "orders", "fills"):
            assert row[f"{kind}_before"] == sum(kind == its and at - seconds * SECOND <= time < at for time, its, _ in moments), (at, kind)
            assert row[f"{kind}_after"] == sum(kind == its and at <= time < at + seconds * SECOND for time, its, _ in moments), (at, kind)
        assert close(row["value_after"], sum(value for time, _, value in moments if at <= time < at + seconds * SECOND))
    assert sum(row["orders_before"] for row in found) > 20


def test_market_data_quality(day: Day) -> None:
    found = {(row["symbol"], row["source"]): row for row in day.ask("market_data_quality")}
    groups: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in day.tables["market_data"]:
        if day.within(event["ts_exchange"]):
            groups[event["symbol"], event["source"]].append(event)
    lost: dict[str, int] = defaultdict(int)
    for event in day.tables["system_events"]:
        if event["event"] == "rows_dropped" and event["range_to"] >= day.begin and event["range_from"] < day.end:
            lost[event["symbol"]] += int(event["row_count"])
    assert found.keys() == groups.keys() and len(found) == 8 and any(lost.values())
    for key, events in groups.items():
        row = found[key]
        events.sort(key=lambda event: event["ts_local"])
        sides = [event for event in events if event["event"] != "trade"]
        assert row["rows"] == len(events) and row["quotes"] == len(sides) and row["trades"] == len(events) - len(sides)
        assert row["one_sided"] == sum("bid_px1" not in event for event in sides)
        assert row["crossed"] == sum("bid_px1" in event and event["bid_px1"] >= event["ask_px1"] for event in sides) and row["crossed"] > 0
        gaps = [after["ts_local"] - before["ts_local"] for before, after in zip(events, events[1:])]
        assert close(row["longest_gap_s"], max(gaps) / 1e9)
        assert nanoseconds(row["gap_end"].replace(" ", "T") + "Z") == events[gaps.index(max(gaps)) + 1]["ts_local"]
        assert row["back_in_time"] == sum(after["ts_exchange"] < before["ts_exchange"] for before, after in zip(events, events[1:]))
        assert row["latency_ms"] == pytest.approx([x / 1e6 for x in quantiles([e["ts_local"] - e["ts_exchange"] for e in events], 0.5, 0.99)])
        assert row["rows_lost"] == lost[key[0]] + lost[""], key


def test_reconciliation(day: Day) -> None:
    found = {(row["strategy"], row["symbol"]): row for row in day.ask("reconciliation")}
    held: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in day.tables["positions_intraday"]:
        held[event["strategy"], event["symbol"]].append(event)
    assert found.keys() == held.keys() and len(found) == 9
    traded = 0
    for key, rows in held.items():
        before = [row for row in rows if row["ts"] < day.begin]
        after = [row for row in rows if day.within(row["ts"])]
        fills = [fill for fill in day.tables["fills"] if (fill["strategy"], fill["symbol"]) == key and before[-1]["ts"] < fill["ts_local"] <= after[-1]["ts"]]
        row = found[key]
        moved = sum((exact(fill["fill_qty"]) * (1 if fill["side"] == "buy" else -1) for fill in fills), Decimal(0))
        assert (exact(row["opened"]), exact(row["bought_less_sold"]), exact(row["closed"])) == (exact(before[-1]["position_qty"]), moved, exact(after[-1]["position_qty"]))
        assert row["result"] == "ok" and exact(row["unexplained"]) == 0 and row["fills"] == len(fills)
        assert exact(row["fees_of_fills"]) == exact(after[-1]["fees_accum"]) - exact(before[-1]["fees_accum"])
        traded += len(fills)
    assert traded > 100


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "queries").glob("*.sql")))
def test_each_is_asked_by_the_script(day: Day, name: str) -> None:
    environment = os.environ | {"COLDPATH_LOADER_URL": day.pipeline.clickhouse.url}
    span = [f"{key}={datetime.datetime.fromtimestamp(time // SECOND, datetime.timezone.utc):%Y-%m-%d %H:%M:%S}" for key, time in (("from", day.begin), ("to", day.end))]

    def said(*more: str, expect: int = 0) -> str:
        done = subprocess.run([ROOT / "queries" / "run", *more], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    settings = {"pnl_and_exposure": {"step": 300}, "around_guardrail": {"seconds": 60}, "risk_to_execution": {"allowed": "['allow']"}}
    rows = day.ask(name, **settings.get(name, {}))
    lines = said(name, *span, "format=JSONEachRow", "--compressed").splitlines()
    assert rows and [json.loads(line).keys() for line in lines] == [row.keys() for row in rows]
    assert "┌" in said(name, *span)
    assert name in said("nothing", expect=64) and "neither a parameter" in said(name, "frm=2026-01-01", expect=64)
    assert said(name, "from=2001-01-01", "format=TSV") == ""


def test_a_fill_that_is_gone_or_doubled_is_found_by_reconciliation(day: Day) -> None:
    victim = next(fill for fill in day.tables["fills"] if day.begin + 600 * SECOND < fill["ts_local"] < day.end - 600 * SECOND)
    columns = ", ".join(name for name, in day.pipeline.clickhouse.rows("SELECT name FROM system.columns WHERE table = 'fills' AND database = currentDatabase()"))
    day.pipeline.clickhouse.query(f"CREATE TABLE taken ENGINE = Memory AS SELECT {columns} FROM fills WHERE fill_id = '{victim['fill_id']}'")
    for change in ("ALTER TABLE fills DELETE WHERE fill_id IN (SELECT fill_id FROM taken)", f"INSERT INTO fills ({columns}) SELECT {columns} FROM taken",
                   f"INSERT INTO fills ({columns}) SELECT {columns} FROM taken"):
        day.pipeline.clickhouse.query(change, mutations_sync="1", insert_deduplicate="0")
        rows = day.ask("reconciliation")
        there = int(day.pipeline.clickhouse.query(f"SELECT count() FROM fills WHERE fill_id = '{victim['fill_id']}'"))
        differing = [row for row in rows if row["result"] != "ok"]
        if there == 1:
            assert not differing
        else:
            assert [(row["strategy"], row["symbol"], row["result"]) for row in differing] == [(victim["strategy"], victim["symbol"], "DIFFERS")]
            sign = 1 if victim["side"] == "buy" else -1
            assert exact(differing[0]["unexplained"]) == sign * exact(victim["fill_qty"]) * (1 - there) and rows[0] == differing[0]
    day.pipeline.clickhouse.query("DROP TABLE taken")
