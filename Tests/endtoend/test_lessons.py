"""What other shippers learned the hard way, by their issue trackers: one test for each lesson. docs/lessons.md has them as a table."""
from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from checks import assert_exactly_once, rows_by_table, sequences
from conftest import QUICK, MakePipeline
from fronts import Front
from pipeline import Pipeline, wait_until
from rings import crc32c
from send_events import Producer

TODAY = int(time.time()) // 86_400 * 86_400 * 10 ** 9
DAY = 86_400 * 10 ** 9
CHUNK_HEADER = (0x184D2A51).to_bytes(4, "little")


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {"table": "orders", "ts_intent": TODAY - DAY + number, "client_order_id": f"order-{number}", "strategy": "maker", "symbol": "BTCUSDT",
            "side": "buy", "qty": "1.5", "order_type": "limit", "limit_px": "2", "tif": "gtc", "status": "new", "risk_mode": "normal", **changes}


def quote(number: int, **changes: Any) -> dict[str, Any]:
    return {"table": "market_data", "ts_exchange": TODAY - DAY + number, "ts_local": TODAY - DAY + number, "symbol": "BTCUSDT", "event": "quote",
            "bid_px1": 1.5, "source": "feed", **changes}


def event_file(pipeline: Pipeline, name: str, events: list[dict[str, Any]]) -> Path:
    file = pipeline.directory / f"{name}.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return file


def imported(pipeline: Pipeline, name: str, events: list[dict[str, Any]]) -> Path:
    file = event_file(pipeline, name, events)
    pipeline.import_files(file)
    return file


def loader_log(pipeline: Pipeline) -> str:
    return pipeline.loader.log.read_text(errors="replace") if pipeline.loader.log.exists() else ""


def says(pipeline: Pipeline, *texts: str) -> bool:
    """Whether one line of the loader's log has all of these."""
    return any(all(text in line for text in texts) for line in loader_log(pipeline).splitlines())


def has_rows(pipeline: Pipeline, table: str, count: int, seconds: float = 30) -> bool:
    return wait_until(lambda: rows_by_table(pipeline).get(table, 0) == count, seconds, step=0.05)


def checkpoint_file(pipeline: Pipeline, table: str = "orders") -> Path:
    return next(pipeline.checkpoints.glob(f"*/{table}.checkpoint"))


def newest_slot(file: Path) -> dict[str, list[str]]:
    """The lines of the slot with the highest version, by key (docs/spool-format.md §13)."""
    content = file.read_bytes()
    slots = []
    for place in range(0, len(content), 4096):
        text = content[place:place + 4096].decode().rstrip(" \n\0")
        if text:
            fields: dict[str, list[str]] = {}
            for line in text.split("\n"):
                key, _, rest = line.partition(" ")
                fields.setdefault(key, []).append(rest)
            slots.append(fields)
    return max(slots, key=lambda fields: int(fields["version"][0]))


def slot(fields: dict[str, list[str]]) -> bytes:
    body = "".join(f"{key} {value}\n" for key, values in fields.items() if key != "crc32c" for value in values).encode()
    return (body + b"crc32c %08x\n" % crc32c(body)).ljust(4095) + b"\n"


# Records and files


def test_a_torn_record_does_not_stop_the_sink(pipeline: Pipeline) -> None:
    """(a) A half-written record at the end of the file is an outcome, not an error: loading goes on behind it once the writer is back."""
    pipeline.start_writer()
    pipeline.loader.start()
    producer = Producer(str(pipeline.socket), "engine")
    events = [order(number) for number in range(500)]
    for event in events[:300]:
        producer.put(json.dumps(event).encode() + b"\n")
    assert producer.finish(20)
    pipeline.writer.kill()
    segment = max(pipeline.spool.glob("orders/*.lz4"))
    content = segment.read_bytes()
    chunk = content.index(CHUNK_HEADER)
    with open(segment, "r+b") as file:
        # A chunk that was being written: its header, and less data than that promises.
        # Behind what is durable; not behind its last byte that is not zero, which may be one before.
        file.seek(int.from_bytes((segment.parent / "durable").read_bytes()[32:40], "little"))
        file.write(content[chunk:chunk + 700])
    assert has_rows(pipeline, "orders", 300)
    assert pipeline.loader.is_alive
    pipeline.start_writer()
    assert list(pipeline.spool.glob("orders/*.torn-*")), "what is cut off is kept"
    for event in events[300:]:
        producer.put(json.dumps(event).encode() + b"\n")
    assert producer.finish(20)
    assert has_rows(pipeline, "orders", 500)
    assert pipeline.loader.is_alive and not says(pipeline, "RecorderFailure")
    pipeline.writer.stop()
    pipeline.loader.stop()
    pipeline.load_once()
    assert_exactly_once(pipeline, event_file(pipeline, "all", events))


