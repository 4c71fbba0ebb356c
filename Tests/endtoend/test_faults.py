"""Whatever happens to an insert or to its answer, each row is in ClickHouse once."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checks import assert_exactly_once
from pipeline import Pipeline, wait_until

INSERT_FAULTS: dict[str, dict[str, Any]] = {
    "connection closed before": {"action": "drop_before"},
    "connection reset before": {"action": "drop_before", "reset": True},
    "connection closed after": {"action": "drop_after"},
    "connection reset after": {"action": "drop_after", "reset": True},
    "503 before": {"action": "status", "status": 503, "headers": {"Retry-After": "1"}, "body": "busy"},
    "503 after": {"action": "status_after", "status": 503, "body": "lost by a proxy"},
    "502 after": {"action": "status_after", "status": 502},
    "500 before": {"action": "status", "status": 500, "body": "Code: 241. DB::Exception: Memory limit (total) exceeded"},
    "text with 200 before": {"action": "status", "status": 200, "body": "Code: 241. DB::Exception: Memory limit (total) exceeded"},
    "302 before": {"action": "status", "status": 302, "headers": {"Location": "/elsewhere"}},
    "204 before": {"action": "status", "status": 204},
    "no HTTP before": {"action": "garbage"},
    "no HTTP after": {"action": "garbage_after"},
    "answer cut by length": {"action": "truncate"},
    "answer cut between chunks": {"action": "truncate", "framing": "chunked"},
    "exception header with 200": {"action": "exception_header_200"},
    "no answer, not executed": {"action": "hang"},
    "no answer, executed": {"action": "hang_after"},
    "slow answer": {"action": "delay_after", "ms": 300},
}

KILLS = ("kill_before", "kill_during", "kill_after")


@pytest.mark.parametrize("name", INSERT_FAULTS)
def test_rows_arrive_once_after(name: str, pipeline: Pipeline, orders_file: Path) -> None:
    """The fault strikes the first insert, its repeat, and one later on."""
    fault = {"match": "INSERT INTO", **INSERT_FAULTS[name]}
    pipeline.import_files(orders_file)
    pipeline.clickhouse.plan_faults(fault, fault, {"match": "INSERT INTO", "action": "delay", "ms": 1}, fault)
    pipeline.load_once()
    assert len(pipeline.clickhouse.faults_done()) == 4
    assert_exactly_once(pipeline, orders_file)


@pytest.mark.parametrize("question", ["drop_before", "garbage", "truncate", "exception_header_200", "hang"])
def test_rows_arrive_once_when_the_question_fails_too(question: str, pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "drop_after"}, {"match": "count()", "action": question},
                                    {"match": "count()", "action": question})
    pipeline.load_once()
    assert len(pipeline.clickhouse.faults_done()) == 3
    assert_exactly_once(pipeline, orders_file)


@pytest.mark.parametrize("action", KILLS)
def test_rows_arrive_once_after_the_server_was_killed(action: str, pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    for _ in range(3):
        pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": action, "ms": 2})
        if not pipeline.loader.is_alive:
            pipeline.loader.start()
        if not wait_until(lambda: not pipeline.clickhouse.is_alive, 3):
            break  # nothing was left to be inserted
        pipeline.clickhouse.start_and_wait()
    assert pipeline.loader.is_alive
    pipeline.loader.stop()
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)


def test_a_token_that_was_spent_by_a_crash_does_not_lose_its_batch(pipeline: Pipeline, orders_file: Path) -> None:
    """ClickHouse takes the token, loses the part, and answers a repeat with 200. Here the token is spent beforehand: the rows
    are inserted by a first load and then dropped, without the tokens being forgotten."""
    pipeline.config.write_text(pipeline.config.read_text().replace("batch_rows = 200", "batch_rows = 10000"))
    pipeline.import_files(orders_file)
    pipeline.load_once()
    pipeline.clickhouse.query("ALTER TABLE orders DELETE WHERE 1 SETTINGS mutations_sync = 2")
    assert pipeline.clickhouse.query("SELECT count() FROM orders").strip() == "0"
    pipeline.checkpoints.rename(pipeline.directory / "lost")
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "drop_before"})
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)
