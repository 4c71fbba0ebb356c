"""After an outage the audit tables catch up first."""
from __future__ import annotations

from pathlib import Path

from checks import assert_exactly_once, rows_by_table
from pipeline import Pipeline, wait_until

BATCH_ROWS = 200
SLOW = {"match": "INSERT INTO", "action": "delay", "ms": 40}


def test_market_rows_wait_until_orders_have_caught_up(pipeline: Pipeline, market_file: Path, orders_file: Path) -> None:
    pipeline.import_files(market_file, orders_file)
    orders = len(orders_file.read_bytes().splitlines())
    assert orders > 5 * BATCH_ROWS
    pipeline.clickhouse.plan_faults(*[SLOW] * 60)
    pipeline.loader.start()
    # Market rows first, then orders: what arrives between the two questions can only make the test milder.
    assert wait_until(lambda: rows_by_table(pipeline).get("market_data", 0) > 0, 20, step=0.005)
    seen = rows_by_table(pipeline).get("orders", 0)
    assert seen >= orders - 2 * BATCH_ROWS, f"{seen} of {orders} orders were there when the first market rows came"
    pipeline.loader.stop()
    pipeline.load_once()
    assert_exactly_once(pipeline, market_file, orders_file)


def test_an_audit_table_that_cannot_go_on_holds_nobody_up(pipeline: Pipeline, market_file: Path, orders_file: Path) -> None:
    pipeline.import_files(market_file, orders_file)
    pipeline.clickhouse.query("RENAME TABLE orders TO elsewhere")
    pipeline.loader.start()
    market = len(market_file.read_bytes().splitlines())
    assert wait_until(lambda: rows_by_table(pipeline).get("market_data", 0) == market, 20, step=0.05)
    pipeline.clickhouse.query("RENAME TABLE elsewhere TO orders")
    assert wait_until(lambda: rows_by_table(pipeline).get("orders", 0) > 0, 20, step=0.05)
    pipeline.loader.stop()
    pipeline.load_once()
    assert_exactly_once(pipeline, market_file, orders_file)