def test_a_corrupt_chunk_at_the_start_holds_nothing_up(pipeline: Pipeline) -> None:
    """(b) Alive is not healthy: a corrupt first chunk is passed, said and listed, and the checkpoint moves behind it. That a checkpoint that
    stands still while there is backlog is an alarm each minute, StandstillTests hold."""
    imported(pipeline, "orders", [order(number) for number in range(1000)])
    segment, = pipeline.spool.glob("orders/*.lz4")
    content = bytearray(segment.read_bytes())
    content[content.index(CHUNK_HEADER) + 400] ^= 1
    segment.write_bytes(content)
    pipeline.loader.start()
    assert has_rows(pipeline, "orders", 900)
    assert says(pipeline, "quarantined rows 1 to 100", segment.name)
    assert wait_until(lambda: newest_slot(checkpoint_file(pipeline))["next"] == ["1001"], 10)
    listed, = json.loads(pipeline.run_loader("requeue", "--plan", "--json").stdout)
    assert listed["rows"] == 100
    pipeline.run_loader("verify", expect=(1,))


def test_a_backlog_of_hundreds_of_megabytes_is_not_loaded_into_memory(make_pipeline: MakePipeline) -> None:
    """(c) Start-up with a large backlog: memory of the loader's own stays below 24 MiB while it waits and while it drains."""
    pipeline = make_pipeline(settings=QUICK.replace("batch_rows = 200", "batch_rows = 500000").replace("chunk_rows = 100", "chunk_rows = 4000"), faults=True)
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply")
    rows, text_bytes = 10_000, 8_192
    file = pipeline.directory / "wide.jsonl"
    with open(file, "w") as out:
        for number in range(rows):
            event = {"table": "guardrail_transitions", "ts": TODAY - DAY + number, "prev_mode": "normal", "next_mode": "storm", "trigger_metric": "drawdown",
                     "reason": os.urandom(text_bytes).hex()}
            out.write(json.dumps(event) + "\n")
    pipeline.import_files(file)
    file.unlink()
    backlog = sum(path.stat().st_size for path in pipeline.spool.rglob("*.lz4"))
    assert backlog > 80 << 20
    pipeline.clickhouse.stop()
    pipeline.loader.start()
    peak = 0

    def is_drained() -> bool:
        nonlocal peak
        status = Path(f"/proc/{pipeline.loader.pid}/status").read_text()
        peak = max(peak, int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) << 10)
        return pipeline.clickhouse.is_alive and rows_by_table(pipeline).get("guardrail_transitions") == rows

    assert not wait_until(is_drained, 1.0, step=0.01)
    pipeline.clickhouse.start_and_wait()
    assert wait_until(is_drained, 60, step=0.01)
    assert peak < 24 << 20, f"{peak / 2 ** 20:.1f} MiB of its own with a backlog of {backlog / 2 ** 20:.0f} MiB"


def test_there_are_tools_to_look_inside(pipeline: Pipeline) -> None:
    """(d) A queue on disk that nothing can read: here ls, cat, verify and the lz4 command read it, without writer and ClickHouse."""
    imported(pipeline, "orders", [order(number) for number in range(300)])
    pipeline.clickhouse.stop()
    listed, = json.loads(pipeline.run_loader("ls", "--json").stdout)
    assert (listed["table"], listed["rows"]) == ("orders", 300)
    shown = [json.loads(line) for line in pipeline.run_loader("cat", "orders", "--format", "json", "--from", "10", "--to", "12").stdout.splitlines()]
    assert [row["client_order_id"] for row in shown] == [f"order-{number}" for number in range(9, 9 + len(shown))] and shown
    pipeline.run_loader("verify")
    segment, = pipeline.spool.glob("orders/*.lz4")
    native = subprocess.run(["lz4", "-dc", segment], capture_output=True, check=True).stdout
    assert all(f"order-{number}".encode() in native for number in range(300))


