#!/usr/bin/env python3
"""Columns are added while writer and loader run at full rate: is every row there once, without a restart of the loader?

Twice, in both orders. At first the writer is restarted with a new file of schemas/, so that its chunks meet tables which lack the column: the
loader waits, says which migration is missing, and goes on by itself once it was applied. Then the migration comes first and the writer's restart
behind it. Half-way through, the writer is killed instead of stopped. Rows that give the new columns are sent beside the old producer, which knows of none.

Exit status: 0 all rows are there once, 1 they are not, 74 something did not start.
"""
from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "Benchmarks")]

import session  # noqa: E402
from latency import PacedSender, check_rows  # noqa: E402
from pipeline import SCHEMAS, Pipeline, Trouble, end_on_signals, wait_until  # noqa: E402
from send_events import Producer  # noqa: E402

ADDED = {
    "0101_market_session.sql": """-- statement: market_data says in which session it was taken
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS session LowCardinality(String) DEFAULT 'day' AFTER source;
-- statement: orders too
ALTER TABLE orders ADD COLUMN IF NOT EXISTS session LowCardinality(String) DEFAULT 'day' AFTER risk_decision_id;
-- statement: accounts have a tier
ALTER TABLE account_state ADD COLUMN IF NOT EXISTS tier Nullable(Int32) AFTER risk_mode;
""",
    "0102_market_latency.sql": """-- statement: market_data says how old it was
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS latency_ns Int64 DEFAULT -1 AFTER session;
-- statement: tiers may be large
ALTER TABLE account_state MODIFY COLUMN tier Nullable(Int64);
-- statement: fills have a venue
ALTER TABLE fills ADD COLUMN IF NOT EXISTS venue String DEFAULT '' AFTER source;
""",
}
TIER = 2 ** 40


class Accounts(threading.Thread):
    """Account states with and without the new column, one after the other."""

    def __init__(self, socket: Path) -> None:
        super().__init__(name="accounts", daemon=True)
        self.sent: list[int | None] = []
        self.tier: int | None = None
        self.refused: list[object] = []
        self._producer = Producer(str(socket), "accounts", self.refused.append)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.005):
            event = {"table": "account_state", "ts": time.time_ns(), "account_id": f"A-{len(self.sent)}", "equity": "1", "cash": "1", "day_pnl": "0", "risk_mode": "normal"}
            if self.tier is not None:
                event["tier"] = self.tier + len(self.sent)
            self.sent.append(event.get("tier"))  # type: ignore[arg-type]
            self._producer.put(json.dumps(event).encode() + b"\n")
            self._producer.pump(0)

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if not self._producer.finish(60):
            raise Trouble(f"{self._producer.pending} account states do not become durable")


