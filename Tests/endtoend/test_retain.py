"""Roll-ups and retention: `spool-loader rollup` and `retain`."""
from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from pipeline import SCHEMAS, Pipeline, Process, wait_until

MakePipeline = Callable[..., Pipeline]
KEEP = QUICK + '[tables.market_data]\nretention = "30d"\n[tables.metrics_timeseries]\nretention = "30d"\n'
DAY = 86_400 * 10 ** 9
BAR = ("mid_open", "mid_high", "mid_low", "mid_close", "last_open", "last_high", "last_low", "last_close", "volume", "buy_volume", "sell_volume", "notional",
       "spread_avg", "spread_min", "spread_max", "rows", "quotes", "trades")
SUMS = {"volume", "buy_volume", "sell_volume", "notional", "spread_avg"}


def today() -> int:
    """The first nanosecond of this day in UTC."""
    now = dt.datetime.now(dt.timezone.utc)
    return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * 10 ** 9


def market(rng: random.Random, at: int, **fixed: Any) -> dict[str, Any]:
    bid = round(rng.uniform(90, 110), 2)
    event: dict[str, Any] = {
        "table": "market_data", "ts_exchange": at, "ts_local": at + 1000, "symbol": rng.choice(("AAA", "BBB", "CCC")), "source": rng.choice(("one", "two")),
        "event": rng.choice(("quote", "quote", "quote", "trade", "snapshot")), "bid_px1": bid, "ask_px1": round(bid + rng.choice((0.01, 0.02, 0.5)), 2)}
    if event["event"] == "trade":
        event |= {"last_price": bid, "last_qty": rng.choice((0.1, 0.25, 3, 1e-8)), "aggressor": rng.choice(("buy", "sell", "unknown"))}
    if rng.random() < 0.1:
        del event[rng.choice(("bid_px1", "ask_px1"))]
    return event | fixed