# ClickHouse says no


def test_a_table_that_is_not_there_loses_nothing(pipeline: Pipeline) -> None:
    """(e) 404 is not "drop it": rows of a table that is missing wait, a person is called, and they are loaded once it is there."""
    pipeline.clickhouse.query("RENAME TABLE orders TO elsewhere")
    pipeline.loader.start()
    file = imported(pipeline, "orders", [order(number) for number in range(700)])
    assert wait_until(lambda: says(pipeline, "RecorderFailure", "migrate apply"), 20)
    # Gone while it is being loaded, too: ClickHouse then answers 404.
    pipeline.clickhouse.query("RENAME TABLE elsewhere TO orders")
    assert has_rows(pipeline, "orders", 700)
    pipeline.clickhouse.query("RENAME TABLE orders TO elsewhere")
    more = imported(pipeline, "more", [order(number) for number in range(700, 1000)])
    assert wait_until(lambda: says(pipeline, "60", "UNKNOWN_TABLE") or loader_log(pipeline).count("migrate apply") > 1, 20), loader_log(pipeline)
    assert pipeline.loader.is_alive
    pipeline.clickhouse.query("RENAME TABLE elsewhere TO orders")
    assert has_rows(pipeline, "orders", 1000)
    assert pipeline.loader.stop() == 0
    assert_exactly_once(pipeline, file, more)


REFUSED = (150, 151, 733)


def poisoned(pipeline: Pipeline) -> Path:
    """1,000 orders of which the table takes all but three."""
    events = [order(number, strategy="poison" if number in REFUSED else "maker") for number in range(1000)]
    pipeline.clickhouse.query("ALTER TABLE orders ADD CONSTRAINT no_poison CHECK strategy != 'poison'")
    return imported(pipeline, "orders", events)


def test_rejected_rows_do_not_vanish(pipeline: Pipeline) -> None:
    """(f) Rows that ClickHouse refuses are kept with its reason and their values, counted by audit, and come back with requeue."""
    file = poisoned(pipeline)
    pipeline.load_once(expect=(1,))
    assert rows_by_table(pipeline) == {"orders": 997}
    listed = json.loads(pipeline.run_loader("requeue", "--plan", "--json").stdout)
    assert [json.loads(entry["values"])["client_order_id"] for entry in listed] == [f"order-{number}" for number in REFUSED]
    text = pipeline.run_loader("requeue", "--plan").stdout
    assert text.count("469 VIOLATED_CONSTRAINT") == len(REFUSED) and "no_poison" in text
    audit, = json.loads(pipeline.run_loader("audit", "--json", expect=(0, 1)).stdout)
    assert (audit["quarantined"]["rows"], audit["missing"]["rows"]) == (len(REFUSED), 0), audit
    pipeline.clickhouse.query("ALTER TABLE orders DROP CONSTRAINT no_poison")
    pipeline.run_loader("requeue")
    assert_exactly_once(pipeline, file)


def test_poison_is_not_retried_for_ever(pipeline: Pipeline) -> None:
    """(g) A row that can never be taken is refused once for itself, and the rows behind it go on."""
    poisoned(pipeline)
    pipeline.loader.start()
    assert has_rows(pipeline, "orders", 997)
    assert wait_until(lambda: loader_log(pipeline).count("quarantined row ") == len(REFUSED), 20)
    imported(pipeline, "more", [order(number) for number in range(1000, 1400)])
    assert has_rows(pipeline, "orders", 1397)
    assert wait_until(lambda: newest_slot(checkpoint_file(pipeline))["next"] == ["1401"], 10)
    # From here on nothing is sent any more: a fault that waits for an insert is not used up.
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "delay", "ms": 1})
    time.sleep(1)
    assert pipeline.clickhouse.faults_done() == []
    assert loader_log(pipeline).count("quarantined row ") == len(REFUSED)
    assert pipeline.loader.stop() == 0