class Live:
    """One run."""

    def __init__(self, directory: Path, rate: int, seconds: float, seed: int) -> None:
        schemas = directory / "schemas"
        shutil.copytree(SCHEMAS, schemas)
        self.pipeline = Pipeline(directory / "pipeline", schemas=schemas)
        self.sender = PacedSender(self.pipeline.socket, rate, seconds, seed)
        self.accounts = Accounts(self.pipeline.socket)
        self.seconds = seconds
        self.notes: list[str] = []

    def run(self) -> list[str]:
        """What is wrong."""
        pipeline = self.pipeline
        pipeline.start_clickhouse()
        pipeline.start_writer()
        pipeline.loader.start()
        loader = pipeline.loader.pid
        self.sender.start()
        self.accounts.start()
        self._until(0.2)
        self._writer_first()
        self._until(0.6)
        self._migration_first()
        self.sender.join()
        self.accounts.stop()
        if self.sender.failure:
            raise Trouble(f"the sender stopped: {self.sender.failure}")
        self._await_all()
        wrong = check_rows(pipeline, self.sender) + self._check_accounts()
        if pipeline.loader.pid != loader or not pipeline.loader.is_alive:
            wrong.append("the loader was restarted")
        pipeline.run_loader("migrate", "status")
        pipeline.writer.stop()
        pipeline.loader.stop()
        pipeline.run_loader("audit")
        return wrong

    def _writer_first(self) -> None:
        """New chunks meet the old tables."""
        name = "0101_market_session.sql"
        (self.pipeline.schemas / name).write_text(ADDED[name])
        began = time.monotonic()
        self.pipeline.writer.kill()
        self.pipeline.start_writer()
        self.accounts.tier = 5
        log = self.pipeline.loader.log
        if not wait_until(lambda: "column session" in log.read_text() and "is in the spool and not in ClickHouse" in log.read_text(), 30):
            raise Trouble(f"the loader does not say what it waits for; see {log}")
        time.sleep(min(2.0, self.seconds / 10))
        applied = time.monotonic()
        self.pipeline.run_loader("migrate", "apply")
        loaded = self._loaded_with("session")
        self.notes.append(f"writer killed and restarted first: tables lacked the columns for {applied - began:.1f} s, the loader went on {loaded - applied:.1f} s after migrate apply began")

    def _migration_first(self) -> None:
        name = "0102_market_latency.sql"
        (self.pipeline.schemas / name).write_text(ADDED[name])
        applied = time.monotonic()
        self.pipeline.run_loader("migrate", "apply")
        self.notes.append(f"migration first: migrate apply took {time.monotonic() - applied:.1f} s under load")
        time.sleep(min(1.0, self.seconds / 10))
        self.pipeline.writer.stop()
        self.pipeline.start_writer()
        self.accounts.tier = TIER

    def _loaded_with(self, column: str) -> float:
        """When rows of chunks that have the column arrive: until then those that lie in front of them."""
        before = int(self.pipeline.clickhouse.query("SELECT count() FROM market_data"))
        if not wait_until(lambda: int(self.pipeline.clickhouse.query("SELECT count() FROM market_data")) > before, 60):
            raise Trouble(f"the loader does not go on after migrate apply; see {self.pipeline.loader.log}")
        return time.monotonic()

    def _until(self, share: float) -> None:
        deadline = time.monotonic() + self.seconds
        while self.sender.is_alive() and self.sender.sent["market_data"] < 0.9 * share * self.sender._rate * self.seconds and time.monotonic() < deadline:
            time.sleep(0.02)

    def _await_all(self) -> None:
        wanted = {**self.sender.sent, "account_state": len(self.accounts.sent)}

        def missing() -> dict[str, int]:
            counts = {table: int(self.pipeline.clickhouse.query(f"SELECT count() FROM {table}")) for table in wanted}
            return {table: wanted[table] - count for table, count in counts.items() if count < wanted[table]}

        if not wait_until(lambda: not missing(), 120, step=0.1):
            raise Trouble(f"not all rows became visible; missing {missing()}")

    def _check_accounts(self) -> list[str]:
        wrong = [f"refused: {refusal}" for refusal in self.accounts.refused]
        rows = self.pipeline.clickhouse.rows("SELECT account_id, toString(tier) FROM account_state")
        found = {name: None if tier is None else int(tier) for name, tier in rows}
        expected = {f"A-{number}": tier for number, tier in enumerate(self.accounts.sent)}
        if len(rows) != len(expected) or found != expected:
            wrong.append(f"account_state: {len(rows)} rows for {len(expected)} sent, {sum(found.get(name) != tier for name, tier in expected.items())} with another tier")
        if not any(tier and tier >= TIER for tier in found.values()):
            wrong.append("account_state: no tier of the last version arrived")
        return wrong


def main() -> int:
    parser = session.parser(__doc__, "")
    parser.add_argument("--rate", type=int, default=25_000, help="rows a second (default 25000)")
    parser.add_argument("--seconds", type=float, default=60)
    options = session.parse(parser)
    end_on_signals()
    directory = session.work_directory("evolve", options)
    live = Live(directory, options.rate, options.seconds, options.seed)
    try:
        wrong = live.run()
    except (Trouble, OSError) as error:
        return session.not_started("evolve", options, directory, error)
    finally:
        live.pipeline.kill()
    rows = sum(live.sender.sent.values()) + len(live.accounts.sent)
    print(f"{rows:,} rows in {live.sender.elapsed:.1f} s ({rows / live.sender.elapsed:,.0f} rows/s), three tables of a fixed producer and account_state")
    for note in live.notes:
        print(f"  {note}")
    for text in wrong:
        print(f"WRONG: {text}")
    if not wrong:
        print("  missing 0, repeated 0, every value of the new columns right; the loader was never restarted")
    return session.ended("evolve", options, directory, wrong)


if __name__ == "__main__":
    sys.exit(main())
