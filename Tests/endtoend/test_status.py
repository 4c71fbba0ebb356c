"""`status` and `top`: what people look at."""
from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
from pipeline import Pipeline, binary, run, wait_until
from scrape import scrape, serve_metrics


def command(pipeline: Pipeline, what: str, *more: str) -> list[str]:
    return [str(part) for part in (binary("spool-loader"), what, "--config", pipeline.config, "--spool", pipeline.spool, "--checkpoints", pipeline.checkpoints, *more)]


def test_status_tells_from_the_files_alone_and_from_the_processes(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    rows = orders_file.read_bytes().count(b"\n")
    said = run(command(pipeline, "status")).stdout
    assert re.search(rf"^orders +{rows:,} +- +- .* not loaded yet", said, re.M) and "not asked: set loader.metrics" in said
    writer, loader = serve_metrics(pipeline)
    pipeline.start_writer()
    pipeline.loader.start()
    assert wait_until(lambda: scrape(loader).get('recorder_rows_total{table="orders",stage="loaded"}') == rows, 10)
    both = ("--writer-metrics", f"127.0.0.1:{writer}", "--loader-metrics", f"127.0.0.1:{loader}")
    assert wait_until(lambda: "up to date" in run(command(pipeline, "status", *both), expect=(0, 1)).stdout, 5)
    report = json.loads(run(command(pipeline, "status", "--json", *both)).stdout)
    orders = next(table for table in report["tables"] if table["table"] == "orders")
    assert orders["durable"] == orders["loaded"] == rows and orders["lagRows"] == 0 and orders["bytes"] > 1000
    assert report["writer"]["state"] == report["loader"]["state"] == "ok" and report["writer"]["queue"]["audit"] == 0
    # No escape sequences into a pipe, and a process that is gone is told.
    assert "\x1b" not in run(command(pipeline, "status", *both)).stdout
    pipeline.loader.kill()
    gone = run(command(pipeline, "status", *both), expect=(1,)).stdout
    assert "loader  does not answer" in gone and f"127.0.0.1:{loader}" in gone


def test_top_wants_a_terminal(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    done = run(command(pipeline, "top"), expect=(64,))
    assert "terminal" in done.stderr
    assert "0.2 to 60" in run(command(pipeline, "top", "--every", "0"), expect=(64,)).stderr


class Screen:
    """A program on a terminal of its own."""

    def __init__(self, arguments: list[str], width: int, height: int, **environment: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env=os.environ | environment)
        self.text = ""

    def read(self, seconds: float) -> str:
        """What came since the last time."""
        came, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                came += os.read(self.master, 65536)
        self.text += came.decode()
        return came.decode()

    def until(self, text: str, seconds: float = 15) -> str:
        """What came until a picture with this text was whole."""
        came, end = "", time.monotonic() + seconds
        while time.monotonic() < end:
            came += self.read(0.25)
            if text in "\n".join(self.lines(came)):
                return came
        raise AssertionError(f"no picture with {text!r}: {came!r}")

    def lines(self, text: str) -> list[str]:
        """The last picture in it, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.split("\x1b[H")[-1]).replace("\r", "").split("\n")


@pytest.mark.parametrize("how", ["key", "SIGTERM", "SIGINT"])
def test_top_shows_sorts_and_leaves_the_terminal_as_it_was(pipeline: Pipeline, orders_file: Path, day_file: Path, how: str) -> None:
    pipeline.import_files(day_file)
    screen = Screen(command(pipeline, "top", "--every", "0.2"), 80, 24, LANG="C.UTF-8", TERM="xterm-256color")
    first = screen.until("q quit")
    assert "\x1b[?1049h" in first and "\x1b[2m" in first
    lines = screen.lines(first)
    assert len(lines) == 24 and all(len(line) <= 80 for line in lines) and lines[-1].startswith("q quit  s sort: name")
    pipeline.import_files(orders_file)
    os.write(screen.master, b"s")
    screen.until("q quit  s sort: rate")
    os.write(screen.master, b"ssr")
    screen.until("sort: size  r in order")
    if how == "key":
        os.write(screen.master, b"q")
    else:
        screen.process.send_signal(getattr(signal, how))
    assert screen.process.wait(15) == 0
    assert screen.read(0.2).endswith("\x1b[?25h\x1b[?1049l")
    assert termios.tcgetattr(screen.slave) == screen.before


def test_top_without_colours(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    screen = Screen(command(pipeline, "top", "--every", "0.2"), 60, 10, NO_COLOR="1", LANG="C", LC_ALL="", TERM="xterm")
    shown = screen.until("q quit")
    assert not re.search(r"\x1b\[[0-9;]*m", shown) and shown.isascii()
    assert all(len(line) <= 80 for line in screen.lines(shown))
    os.write(screen.master, b"q")
    assert screen.process.wait(15) == 0
