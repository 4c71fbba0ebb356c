"""Power losses made by hand, where chance seldom goes; `make torture` has the others."""
from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import MakePipeline
from pipeline import ROOT, Pipeline, Process, wait_until
from send_events import Producer

sys.path.insert(0, str(ROOT / "Tests" / "chaos"))

from faulty import Disk  # noqa: E402

SETTINGS = """
[writer]
chunk_rows = 20
chunk_age = "20ms"
sync = "each chunk"
"""
ROWS = 400


class Everything(random.Random):
    """Draws a power loss that takes all that was not synced, bytes and names."""

    def choices(self, *_: Any, **__: Any) -> list[Any]:
        return ["lost"]

    def choice(self, seq: Any) -> Any:
        return seq[0]


def order(number: int) -> bytes:
    return json.dumps({"table": "orders", "ts_intent": 1_767_323_045_000_000_000 + number, "client_order_id": f"order-{number}", "strategy": "maker",
                       "symbol": "BTCUSDT", "side": "buy", "qty": "1.5", "order_type": "limit", "limit_px": "2", "tif": "gtc", "status": "new",
                       "risk_mode": "normal"}).encode() + b"\n"


def orders_in(pipeline: Pipeline) -> list[str]:
    return sorted((name for name, in pipeline.clickhouse.rows("SELECT client_order_id FROM orders")), key=lambda name: int(name[6:]))


def under(disk: Disk, pipeline: Pipeline) -> None:
    """Let the writer's files pass through the layer."""
    environment = [f"{key}={value}" for key, value in disk.environment().items()]
    pipeline.writer = Process("spool-writer", ["/usr/bin/env", *environment, *pipeline.writer.command], pipeline.writer.log)


def test_what_a_killed_recovery_wrote_is_synced_before_it_is_called_durable(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """The writer dies before a sync, the next one dies when it has written the index, and the third one finds a whole segment."""
    pipeline = make_pipeline(settings=SETTINGS)
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply")
    disk = Disk(tmp_path / "layer", [pipeline.spool])
    under(disk, pipeline)
    pipeline.start_writer()
    producer = Producer(str(pipeline.socket), "test")
    producer.put(order(0))
    assert producer.finish(10)
    whole_segment_that_no_mark_names(pipeline, disk, producer)
    disk.power_loss(Everything())
    pipeline.start_writer()
    # The next segment's mark makes the last one's rows visible.
    producer.put(order(5))
    assert producer.finish(10)
    pipeline.writer.stop()
    pipeline.load_once(expect=(0, 1))
    assert orders_in(pipeline) == [f"order-{number}" for number in range(6)]
    pipeline.run_loader("audit")
    pipeline.run_loader("verify")


def test_rows_of_a_whole_segment_that_no_mark_names_are_loaded_without_waiting_for_the_next_row(
        make_pipeline: MakePipeline, tmp_path: Path) -> None:
    pipeline = make_pipeline(settings=SETTINGS)
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply")
    disk = Disk(tmp_path / "layer", [pipeline.spool])
    under(disk, pipeline)
    pipeline.start_writer()
    producer = Producer(str(pipeline.socket), "test")
    producer.put(order(0))
    assert producer.finish(10)
    whole_segment_that_no_mark_names(pipeline, disk, producer)
    pipeline.start_writer()
    pipeline.writer.stop()
    pipeline.load_once(expect=(0, 1))
    assert orders_in(pipeline) == [f"order-{number}" for number in range(5)]


def whole_segment_that_no_mark_names(pipeline: Pipeline, disk: Disk, producer: Producer) -> None:
    """The writer dies before a sync, the next one before it syncs the index; the third one tells that all is durable, and is killed."""
    for number in range(1, 5):
        producer.put(order(number))
    disk.set("fdatasync", match=".lz4", mode="kill_before", count=1)
    assert wait_until(lambda: producer.pump(0.01) and not pipeline.writer.is_alive or not pipeline.writer.is_alive, 10)
    disk.clear()
    disk.set("fdatasync", match=".lz4", mode="kill_before", count=1)
    pipeline.writer.start()
    assert wait_until(lambda: not pipeline.writer.is_alive, 10)
    disk.clear()
    pipeline.start_writer()
    assert producer.finish(10)
    pipeline.writer.kill()


@pytest.mark.parametrize("lost", [(0, 1), (1, 2), (3, 5), (0, 8)])
def test_sectors_of_unsynced_chunks_that_are_lost_before_others_that_are_kept_lose_no_row(
        lost: tuple[int, int], make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """One write has many chunks; the disk wrote the later ones first when the power went. `lost`: sectors from the first whole one on."""
    pipeline = make_pipeline(settings=SETTINGS)
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply")
    disk = Disk(tmp_path / "layer", [pipeline.spool])
    under(disk, pipeline)
    pipeline.start_writer()
    producer = Producer(str(pipeline.socket), "test")
    producer.put(order(0))
    assert producer.finish(10)
    segment, = pipeline.spool.glob("orders/*.lz4")
    synced = segment.stat().st_size
    disk.set("fdatasync", match=".lz4", mode="kill_before", count=1)
    for number in range(1, ROWS):
        producer.put(order(number))
    while pipeline.writer.is_alive:
        producer.pump(0.01)
    disk.clear()
    content = bytearray(segment.read_bytes())
    first = (synced + 511) // 512 * 512
    start, end = first + lost[0] * 512, first + lost[1] * 512
    assert len(content) > end + 4_096, "one write with many chunks"
    content[start:end] = bytes(end - start)
    segment.write_bytes(content)
    pipeline.start_writer()
    assert producer.finish(10)
    pipeline.writer.stop()
    pipeline.load_once(expect=(0, 1))
    assert orders_in(pipeline) == [f"order-{number}" for number in range(ROWS)]
    pipeline.run_loader("audit")
    pipeline.run_loader("verify")