def test_a_table_that_was_read_only_does_not_hang(pipeline: Pipeline) -> None:
    """(h) A table that refuses inserts for a while (242 TABLE_IS_READ_ONLY) is loaded by itself once it takes them again."""
    answer = {"match": "INSERT INTO", "action": "status", "status": 500, "headers": {"X-ClickHouse-Exception-Code": "242"},
              "body": "Code: 242. DB::Exception: Table is in readonly mode (replica path: /clickhouse/tables/1). (TABLE_IS_READ_ONLY)\n"}
    pipeline.clickhouse.plan_faults(*[answer] * 12)
    pipeline.loader.start()
    file = imported(pipeline, "orders", [order(number) for number in range(600)])
    assert wait_until(lambda: len(pipeline.clickhouse.faults_done()) == 12, 60), loader_log(pipeline)
    assert has_rows(pipeline, "orders", 600)
    assert says(pipeline, "TABLE_IS_READ_ONLY", "tries again")
    assert pipeline.loader.stop() == 0
    assert_exactly_once(pipeline, file)


def test_a_checkpoint_of_the_first_version_goes_on(pipeline: Pipeline) -> None:
    """(i) An upgrade finds a checkpoint of version 1 with a batch in flight that had arrived: it goes on there, and doubles nothing. Blocks
    and checkpoints of before byte for byte: BlockRoundTripTests, CheckpointStoreTests."""
    file = imported(pipeline, "orders", [order(number) for number in range(1000)])
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "delay", "ms": 1}, {"match": "INSERT INTO", "action": "hang_after"})
    pipeline.loader.start()
    assert wait_until(lambda: len(pipeline.clickhouse.faults_done()) == 2 and rows_by_table(pipeline).get("orders", 0) >= 400, 20)
    pipeline.loader.kill()
    path = checkpoint_file(pipeline)
    found = newest_slot(path)
    batch = found["inflight"][0]
    # As the first version wrote it (docs/spool-format.md §13), made by hand: one batch in flight, and no fields of later.
    old = {key: found[key] for key in ("version", "epoch", "writer", "table", "next", "segment", "offset", "rows-loaded", "rows-expired", "rows-quarantined")}
    path.write_bytes(bytes(4096) + slot({"coldpath-checkpoint": ["1"], **old, "inflight": [batch]}))
    pipeline.load_once()
    assert_exactly_once(pipeline, file)
    assert int(newest_slot(path)["epoch"][0]) > int(found["epoch"][0])


# Many partitions