def day_of(rng: random.Random, first: int, rows: int) -> list[dict[str, Any]]:
    """Some busy seconds, and rows all over the day; written in no order of time, with equal times among them."""
    events = [market(rng, first + rng.randrange(40) * 10 ** 9 + rng.randrange(5) * 2 * 10 ** 8) for _ in range(rows * 2 // 3)]
    return events + [market(rng, first + rng.randrange(DAY)) for _ in range(rows - len(events))]


def bars_of(events: list[dict[str, Any]]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """The bars by the definition in docs/rollups.md, computed from the events; their order in the list is that of their sequences."""
    groups: dict[tuple[str, str, int], list[tuple[int, int, dict[str, Any]]]] = defaultdict(list)
    for number, event in enumerate(events):
        groups[event["symbol"], event["source"], event["ts_exchange"] // 10 ** 9].append((event["ts_exchange"], number, event))
    bars = {}
    for key, rows in groups.items():
        rows.sort(key=lambda row: row[:2])
        trades = [event for _, _, event in rows if event["event"] == "trade"]
        quotes = [event for _, _, event in rows if event["event"] != "trade" and "bid_px1" in event and "ask_px1" in event]
        mids = [(event["bid_px1"] + event["ask_px1"]) / 2 for event in quotes]
        spreads = [event["ask_px1"] - event["bid_px1"] for event in quotes]
        prices = [event["last_price"] for event in trades]

        def ohlc(values: list[float]) -> list[float | None]:
            return [values[0], max(values), min(values), values[-1]] if values else [None] * 4

        def volume(side: str | None) -> float:
            return math.fsum(event["last_qty"] for event in trades if side in (None, event["aggressor"]))

        bars[key] = dict(zip(BAR, [
            *ohlc(mids), *ohlc(prices), volume(None), volume("buy"), volume("sell"), math.fsum(event["last_qty"] * event["last_price"] for event in trades),
            math.fsum(spreads) / len(spreads) if spreads else None, min(spreads) if spreads else None, max(spreads) if spreads else None,
            len(rows), len(quotes), len(trades)]))
    return bars


def stored(pipeline: Pipeline, table: str = "market_bars_1s") -> dict[tuple[str, str, int], dict[str, Any]]:
    numbers = [f"toInt64({name})" if name in ("rows", "quotes", "trades") else name for name in BAR]
    rows = pipeline.clickhouse.rows(f"SELECT symbol, source, toString(toUnixTimestamp(ts)), {', '.join(numbers)} FROM {table}", output_format_json_quote_64bit_integers="0")
    return {(symbol, source, int(ts)): dict(zip(BAR, values)) for symbol, source, ts, *values in rows}


def assert_bars(pipeline: Pipeline, events: list[dict[str, Any]]) -> None:
    expected, found = bars_of(events), stored(pipeline)
    assert found.keys() == expected.keys()
    for key, bar in expected.items():
        for name, value in bar.items():
            if name in SUMS and value is not None:
                assert math.isclose(found[key][name], value, rel_tol=1e-12), (key, name)
            else:
                assert found[key][name] == value, (key, name)


def load(pipeline: Pipeline, events: list[dict[str, Any]], name: str) -> None:
    path = pipeline.directory / f"{name}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    pipeline.import_files(path)
    pipeline.load_once()


def days(pipeline: Pipeline, table: str, column: str) -> set[str]:
    return {day for day, in pipeline.clickhouse.rows(f"SELECT DISTINCT toString(toDate({column})) FROM {table}")}


def name_of(first: int) -> str:
    return dt.datetime.fromtimestamp(first // 10 ** 9, dt.timezone.utc).strftime("%Y-%m-%d")


def quick_pipeline(make_pipeline: MakePipeline, settings: str, **options: Any) -> Pipeline:
    # What is expired changes at midnight: not in the middle of a test.
    rest = (today() + DAY) / 1e9 - time.time()
    if rest < 120:
        time.sleep(rest + 1)
    settings = settings.replace("batch_rows = 200\n", "batch_rows = 500000\n").replace("chunk_rows = 100\n", "")
    pipeline = make_pipeline(faults=True, settings=settings, **options)
    pipeline.clickhouse.start_and_wait()
    return pipeline


def test_bars_are_those_of_the_rows_late_ones_too(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    rng = random.Random(3)
    events = [event for back in (3, 2, 1, 0) for event in day_of(rng, today() - back * DAY, 300)]
    load(pipeline, events, "events")
    said = pipeline.run_loader("rollup", "--dry-run").stdout
    assert said.count("would make bars of") == 4 and stored(pipeline) == {}
    assert pipeline.run_loader("rollup").stdout.count(" bars of ") == 4
    assert_bars(pipeline, events)
    assert "nothing to do" in pipeline.run_loader("rollup").stdout
    # The view computes the same of a day that has none.
    day = name_of(today())
    assert stored(pipeline, f"market_bars_1s_of(day = '{day}')") == {key: bar for key, bar in stored(pipeline).items() if key[2] * 10 ** 9 >= today()}
    late = day_of(rng, today() - 2 * DAY, 50)
    load(pipeline, late, "late")
    assert pipeline.run_loader("rollup").stdout.count(" bars of ") == 1
    assert_bars(pipeline, events + late)
    # A day by command; what somebody did to the bars is undone.
    pipeline.clickhouse.query(f"ALTER TABLE market_bars_1s DROP PARTITION '{day}'")
    assert f"{day}: " in pipeline.run_loader("rollup").stdout
    pipeline.run_loader("rollup", "--day", day)
    assert_bars(pipeline, events + late)
    assert {name for name, in pipeline.clickhouse.rows("SELECT name FROM system.tables WHERE name LIKE '%staging%'")} == set()


@pytest.mark.parametrize("action", ["hang", "hang_after"])
def test_a_roll_up_that_is_killed_or_doubled_changes_nothing(make_pipeline: MakePipeline, action: str) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    events = [event for back in (1, 0) for event in day_of(random.Random(5), today() - back * DAY, 100)]
    load(pipeline, events, "events")
    for count in range(0, 22, 1 if os.environ.get("KILLS") == "all" else 3):
        pipeline.clickhouse.query("TRUNCATE TABLE market_bars_days")
        pipeline.clickhouse.plan_faults(*[{"match": "", "action": "delay", "ms": 0}] * count, {"match": "", "action": action})
        process = Process("rollup", pipeline.loader_command("rollup"), pipeline.directory / "rollup.log")
        process.start()
        assert wait_until(lambda: any(fault["action"] == action for fault in pipeline.clickhouse.faults_done()) or not process.is_alive, 20)
        process.kill()
        pipeline.clickhouse.plan_faults()
        both = [subprocess.Popen([str(part) for part in pipeline.loader_command("rollup")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        for one in both:
            _, problem = one.communicate(timeout=60)
            assert one.returncode == 0, problem
        assert_bars(pipeline, events)
    # Answers that are lost on the way.
    pipeline.clickhouse.query("TRUNCATE TABLE market_bars_days")
    pipeline.clickhouse.plan_faults(*[{"match": match, "action": "drop_after"} for match in ("CREATE TABLE", "INSERT INTO market_bars_1s_staging", "REPLACE PARTITION", "INSERT INTO market_bars_days")])
    pipeline.run_loader("rollup")
    assert len(pipeline.clickhouse.faults_done()) == 4
    assert_bars(pipeline, events)


def test_ninety_days(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    rng = random.Random(11)
    first = today() - 90 * DAY
    events = [event for number in range(91) for event in day_of(rng, first + number * DAY, 120)]
    audit = [{"table": "guardrail_transitions", "ts": first + number * DAY, "prev_mode": "a", "next_mode": "b", "trigger_metric": "m", "value": 1, "reason": "r"} for number in range(91)]
    audit += [{"table": "account_state", "ts": first + number * DAY, "account_id": "A", "equity": "1", "cash": "1", "day_pnl": "0", "risk_mode": "n"} for number in range(91)]
    metrics = [{"table": "metrics_timeseries", "ts": first + number * DAY + 5, "source": "s", "metric": "m", "value": number} for number in range(91)]
    load(pipeline, events + audit + metrics, "events")
    audits = "SELECT (SELECT sum(cityHash64(*)) FROM guardrail_transitions), (SELECT sum(cityHash64(*)) FROM account_state)"
    before = pipeline.clickhouse.query(audits)

    # A shorter retention: the server must not drop what has no bars.
    pipeline.config.write_text(KEEP)
    said = pipeline.run_loader("migrate", "apply", expect=(1,))
    assert "run `spool-loader retain` first" in said.stderr
    dry = json.loads(pipeline.run_loader("retain", "--dry-run", "--json").stdout)
    # A day is expired once its last moment is 30 days old: 31 days and the rest of today stay.
    gone = {name_of(first + number * DAY) for number in range(91 - 31)}
    stay = {name_of(first + number * DAY) for number in range(91 - 31, 91)}
    assert {item["partition"] for item in dry if item["table"] == "market_data"} == gone
    assert days(pipeline, "market_data", "ts_exchange") == gone | stay and stored(pipeline) == {}
    said = pipeline.run_loader("retain")
    assert days(pipeline, "market_data", "ts_exchange") == stay
    assert days(pipeline, "metrics_timeseries", "ts") == stay
    assert re.search(rf"^market_data +{len(gone)} +{len(gone) * 120} +[0-9.]+ KiB$", said.stdout, re.MULTILINE) and "FREED" in said.stdout
    pipeline.run_loader("rollup")
    assert_bars(pipeline, events)
    assert pipeline.clickhouse.query(audits) == before
    assert "nothing is expired" in pipeline.run_loader("retain").stdout
    assert "market_data: its TTL is toDateTime(ts_exchange) + toIntervalDay(37) now" in pipeline.run_loader("migrate", "apply").stdout
    pipeline.run_loader("migrate", "status")
    assert "nothing to do" in pipeline.run_loader("rollup").stdout
    assert {name for name, in pipeline.clickhouse.rows("SELECT name FROM system.tables WHERE name LIKE '%expiring%' OR name LIKE '%staging%'")} == set()


def test_rows_that_come_after_their_day_was_dropped_do_not_spoil_its_bars(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    pipeline.config.write_text(KEEP)
    rng = random.Random(12)
    old = today() - 40 * DAY
    events = day_of(rng, old, 100)
    load(pipeline, events, "events")
    pipeline.run_loader("retain")
    assert days(pipeline, "market_data", "ts_exchange") == set()
    load(pipeline, day_of(rng, old, 10), "late")
    said = pipeline.run_loader("rollup", expect=(1,)).stdout
    assert f"! {name_of(old)}: 10 rows came after the day's rows were dropped" in said
    pipeline.run_loader("rollup", "--day", name_of(old), expect=(1,))
    assert "which came after its bars were made and are not in them" in pipeline.run_loader("retain").stdout
    assert days(pipeline, "market_data", "ts_exchange") == set()
    assert_bars(pipeline, events)


def test_rows_that_clickhouse_takes_by_itself_leave_their_bars(make_pipeline: MakePipeline) -> None:
    """As its TTL does when nobody has run `retain` for a week: a whole day, and a part of one."""
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    rng = random.Random(14)
    whole, part, fresh = (today() - back * DAY for back in (20, 19, 2))
    events = [event for day in (whole, part) for event in day_of(rng, day, 80)]
    load_directly(pipeline, events)
    pipeline.run_loader("rollup")
    assert_bars(pipeline, events)
    pipeline.clickhouse.query(f"ALTER TABLE market_data DROP PARTITION '{name_of(whole)}'")
    pipeline.clickhouse.query(f"ALTER TABLE market_data DELETE WHERE toDate(ts_exchange) = '{name_of(part)}' AND spool_seq % 3 != 0", mutations_sync="1")
    more = day_of(rng, fresh, 50)
    load_directly(pipeline, more)
    said = pipeline.run_loader("rollup", expect=(1,)).stdout
    # It goes on with the other days, and says of what it has not made bars.
    assert f"! {name_of(part)}: only" in said and name_of(whole) not in said and f"{name_of(fresh)}: " in said
    assert_bars(pipeline, events + more)
    # Nor are bars replaced by nothing because somebody asks for it.
    assert "fewer than its bars are of" in pipeline.run_loader("rollup", "--day", name_of(whole), expect=(1,)).stdout
    assert_bars(pipeline, events + more)
    pipeline.config.write_text(QUICK + '[tables.market_data]\nretention = "10d"\n')
    kept = pipeline.run_loader("retain", expect=(1,)).stdout
    assert f"! market_data {name_of(part)}" in kept and "the bars stay" in kept
    assert_bars(pipeline, events + more)


def test_a_file_with_a_shorter_ttl_waits_until_no_day_would_go_without_bars(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    pipeline = quick_pipeline(make_pipeline, QUICK, schemas=schemas)
    pipeline.run_loader("migrate", "apply")
    events = [event for back in (30, 29, 10) for event in day_of(random.Random(16), today() - back * DAY, 60)]
    load_directly(pipeline, events)
    (schemas / "0050_shorter.sql").write_text("ALTER TABLE market_data MODIFY TTL toDateTime(ts_exchange) + INTERVAL 20 DAY")
    said = pipeline.run_loader("migrate", "apply", expect=(1,)).stderr
    assert f"ClickHouse would drop 2 partitions by itself, the oldest {name_of(today() - 30 * DAY)}; run `spool-loader retain` first" in said
    assert len(days(pipeline, "market_data", "ts_exchange")) == 3
    # By the file's TTL less the week for the bars.
    pipeline.run_loader("retain")
    assert days(pipeline, "market_data", "ts_exchange") == {name_of(today() - 10 * DAY)}
    assert "applied 0050_shorter.sql" in pipeline.run_loader("migrate", "apply").stdout
    pipeline.run_loader("rollup")
    assert_bars(pipeline, events)
    # A longer one lets nothing go, and is not held up.
    (schemas / "0051_longer.sql").write_text("ALTER TABLE market_data MODIFY TTL toDateTime(ts_exchange) + INTERVAL 60 DAY")
    pipeline.run_loader("migrate", "apply")


def test_a_new_layout_keeps_rows_as_long_as_the_configuration_says(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """Rows that its own TTL would take are copied into it; and a file with a shorter TTL does not set it meanwhile."""
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    held = {name: (schemas / name).read_text() for name in ("0011_market_data_ttl.sql",)}
    for name in held:
        (schemas / name).unlink()
    pipeline = quick_pipeline(make_pipeline, QUICK, schemas=schemas)
    pipeline.config.write_text(QUICK + '[tables.market_data]\nretention = "300d"\n')
    pipeline.run_loader("migrate", "apply")
    events = [event for back in (250, 120, 1) for event in day_of(random.Random(17), today() - back * DAY, 60)]
    load_directly(pipeline, events)
    for name, text in held.items():
        (schemas / name).write_text(text)
    shutil.copy(SCHEMAS / "optional" / "market_data_by_symbol.sql", schemas / "0099_market_data_by_symbol.sql")
    plan = json.loads(pipeline.run_loader("migrate", "plan", "--json").stdout)
    ttls = [sql for step in plan for sql in step["sql"] if "TTL" in sql]
    assert len(ttls) == 2 and all("TTL toDateTime(ts_exchange) + toIntervalDay(307)" in sql and "97" not in sql for sql in ttls)
    pipeline.run_loader("migrate", "apply")
    pipeline.clickhouse.query("OPTIMIZE TABLE market_data FINAL")
    assert int(pipeline.clickhouse.query("SELECT uniqExact(spool_seq) FROM market_data")) == len(events)
    pipeline.run_loader("migrate", "status")


def test_days_that_were_dropped_are_neither_missing_nor_brought_back(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    rng = random.Random(18)
    events = [event for back in (45, 40, 1) for event in day_of(rng, today() - back * DAY, 90)]
    load(pipeline, events, "events")
    pipeline.config.write_text(KEEP)
    pipeline.run_loader("retain")
    kept = {name_of(today() - DAY)}
    assert days(pipeline, "market_data", "ts_exchange") == kept

    def audit(*more: str) -> tuple[int, int, int, int]:
        result = next(item for item in json.loads(pipeline.run_loader("audit", "--json", expect=(0, 1)).stdout) if item["table"] == "market_data")
        return result["rows"], result["present"], result["expired"]["rows"], result["missing"]["rows"]

    assert audit() == (270, 90, 180, 0)
    # As after a backup was restored, or on another loader: nothing says that these were loaded.
    shutil.rmtree(pipeline.checkpoints)
    plan, = (item for item in json.loads(pipeline.run_loader("backfill", "--json").stdout) if item["table"] == "market_data")
    assert (plan["loaded"], plan["present"], plan["expired"]) == (0, 90, 180)
    assert days(pipeline, "market_data", "ts_exchange") == kept
    # What is truly gone comes back, and nothing else.
    pipeline.clickhouse.query("ALTER TABLE market_data DELETE WHERE spool_seq % 2 = 0", mutations_sync="1")
    assert audit() == (270, 45, 180, 45)
    shutil.rmtree(pipeline.checkpoints)
    pipeline.run_loader("backfill")
    assert audit() == (270, 90, 180, 0)
    # Unless somebody asks for it.
    again, = (item for item in json.loads(pipeline.run_loader("backfill", "--dropped-days", "--json").stdout) if item["table"] == "market_data")
    assert again["loaded"] == 180 and audit() == (270, 270, 0, 0)
    assert_bars(pipeline, [event for event in events if event["ts_exchange"] < today() - 30 * DAY])
    pipeline.run_loader("retain")
    assert days(pipeline, "market_data", "ts_exchange") == kept


def test_bars_of_a_view_that_somebody_changed_prove_nothing(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    events = day_of(random.Random(19), today() - 40 * DAY, 60)
    load_directly(pipeline, events)
    pipeline.config.write_text(KEEP)
    view = pipeline.clickhouse.query("SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = 'market_bars_1s_of' FORMAT TSVRaw").strip()
    pipeline.clickhouse.query("CREATE OR REPLACE VIEW market_bars_1s_of AS " + view.replace("max(mid) AS mid_high", "min(mid) AS mid_high"))
    said = pipeline.run_loader("retain", expect=(1,)).stderr
    assert "the view selects something else than the files say" in said and "migrate status" in said
    assert len(days(pipeline, "market_data", "ts_exchange")) == 1
    report = json.loads(pipeline.run_loader("migrate", "status", "--json", expect=(1,)).stdout)
    drift, = (table for table in report["drift"] if table["table"] == "market_bars_1s_of")
    pipeline.clickhouse.query(drift["mends"][0])
    pipeline.run_loader("retain")
    assert_bars(pipeline, events)


def test_rows_that_the_ttl_will_take_are_told_of(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    path = pipeline.directory / "old.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in day_of(random.Random(20), today() - 200 * DAY, 20)))
    pipeline.import_files(path)
    assert f"older than the table's TTL, such as one of {name_of(today() - 200 * DAY)}: they are loaded, and ClickHouse drops them" in pipeline.load_once().stderr


def test_two_retains_at_once(make_pipeline: MakePipeline) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    pipeline.config.write_text(KEEP)
    events = [event for back in (45, 44, 43) for event in day_of(random.Random(15), today() - back * DAY, 60)]
    load_directly(pipeline, events)
    pipeline.clickhouse.plan_faults({"match": "MOVE PARTITION", "action": "delay_after", "ms": 3000})
    first = Process("retain", pipeline.loader_command("retain"), pipeline.directory / "first.log")
    first.start()
    assert wait_until(lambda: bool(pipeline.clickhouse.faults_done()), 20)
    # One day is set aside, and not proved yet.
    second = pipeline.run_loader("retain", expect=(1,))
    assert "another" in second.stderr and "at work" in second.stderr
    refused = pipeline.run_loader("migrate", "apply", expect=(1,))
    assert "at work" in refused.stderr
    assert wait_until(lambda: not first.is_alive, 20) and first.status == 0
    assert_bars(pipeline, events)
    assert days(pipeline, "market_data", "ts_exchange") == set()


@pytest.mark.parametrize("action", ["hang", "hang_after"])
def test_killed_at_every_request_retain_loses_no_row_without_bars(make_pipeline: MakePipeline, action: str) -> None:
    pipeline = quick_pipeline(make_pipeline, QUICK)
    pipeline.run_loader("migrate", "apply")
    # Not before: with its TTL of 37 days ClickHouse would take the rows away itself.
    pipeline.config.write_text(KEEP)
    events = [event for back in (45, 40) for event in day_of(random.Random(13), today() - back * DAY, 60)]
    count = 0
    while True:
        pipeline.clickhouse.query("TRUNCATE TABLE market_data")
        for table in ("market_bars_1s", "market_bars_days"):
            pipeline.clickhouse.query(f"TRUNCATE TABLE {table}")
        load_directly(pipeline, events)
        pipeline.clickhouse.plan_faults(*[{"match": "", "action": "delay", "ms": 0}] * count, {"match": "", "action": action})
        process = Process("retain", pipeline.loader_command("retain"), pipeline.directory / "retain.log")
        process.start()
        assert wait_until(lambda: any(fault["action"] == action for fault in pipeline.clickhouse.faults_done()) or not process.is_alive, 20)
        ended = not process.is_alive
        process.kill()
        pipeline.clickhouse.plan_faults()
        pipeline.run_loader("retain")
        assert_bars(pipeline, events)
        assert days(pipeline, "market_data", "ts_exchange") == set()
        assert "nothing is expired" in pipeline.run_loader("retain").stdout
        if ended:
            break
        count += 1 if os.environ.get("KILLS") == "all" else 3
    assert count > 20


def load_directly(pipeline: Pipeline, events: list[dict[str, Any]]) -> None:
    columns = ("bid_px1", "ask_px1", "last_price", "last_qty")
    values = [
        f"(fromUnixTimestamp64Nano({event['ts_exchange']}), fromUnixTimestamp64Nano({event['ts_local']}), '{event['symbol']}', '{event['event']}', "
        f"{', '.join(str(event.get(name, 'NULL')) for name in columns)}, '{event.get('aggressor', 'unknown')}', '{event['source']}', 'w', {number + 1})"
        for number, event in enumerate(events)]
    pipeline.clickhouse.query(
        "INSERT INTO market_data (ts_exchange, ts_local, symbol, event, bid_px1, ask_px1, last_price, last_qty, aggressor, source, spool_writer, spool_seq) VALUES "
        + ", ".join(values), insert_deduplicate="0")


@pytest.mark.parametrize("table, keep, problem", [
    ("orders", "364d", "audit rows are kept for at least a year"), ("fills", "30d", "audit rows are kept for at least a year"),
    ("positions_intraday", "11mo", "audit rows are kept for at least a year"), ("orders", "17y", "at most 16 years"),
    ("market_data", "soon", "expected auto, or a time such as 30d"), ("market_data", "0d", "expected auto, or a time such as 30d"),
    ("market_dato", "30d", "schemas define no such table")])
def test_a_retention_that_must_not_be_is_refused_before_anything_is_done(make_pipeline: MakePipeline, table: str, keep: str, problem: str) -> None:
    pipeline = make_pipeline(settings=f'[tables.{table}]\nretention = "{keep}"\n')
    for command in (("retain", "--dry-run"), ("retain",), ("migrate", "apply"), ("migrate", "status")):
        said = pipeline.run_loader(*command, expect=(64,))
        assert problem in said.stderr and table in said.stderr
