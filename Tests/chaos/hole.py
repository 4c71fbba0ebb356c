#!/usr/bin/env python3
"""Exactly once through ClickHouse's own hole: the server is killed between noting a dedup token and renaming the part that it stands for.

A server that died there has the token and not the rows, and answers a repeat with 200. `strace` kills it there: it stops every thread that is
about to rename, and sends SIGKILL instead of letting it. The loader goes on meanwhile, and in some rounds is killed too, or the server is
killed once more, when the batch comes under its fresh token. A round counts only if the kill came in the hole: the token is in the table's
deduplication log, and its part is not in the table.

After each round every row must be in ClickHouse once, by count() and uniqExact() of its sequence; at the end by `spool-loader audit` too.

The seed decides tables, rows and moments; what the machine makes of the moments is its own. Exit status: 0 all rows are there once, 1
something is missing, repeated or wrong (the work directory with all logs is kept and named), 74 something could not be started.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))

import session  # noqa: E402
from chaos import KINDS, Kind  # noqa: E402
from pipeline import Pipeline, Trouble, end_on_signals, wait_until  # noqa: E402

SETTINGS = """
[writer]
chunk_rows = 50
[loader]
linger = "5ms"
poll = "20ms"
timeout = "10s"
backoff = "10ms"
backoff_max = "100ms"
batch_rows = 200
"""

TABLES = ("orders", "fills", "market_data")
ROWS = (1, 40, 200, 500, 1200)
DAY = 86_400 * 10 ** 9
RENAMES = "rename,renameat,renameat2"
RENAMED = re.compile(r'rename\w*\((?:\w+, )?"([^"]+)", (?:\w+, )?"([^"]+)"')
MAX_IMPORTS = 30
"""For one kill: a thread of the server that has not renamed often enough lives on."""
MAX_ELSEWHERE = 20
SECONDS = 30.0


class Hole:
    """One pipeline, and the rounds that it goes through."""

    def __init__(self, directory: Path, seed: int, verbose: bool) -> None:
        self.pipeline = Pipeline(directory, faults=True, settings=SETTINGS)
        self.kills: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.imported: Counter[str] = Counter()
        self.in_vain = 0
        """Rounds in which the same rows were asked for twice and were not there: the token had swallowed the repeat."""
        self._random, self._verbose = random.Random(seed), verbose
        self._base = (int(time.time()) - 3 * 86_400) * 10 ** 9
        self._made = 0
        self._trace, self._told = directory / "strace.out", directory / "strace.log"

    def start(self) -> None:
        self.pipeline.start_clickhouse()
        self._stop_merges()
        self._import(KINDS[0], 1)
        self.pipeline.loader.start()
        self._settle()

    def round(self, number: int) -> None:
        kind = self._random.choice([kind for kind in KINDS if kind.table in TABLES])
        blows = 2 if self._random.random() < 0.25 else 1
        asked = self._asked_in_vain()
        struck = [self._strike(kind, is_again=False)]
        if self._random.random() < 0.25:
            self.pipeline.loader.kill()
            self.kills["loader"] += 1
        time.sleep(self._random.uniform(0, 0.2))
        self._return()
        if blows == 2:
            struck.append(self._strike(kind, is_again=True) + " again")
            self._return()
        self._settle()
        self.in_vain += self._asked_in_vain() > asked
        if self._verbose:
            print(f"  {number}: {' and '.join(struck)}", flush=True)
        if self.pipeline.loader.status is not None:
            self.complaints.append(f"round {number}: the loader ended by itself with {self.pipeline.loader.status}")
            self.pipeline.loader.start()

    def _strike(self, kind: Kind, is_again: bool) -> str:
        """Kill the server in the hole; returns the table and the part.

        Raises:
            Trouble: strace does not do it.
        """
        for _ in range(MAX_ELSEWHERE):
            self._kill_at_rename(kind, is_again)
            place = self._place()
            if place is not None:
                self.kills["server"] += 1
                return f"{kind.table} {place}"
            # A repeat that its token has swallowed puts its rows away by a rename, and so does a merge.
            self.kills["elsewhere"] += 1
            self._return()
        raise Trouble(f"{MAX_ELSEWHERE} kills did not come in the hole; see {self._trace}")

    def _kill_at_rename(self, kind: Kind, is_again: bool) -> None:
        loader, server = self.pipeline.loader, self.pipeline.clickhouse
        is_held = not is_again and loader.is_alive and self._random.random() < 0.5
        if is_again:
            # The repeat is swallowed by its token; the insert after it has a fresh one.
            server.plan_faults({"match": "INSERT INTO", "action": "delay", "ms": 1}, {"match": "INSERT INTO", "action": "delay", "ms": 500})
            wait_until(lambda: len(server.faults_done()) == 2, 2.0, 0.002)
        elif is_held:
            os.kill(loader.pid, signal.SIGSTOP)
        times = 1 if is_again else self._random.choice((1, 1, 1, 2, 3))
        self._told.write_text("")
        with open(self._told, "wb") as told:
            tracer = subprocess.Popen(
                ["strace", "-f", "-p", str(self.pipeline.clickhouse.pid), "-o", str(self._trace), "-e", f"trace={RENAMES}",
                 "-e", f"inject={RENAMES}:signal=SIGKILL:when={times}"], stdin=subprocess.DEVNULL, stderr=told)
        try:
            if not wait_until(lambda: "attached" in self._told.read_text() or tracer.poll() is not None, SECONDS, 0.002) or tracer.poll() is not None:
                raise Trouble(f"strace cannot attach to the server: {self._told.read_text().strip()}")
            if is_held:
                os.kill(loader.pid, signal.SIGCONT)
            if not is_again or not wait_until(lambda: not server.is_alive, 1.0, 0.002):
                self._import_until_killed(kind)
        finally:
            if server.is_alive:
                tracer.kill()
            tracer.wait(SECONDS)

    def _import_until_killed(self, kind: Kind) -> None:
        for _ in range(MAX_IMPORTS):
            self._import(kind, self._random.choice(ROWS))
            if wait_until(lambda: not self.pipeline.clickhouse.is_alive, 0.3, 0.002):
                return
        raise Trouble(f"the server renames nothing, or strace does not kill it; see {self._trace}")

    def _place(self) -> str | None:
        """The part that was to be renamed, if its token is noted and it is not there."""
        killed_at = [(Path(match[1]), Path(match[2])) for line in self._trace.read_text().splitlines()
                     if (match := RENAMED.search(line)) and not line.rstrip().endswith("= 0")]
        for source, part in killed_at:
            noted = [line.split("\t")[1] for log in (part.parent / "deduplication_logs").glob("*.txt") for line in log.read_text().splitlines()]
            if source.name.startswith("tmp_insert_") and source.exists() and part.name in noted and not part.exists():
                return part.name
        return None

    def _return(self) -> None:
        is_first = self._random.random() < 0.5
        if is_first:
            self._revive_loader()
        self.pipeline.clickhouse.start_and_wait()
        self._stop_merges()
        if not is_first:
            self._revive_loader()

    def _revive_loader(self) -> None:
        """If it was killed from here; what ended by itself is found out at the end of the round."""
        if self.pipeline.loader.status == -signal.SIGKILL:
            self.pipeline.loader.start()

    def _stop_merges(self) -> None:
        """Merges rename parts too, and a kill there is another test."""
        self.pipeline.clickhouse.query("SYSTEM STOP MERGES")

    def _import(self, kind: Kind, rows: int) -> None:
        base = self._base + self._random.randrange(3) * DAY
        events = self.pipeline.directory / "events.jsonl"
        with open(events, "w") as file:
            for _ in range(rows):
                self._made += 1
                json.dump({"table": kind.table, **kind.make(self._random, f"row-{self._made}", base + self._made)}, file)
                file.write("\n")
        self.pipeline.import_files(events)
        self.imported[kind.table] += rows

    def _settle(self) -> None:
        """Wait until as many rows are there as were imported, and see that they are the right ones."""
        def counts() -> dict[str, list[int]]:
            return {table: list(map(int, self.pipeline.clickhouse.rows(
                f"SELECT toString(count()), toString(uniqExact(spool_seq)), toString(max(spool_seq)) FROM {table}")[0])) for table in self.imported}

        expected = {table: [rows, rows, rows] for table, rows in self.imported.items()}
        wait_until(lambda: all(counts()[table][0] >= rows for table, rows in self.imported.items()), SECONDS, 0.02)
        if (found := counts()) != expected:
            self.complaints.append(f"imported {dict(self.imported)}; count, uniqExact and max are {found}")
            raise Trouble(self.complaints[-1])

    def _asked_in_vain(self) -> int:
        asked = Counter(re.findall(r"asked for (rows \d+ to \d+): 0 of", self.pipeline.loader.log.read_text(errors="replace")))
        return sum(times > 1 for times in asked.values())

    def finish(self) -> str:
        """Returns what the audit says."""
        if status := self.pipeline.loader.stop():
            self.complaints.append(f"the loader, asked to stop, ended with {status}")
        for command in (("run", "--once"), ("verify",), ("audit",)):
            done = self.pipeline.run_loader(*command, expect=(0, 1, 64, 74))
            if done.returncode:
                self.complaints.append(f"spool-loader {' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout


def arguments() -> argparse.Namespace:
    parser = session.parser(__doc__, verbose="say each round's table and part")
    parser.add_argument("--rounds", type=int, default=100)
    return session.parse(parser)


def main() -> int:
    options = arguments()
    end_on_signals()
    directory = session.work_directory("hole", options)
    print(f"hole: {options.rounds} rounds, seed {options.seed}", flush=True)
    began = time.monotonic()
    hole = Hole(directory, options.seed, options.verbose)
    rounds, audit = 0, ""
    try:
        if not shutil.which("strace"):
            raise Trouble("strace is missing; run: scripts/setup --test")
        hole.start()
        for rounds in range(1, options.rounds + 1):
            hole.round(rounds)
            if not options.verbose and rounds % 20 == 0:
                print(f"  {rounds} rounds, {time.monotonic() - began:.0f} s", flush=True)
        audit = hole.finish()
    except (Trouble, OSError) as error:
        if not hole.complaints:
            return session.not_started("hole", options, directory, error)
    finally:
        hole.pipeline.kill()
    for complaint in hole.complaints:
        print(f"WRONG: {complaint}")
    print(f"audit says:\n{audit}rounds      {rounds} in {time.monotonic() - began:.0f} s, seed {options.seed}")
    print(f"kills       {hole.kills['server']} of the server, each in the hole, and {hole.kills['elsewhere']} at other renames; {hole.kills['loader']} of the loader right after one")
    print(f"in vain     in {hole.in_vain} rounds a batch was asked for twice and was not there: its repeat was swallowed")
    print(f"rows        {sum(hole.imported.values()):,}, each there once" if not hole.complaints else "rows        NOT as they were sent")
    return session.ended("hole", options, directory, hole.complaints)


if __name__ == "__main__":
    sys.exit(main())