def by_day(days: int) -> list[dict[str, Any]]:
    """Two quotes of each day, in the order of the days; most are still to come, so that the table's TTL takes none."""
    return [quote(number, ts_exchange=TODAY - 10 * DAY + number // 2 * DAY + number) for number in range(2 * days)]


def test_more_than_a_hundred_partitions_are_loaded(pipeline: Pipeline) -> None:
    """(j) ClickHouse refuses an insert of more than 100 partitions, and would for ever: batches are cut by partition, and where the table
    is partitioned in another way than the spool, the refused batch is cut in two until it fits."""
    file = imported(pipeline, "quotes", by_day(150))
    pipeline.load_once()
    assert pipeline.clickhouse.query("SELECT uniqExact(_partition_id) FROM market_data").strip() == "150"
    assert_exactly_once(pipeline, file)
    pipeline.config.write_text(pipeline.config.read_text().replace("batch_rows = 200", "batch_rows = 1000"))
    statement = pipeline.clickhouse.query("SHOW CREATE TABLE fills FORMAT TSVRaw")
    pipeline.clickhouse.query("DROP TABLE fills")
    pipeline.clickhouse.query(re.sub(r"PARTITION BY \S+", "PARTITION BY fill_id", statement))
    fills = imported(pipeline, "fills", [
        {"table": "fills", "ts_exchange": TODAY - DAY + number, "ts_local": TODAY - DAY + number, "client_order_id": "o", "fill_id": f"f{number % 250}",
         "strategy": "maker", "symbol": "A", "side": "buy", "fill_qty": "1", "fill_price": "2", "fees": "0", "source": "s"} for number in range(500)])
    done = pipeline.load_once()
    assert "sent in two parts" in done.stdout + done.stderr
    assert_exactly_once(pipeline, file, fills)


def test_a_backfill_of_many_days_is_loaded(pipeline: Pipeline) -> None:
    """(j) The same for a backfill of 150 days, day after day in one segment."""
    file = imported(pipeline, "quotes", by_day(150))
    pipeline.run_loader("backfill")
    assert pipeline.clickhouse.query("SELECT uniqExact(_partition_id) FROM market_data").strip() == "150"
    assert_exactly_once(pipeline, file)


# Answers that lie, retries that pile up


def test_a_retry_appends_nothing(pipeline: Pipeline) -> None:
    """(k) One record became 83 elsewhere, because each retry wrote it to the queue again: here retries only read."""
    file = imported(pipeline, "order", [order(1)])
    before = {path: path.read_bytes() for path in pipeline.spool.rglob("*") if path.is_file()}
    failure = {"match": "INSERT INTO", "action": "status", "status": 503}
    lost = {"match": "INSERT INTO", "action": "drop_after"}
    unanswered = {"match": "count()", "action": "drop_before"}
    pipeline.clickhouse.plan_faults(*[failure] * 6, lost, *[unanswered] * 3)
    pipeline.loader.start()
    assert wait_until(lambda: len(pipeline.clickhouse.faults_done()) == 10, 60), loader_log(pipeline)
    assert wait_until(lambda: newest_slot(checkpoint_file(pipeline))["next"] == ["2"], 20)
    assert pipeline.loader.stop() == 0
    assert {path: path.read_bytes() for path in pipeline.spool.rglob("*") if path.is_file()} == before
    assert_exactly_once(pipeline, file)


def test_status_200_with_an_exception_is_no_success(pipeline: Pipeline) -> None:
    """(l) HTTP 200 with X-ClickHouse-Exception-Code, or with an error as its body, is a failure. test_faults.py has the other answers."""
    file = imported(pipeline, "orders", [order(number) for number in range(400)])
    text = {"match": "INSERT INTO", "action": "status", "status": 200, "body": "Code: 241. DB::Exception: Memory limit exceeded"}
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "exception_header_200"}, text, text)
    pipeline.load_once()
    assert len(pipeline.clickhouse.faults_done()) == 3
    assert_exactly_once(pipeline, file)


def test_rows_that_were_skipped_in_spite_of_success_are_named_and_brought_back(pipeline: Pipeline) -> None:
    """(m) A success that kept nothing: ClickHouse knows the tokens of rows that were deleted since, and a loader that begins anew is told 200.
    audit names the rows all the same, and backfill brings them. That a repeat is never believed: test_kills.py, test_faults.py."""
    pipeline.config.write_text(pipeline.config.read_text() + "inflight = 1\n")
    file = imported(pipeline, "orders", [order(number) for number in range(600)])
    pipeline.load_once()
    pipeline.clickhouse.query("ALTER TABLE orders DELETE WHERE spool_seq > 200 SETTINGS mutations_sync = 2")
    pipeline.checkpoints.rename(pipeline.directory / "lost")
    pipeline.load_once()
    assert sequences(pipeline, "orders") == (200, 1, 200), "ClickHouse has swallowed them"
    audit, = json.loads(pipeline.run_loader("audit", "--json", expect=(1,)).stdout)
    assert audit["missing"]["ranges"] == [[201, 601]]
    pipeline.run_loader("backfill")
    assert_exactly_once(pipeline, file)


@pytest.mark.parametrize("action", ["hang", "hang_after"])
def test_a_batch_in_flight_is_never_cut_differently(action: str, pipeline: Pipeline) -> None:
    """(n) The same token with other rows would be dropped in silence: after a restart with other limits the batch is the same."""
    file = imported(pipeline, "orders", [order(number) for number in range(1000)])
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "delay", "ms": 1}, {"match": "INSERT INTO", "action": action})
    pipeline.loader.start()
    assert wait_until(lambda: len(pipeline.clickhouse.faults_done()) == 2, 20)
    pipeline.loader.kill()
    assert newest_slot(checkpoint_file(pipeline))["inflight"]
    more = imported(pipeline, "more", [order(number) for number in range(1000, 1500)])
    pipeline.config.write_text(pipeline.config.read_text().replace("batch_rows = 200", "batch_rows = 700"))
    pipeline.load_once()
    assert_exactly_once(pipeline, file, more)


