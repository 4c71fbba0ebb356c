"""Mistakes of an operator that must cost a message, not data."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline import SCHEMAS, Pipeline, binary


def run(*command: str | Path, closed: tuple[int, ...] = ()) -> subprocess.CompletedProcess[bytes]:
    """Run a command, with some of its standard descriptors closed."""
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)
    return subprocess.run([str(part) for part in command], capture_output=not closed, preexec_fn=close, timeout=60)


def test_messages_never_go_into_the_spool(pipeline: Pipeline, orders_file: Path) -> None:
    """With closed descriptors the first file opened would be standard output or error."""
    mixed = pipeline.directory / "mixed.jsonl"
    mixed.write_bytes(orders_file.read_bytes() + b"{bad\n" * 500)
    done = run(binary("spool-writer"), "import", "--spool", pipeline.spool, "--schemas", SCHEMAS, mixed, closed=(0, 1, 2))
    assert done.returncode == 1
    assert run(binary("spool-loader"), "verify", "--spool", pipeline.spool).returncode == 0


def test_rejects_overwrite_neither_an_input_nor_the_spool(pipeline: Pipeline, orders_file: Path) -> None:
    content = orders_file.read_bytes()
    command = [binary("spool-writer"), "import", "--spool", pipeline.spool, "--schemas", SCHEMAS]
    assert run(*command, orders_file).returncode == 0
    assert run(*command, orders_file, "--rejects", orders_file).returncode == 64
    assert run(*command, orders_file, "--rejects", pipeline.spool / "orders" / "durable").returncode == 64
    assert orders_file.read_bytes() == content
    assert run(binary("spool-loader"), "verify", "--spool", pipeline.spool).returncode == 0


def test_a_missing_input_is_named_before_anything_is_recorded(pipeline: Pipeline, orders_file: Path) -> None:
    done = run(binary("spool-writer"), "import", "--spool", pipeline.spool, "--schemas", SCHEMAS, orders_file, "nosuch")
    assert done.returncode == 74 and b"nosuch" in done.stderr
    assert not (pipeline.spool / "orders").exists()


def test_a_named_pipe_is_read_once_and_whole(pipeline: Pipeline, orders_file: Path) -> None:
    """The look at the inputs before the start must not open it: its writer would be gone after that."""
    pipe = pipeline.directory / "pipe"
    os.mkfifo(pipe)
    feed = subprocess.Popen(["sh", "-c", f"cat '{orders_file}' > '{pipe}'"])
    done = run(binary("spool-writer"), "import", "--spool", pipeline.spool, "--schemas", SCHEMAS, pipe)
    assert done.returncode == 0 and feed.wait(timeout=10) == 0
    assert f"imported {sum(1 for _ in open(orders_file, 'rb'))} rows".encode() in done.stderr


def test_a_report_into_a_full_disk_is_an_error(pipeline: Pipeline, orders_file: Path) -> None:
    run(binary("spool-writer"), "import", "--spool", pipeline.spool, "--schemas", SCHEMAS, orders_file)
    for report in (["ls"], ["cat", "orders"], ["verify"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([str(binary("spool-loader")), *report, "--spool", str(pipeline.spool)], stdout=full, timeout=60)
        assert done.returncode == 74, report


def test_a_spool_that_lost_its_id_is_not_given_a_new_one(pipeline: Pipeline, orders_file: Path) -> None:
    command = [binary("spool-writer"), "import", "--spool", pipeline.spool, "--schemas", SCHEMAS, orders_file]
    assert run(*command).returncode == 0
    (pipeline.spool / "spool.id").unlink()
    done = run(*command)
    assert done.returncode == 64 and b"restore it" in done.stderr
