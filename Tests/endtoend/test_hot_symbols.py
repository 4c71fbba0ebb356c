"""market_data moves to partitions by day and hot symbol while rows come in (`schemas/optional/market_data_by_symbol.sql`)."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline import ROOT, SCHEMAS, Pipeline, Process, wait_until

sys.path.insert(0, str(ROOT / "Benchmarks"))
from latency import PacedSender, check_rows  # noqa: E402

MakePipeline = Callable[..., Pipeline]
NAME = "market_data_by_symbol.sql"


def partitions(pipeline: Pipeline) -> set[str]:
    """The second part of each partition: the hot symbol, or nothing."""
    rows = pipeline.clickhouse.rows("SELECT DISTINCT partition FROM system.parts WHERE active AND table = 'market_data' AND database = currentDatabase()")
    return {text.split(",")[1].strip(" ')") for text, in rows}


def test_rows_that_come_in_meanwhile_are_there_once(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """The migrator is killed while it copies, answers to inserts are lost around the moment at which the tables trade names."""
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    pipeline = make_pipeline(faults=True, schemas=schemas)
    pipeline.start_clickhouse()
    pipeline.start_writer()
    pipeline.loader.start()
    sender = PacedSender(pipeline.socket, 3_000, 60, seed=7)
    sender.start()
    assert wait_until(lambda: int(pipeline.clickhouse.query("SELECT count() FROM market_data")) > 2_000, 30)
    shutil.copy(SCHEMAS / "optional" / NAME, schemas / f"0099_{NAME}")

    # Killed in the first copy, with half of it done.
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO market_data_by_symbol", "action": "hang_after"})
    migration = Process("migrate", pipeline.loader_command("migrate", "apply"), pipeline.directory / "migrate.log")
    migration.start()
    assert wait_until(lambda: bool(pipeline.clickhouse.faults_done()), 30)
    migration.kill()
    # Killed again just after the old table has stepped aside; inserts that were under way lose their answers.
    lost = [{"match": "INSERT INTO `market_data`", "action": action} for action in ("drop_after", "drop_before", "hang_after", "drop_after")]
    pipeline.clickhouse.plan_faults({"match": "RENAME TABLE market_data TO", "action": "hang_after"}, *lost)
    migration.start()
    assert wait_until(lambda: any("RENAME" in fault["sql"] for fault in pipeline.clickhouse.faults_done()), 30)
    migration.kill()
    log = pipeline.loader.log
    assert wait_until(lambda: "market_data is not in ClickHouse" in log.read_text() or "UNKNOWN_TABLE" in log.read_text(), 30)
    pipeline.clickhouse.plan_faults()
    pipeline.run_loader("migrate", "apply")
    moved = int(pipeline.clickhouse.query("SELECT count() FROM market_data"))
    assert wait_until(lambda: int(pipeline.clickhouse.query("SELECT count() FROM market_data")) > moved + 2_000, 30)
    sender.stop()
    sender.join()
    assert sender.failure is None

    def all_there() -> bool:
        return int(pipeline.clickhouse.query("SELECT count() FROM market_data")) >= sender.sent["market_data"]

    assert wait_until(all_there, 60), log.read_text()[-3000:]
    assert pipeline.loader.is_alive
    assert check_rows(pipeline, sender) == []
    assert partitions(pipeline) == {"BTCUSDT", "ETHUSDT", ""}
    assert {name for name, in pipeline.clickhouse.rows("SELECT name FROM system.tables WHERE startsWith(name, 'market_data')")} == {"market_data"}
    pipeline.run_loader("migrate", "status")
    pipeline.writer.stop()
    pipeline.loader.stop()
    pipeline.run_loader("audit")