# Who may do what


def test_a_stale_loader_does_not_overwrite_the_checkpoint(pipeline: Pipeline) -> None:
    """(o) Where locks do not reach, the epoch decides: a loader that finds a higher one stops, says who has it, and writes nothing."""
    imported(pipeline, "orders", [order(number) for number in range(400)])
    pipeline.loader.start()
    assert has_rows(pipeline, "orders", 400)
    path = checkpoint_file(pipeline)
    assert wait_until(lambda: newest_slot(path)["next"] == ["401"], 10)
    fields = newest_slot(path)
    epoch, version = int(fields["epoch"][0]) + 1, int(fields["version"][0]) + 1
    path.with_suffix(".lock").write_text(f"host other-host\nprocess 4711\nepoch {epoch}\nsince {TODAY}\n")
    with open(path, "r+b") as file:
        file.seek(version % 2 * 4096)
        file.write(slot(fields | {"epoch": [str(epoch)], "version": [str(version)]}))
    taken = path.read_bytes()
    imported(pipeline, "more", [order(number) for number in range(400, 700)])
    assert wait_until(lambda: says(pipeline, "RecorderFailure", "process 4711 on other-host", f"epoch {epoch}"), 20), loader_log(pipeline)
    assert path.read_bytes() == taken
    assert rows_by_table(pipeline) == {"orders": 400}, "nothing is sent that the checkpoint does not say"


def test_nothing_is_deleted_before_clickhouse_has_acknowledged_it(pipeline: Pipeline) -> None:
    """(p) A segment whose rows were sent, and even arrived, but are not acknowledged, stays; pruning takes it after that."""
    for part in range(3):
        imported(pipeline, f"part{part}", [order(number) for number in range(part * 200, part * 200 + 200)])
    pipeline.clickhouse.plan_faults({"match": "INSERT INTO", "action": "delay", "ms": 1}, {"match": "INSERT INTO", "action": "hang_after"},
                                    *[{"match": "count(), uniqExact(spool_seq) FROM", "action": "hang"}] * 20)
    pipeline.loader.start()
    assert wait_until(lambda: len(pipeline.clickhouse.faults_done()) >= 2 and rows_by_table(pipeline).get("orders", 0) >= 400, 20)
    segments = sorted(pipeline.spool.glob("orders/*.lz4"))
    pipeline.run_loader("prune", "--keep", "0s")
    left = sorted(pipeline.spool.glob("orders/*.lz4"))
    assert left == segments[1:] or left == segments, "only the first one is acknowledged"
    pipeline.loader.kill()
    pipeline.clickhouse.plan_faults()
    pipeline.load_once()
    pipeline.run_loader("prune", "--keep", "0s")
    assert sorted(pipeline.spool.glob("orders/*.lz4")) == segments[-1:]
    assert sequences(pipeline, "orders") == (600, 1, 600)
    pipeline.run_loader("audit")


def test_limits_count_bytes(make_pipeline: MakePipeline) -> None:
    """(q) A limit in batches or rows is none when rows grow: no insert is larger than batch_bytes, whatever the rows are."""
    limit = 256 << 10
    pipeline = make_pipeline(settings=QUICK.replace("batch_rows = 200", f'batch_rows = 500000\nbatch_bytes = "{limit >> 10}KiB"')
                             .replace("chunk_rows = 100", 'chunk_rows = 10000\nchunk_bytes = "64KiB"'))
    pipeline.start_clickhouse()
    rng = random.Random(5)
    events = [{"table": "guardrail_transitions", "ts": TODAY - DAY + number, "prev_mode": "a", "next_mode": "b", "trigger_metric": "m",
               "reason": rng.randbytes(rng.choice((4, 40, 12_000))).hex()} for number in range(800)]
    file = imported(pipeline, "wide", events)
    front = Front(pipeline.clickhouse.port)
    try:
        pipeline.run_loader("run", "--once", "--url", front.url)
    finally:
        front.kill()
    sizes = front.insert_lengths
    assert sum(sizes) > 2 << 20 and max(sizes) <= limit, sizes
    assert_exactly_once(pipeline, file)
