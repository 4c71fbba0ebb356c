#!/usr/bin/env python3
"""Every fault there is: writer, spool, loader and ClickHouse under load, with one fault of the catalogue (torture_faults.py) a round.

spool-writer and spool-loader are the release build; their disks are the layer of faulty.c, which also plays power losses, on a small tmpfs
where mounting is allowed; ClickHouse is the development server with its faults. Named producers send audit and market rows over the
socket and send again what they were not told is durable; producers in C publish into rings. After each round everything is healed, and
new rows must become durable and be loaded within a deadline. Every few rounds, and at the end, all is drained and each row is counted:
none may be missing, repeated, or there although it was refused. Market rows that the writer gave up on purpose must be in its ledger
(system_events), neither more nor fewer.

The seed decides faults, victims, moments and rows; what the machine makes of the moments is its own. Exit status: 0 all is as it must be,
1 something is not (the work directory is kept and named), 74 something could not be started.
"""
from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "demo")]

import chaos  # noqa: E402
import pipeline as parts  # noqa: E402
import rings as ring_test  # noqa: E402
import session  # noqa: E402
from chaos import KINDS, Sender, Verdict, check_keys, check_sequences, check_values, count_all  # noqa: E402
from faulty import Disk  # noqa: E402
from pipeline import ROOT, SCHEMAS, Pipeline, Process, Trouble, end_on_signals, run, wait_until  # noqa: E402
from send_events import Producer  # noqa: E402

SETTINGS = """
# Small and quick, so that there is always something in the middle of being taken, written, synced, rolled, sent and confirmed.
[writer]
chunk_rows = 300
chunk_age = "30ms"
sync = "every 15ms"
segment_bytes = "256KiB"
segment_age = "2s"
ring_poll = "2ms"
[loader]
linger = "20ms"
poll = "50ms"
timeout = "2s"
backoff = "20ms"
backoff_max = "200ms"
batch_rows = 2000
"""

CLIENTS, RING_PRODUCERS = 3, 2
ROWS_A_SECOND, RING_ROWS_A_SECOND, RING_KIB = 400, 300, 256
TMPFS_MIB = 192
CHECK_EVERY = 15
"""Rounds between two counts of all rows."""
MOVE_SECONDS, DRAIN_SECONDS = 30.0, 60.0
MARKET = {"market_data", "metrics_timeseries"}


class CountingProducer(Producer):
    """Remembers what it was told as well."""

    accepted = 0
    """Lines that were told to be taken; one that is sent again after a death counts once."""
    _base = 0

    def _take(self, answer: dict[str, Any]) -> None:
        if "client" in answer and "durable" in answer:
            self._base = answer["durable"]
        elif "accepted" in answer:
            self.accepted = max(self.accepted, self._base + answer["accepted"] + answer["refused"])
        super()._take(answer)


class Client(Sender):
    """A producer on the socket that can be asked to be silent for a while."""

    def __init__(self, path: Path, number: int, seed: int, base: int) -> None:
        super().__init__(path, number, seed, base)
        self.producer: CountingProducer = CountingProducer(str(path), self.name, self._count_refusal)
        self.silent = False

    def run(self) -> None:
        due_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                now = time.monotonic()
                due = min(int((now - due_at) * ROWS_A_SECOND), 200)
                if self.silent or due:
                    due_at = now
                for _ in range(0 if self.silent else due):
                    self.producer.put(self._next_line())
                if not self.producer.pump(0.01):
                    time.sleep(0.01)
        except Exception as error:  # Whatever it is, the run must not go on as if nothing were wrong.
            self.failure = error


class RingProducer(ring_test.Producer):
    """One life of a producer in C, with one or two rings."""

    def __init__(self, work: Path, rings: Path, number: int, life: int, rng: random.Random) -> None:
        self.number, self.life, self.rings = number, life, rng.choice((1, 2))
        self.counters = work / "counters" / f"{number}-{life}"
        self.process = subprocess.Popen(
            [work / "ring_producer", rings, self.counters, str(number), str(life), str(self.rings), str(RING_KIB), str(RING_ROWS_A_SECOND),
             str(rng.randrange(2 ** 32))], stdin=subprocess.DEVNULL, stderr=open(work / "producers.log", "ab"))


@dataclass
class Tally:
    """What happened with one fault."""

    rounds: int = 0
    accepted: int = 0
    durable: int = 0
    loaded: int = 0
    lost: int = 0
    repeated: int = 0
    shed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """To whom, how many."""
    ended: Counter[str] = field(default_factory=Counter)


class World:
    """All processes, their disks, and what the model knows of them. Faults act on it."""

    def __init__(self, work: Path, seed: int, verbose: bool, chunk_rows: int) -> None:
        self.work, self.seed, self.verbose = work, seed, verbose
        self.random = random.Random(seed)
        self.complaints: list[str] = []
        self.notes: list[str] = []
        self.round = "start"
        self.place, self.is_tmpfs = self._mount()
        self._lay_out()
        self.pipeline = Pipeline(work, faults=True, settings=SETTINGS.replace("chunk_rows = 300", f"chunk_rows = {chunk_rows}"),
                                 schemas=work / "schemas")
        self.spool = self.pipeline.spool = self.place / "spool"
        self.checkpoints = self.pipeline.checkpoints = self.place / "checkpoints"
        # So that the writer gives up loaded segments first, and counts none of their rows as lost.
        settings = self.pipeline.config.read_text().replace("[loader]", f'checkpoints = "{self.checkpoints}"\n[loader]')
        self.pipeline.config.write_text(settings)
        self.disk = Disk(work / "layer", [self.spool], "writer", self.place / "kept-writer")
        self.loader_disk = Disk(work / "layer", [self.spool, self.checkpoints], "loader", self.place / "kept-loader")
        self.writer = Process("spool-writer", under(self.disk, self.pipeline.writer_command(
            "run", "--socket", self.pipeline.socket, "--rings", self.rings)), work / "writer.log")
        self.loader = Process("spool-loader", under(self.loader_disk, self.pipeline.loader_command("run")), work / "loader.log")
        self.pipeline.writer, self.pipeline.loader = self.writer, self.loader
        self.clickhouse = self.pipeline.clickhouse
        self.processes: dict[str, Process] = {"writer": self.writer, "loader": self.loader, "clickhouse": self.clickhouse}
        self.may_end: set[tuple[str, int]] = set()
        """Who may end by itself in this round, and how."""
        self.refused: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        base = (int(time.time()) - 600) * 10 ** 9
        self.clients = [Client(self.pipeline.socket, number, seed, base) for number in range(CLIENTS)]
        self.ring_lives: list[RingProducer] = []
        self.ring_current: list[RingProducer] = []

    def _mount(self) -> tuple[Path, bool]:
        place = self.work / "disk"
        place.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", "coldpath-torture", place], capture_output=True)
        if mounted.returncode:
            self.notes.append("no tmpfs can be mounted here: faults that need a small real disk are left out")
        return place, mounted.returncode == 0

    def _lay_out(self) -> None:
        shared = Path("/dev/shm")
        self.rings = Path(tempfile.mkdtemp(prefix="coldpath-torture-", dir=shared if os.access(shared, os.W_OK) else self.work))
        (self.work / "counters").mkdir()
        schemas = self.work / "schemas"
        shutil.copytree(SCHEMAS, schemas)
        for index, (table, more) in enumerate(zip(ring_test.TABLES, ("", " levels Array(UInt32),"))):
            (schemas / f"{index + 100:04d}_{table}.sql").write_text(ring_test.SCHEMA.format(table=table, more=more).replace(
                "ORDER BY ts;", "ORDER BY ts SETTINGS non_replicated_deduplication_window = 10000;"))
        run([shutil.which("cc") or "clang", "-O2", "-I", ROOT / "Sources" / "CSpoolRing" / "include", "-I", HERE, HERE / "ring_producer.c",
             "-o", self.work / "ring_producer"])

    # Processes

    def start(self) -> None:
        self.pipeline.start_clickhouse()
        self.pipeline.start_writer()
        self.loader.start()
        for client in self.clients:
            client.start()
        self.ring_current = [self._ring_producer(number, 0) for number in range(RING_PRODUCERS)]

    def _ring_producer(self, number: int, life: int) -> RingProducer:
        producer = RingProducer(self.work, self.rings, number, life, self.random)
        self.ring_lives.append(producer)
        return producer

    def kill_ring_producer(self, number: int, sign: signal.Signals = signal.SIGKILL) -> None:
        old = self.ring_current[number]
        if old.status is None:
            old.end(sign)
        self.note_ring_end(old)
        self.ring_current[number] = self._ring_producer(number, old.life + 1)

    def note_ring_end(self, producer: RingProducer) -> None:
        if producer.status not in (0, -signal.SIGKILL, -signal.SIGTERM):
            self.complain(f"ring producer {producer.number} life {producer.life} ended with {producer.status}; see producers.log")

    def kill(self, *names: str) -> None:
        for name in self.shuffled(names):
            self.note_end(name)
            self.processes[name].kill()

    def kill_and_start(self, *names: str) -> None:
        self.kill(*names)
        for name in self.shuffled(names):
            self.processes[name].start()

    def note_end(self, name: str) -> None:
        """None of them may end, unless it is killed or the round's fault means it."""
        status = self.processes[name].status
        if status is not None and status != -signal.SIGKILL:
            self.ended[f"{name} {status}"] += 1
            if (name, status) not in self.may_end:
                self.complain(f"{name} ended by itself with {status}; see {self.processes[name].log}")

    def revive(self) -> None:
        """As a supervisor does: who is dead is started again."""
        for name, process in self.processes.items():
            if not process.is_alive:
                self.note_end(name)
                process.start()

    def freeze(self, name: str, seconds: float) -> None:
        if self.processes[name].is_alive:
            os.kill(self.processes[name].pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(self.processes[name].pid, signal.SIGCONT)

    def limit_files(self, name: str, seconds: float, more: int = 0) -> None:
        """Lets a process have no more open files than it has now."""
        process = self.processes[name]
        if not process.is_alive:
            return
        now = len(os.listdir(f"/proc/{process.pid}/fd")) + more
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (now, resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[1]))
        time.sleep(seconds)
        if process.is_alive:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)

    # What faults are made of

    def shuffled(self, names: tuple[str, ...]) -> list[str]:
        return self.random.sample(names, len(names))

    def pause(self, least: float, most: float) -> None:
        time.sleep(self.random.uniform(least, most))

    def server(self, *faults: dict[str, Any]) -> bool:
        """Plan faults of ClickHouse; false if it does not answer."""
        try:
            if wait_until(self.clickhouse.answers, 5.0):
                self.clickhouse.plan_faults(*faults)
                return True
        except OSError:
            pass
        return False

    def await_server(self, count: int, seconds: float = 2.0) -> None:
        def happened() -> bool:
            try:
                return len(self.clickhouse.faults_done()) >= count
            except OSError:
                return True

        wait_until(happened, seconds, 0.005)

    def await_death(self, name: str, seconds: float = 3.0) -> bool:
        return wait_until(lambda: not self.processes[name].is_alive, seconds, 0.002)

    def lose_power(self, writer: bool = True, loader: bool = False) -> None:
        """Kill whose disk it is, and let the disk forget."""
        for name, disk, is_hit in (("writer", self.disk, writer), ("loader", self.loader_disk, loader)):
            if is_hit:
                self.kill(name)
                disk.clear()
                done = disk.power_loss(self.random)
                self.say(f"    power loss of {name}: " + ", ".join(f"{what} {count}" for what, count in sorted(done.items()) if count))

    def complain(self, text: str) -> None:
        self.complaints.append(f"round {self.round}: {text}")
        print(f"WRONG: {self.complaints[-1]}", flush=True)

    def say(self, text: str) -> None:
        if self.verbose:
            print(text, flush=True)

    # What must hold

    def accepted(self) -> int:
        return sum(client.producer.accepted for client in self.clients)

    def durable(self) -> int:
        return sum(client.producer.durable for client in self.clients)

    def loaded(self) -> int:
        try:
            return count_all(self.pipeline)
        except (OSError, Trouble, ValueError):
            return -1

    def heal(self) -> None:
        self.disk.clear()
        self.loader_disk.clear()
        self.revive()
        if not wait_until(self.clickhouse.answers, parts.START_SECONDS):
            raise Trouble(f"ClickHouse does not come back; see {self.clickhouse.log}")
        self.clickhouse.plan_faults()
        for producer in self.ring_current:
            if producer.status is not None:
                self.kill_ring_producer(producer.number)

    def must_move(self) -> None:
        """Within a deadline every client's rows become durable, and new rows are loaded."""
        for client in self.clients:
            if client.failure is not None:
                raise Trouble(f"round {self.round}: {client.name}: {client.failure!r}")
        before, loaded = [client.producer.durable for client in self.clients], self.loaded()

        def moved() -> bool:
            # A writer or a loader that could not start while its disk was bad is started again, as a supervisor does.
            self.revive()
            return all(client.producer.durable > was for client, was in zip(self.clients, before)) and self.loaded() > loaded

        if not wait_until(moved, MOVE_SECONDS, 0.03):
            stuck = [client.name for client, was in zip(self.clients, before) if client.producer.durable <= was]
            raise Trouble(f"round {self.round}: nothing moves for {MOVE_SECONDS:g} s after the fault is gone: "
                          + (f"undurable: {', '.join(stuck)}" if stuck else f"loaded stays at {loaded} rows"))

    def drain(self) -> None:
        """All that was sent is durable and loaded."""
        for client in self.clients:
            client.silent = True
        if not wait_until(lambda: all(client.producer.pending == 0 for client in self.clients), DRAIN_SECONDS, 0.02):
            raise Trouble(f"round {self.round}: {sum(client.producer.pending for client in self.clients)} lines do not become durable")
        want, last, patience = self.expected(), -1, time.monotonic() + MOVE_SECONDS
        # Market rows may have been given up: the ledger has them instead.
        while (now := self.count_sent() + sum(self.shed().values())) < want and time.monotonic() < patience:
            if now != last:
                last, patience = now, time.monotonic() + MOVE_SECONDS
            time.sleep(0.05)

    def expected(self) -> int:
        return sum(len(client.sent.keys[kind.table]) for client in self.clients for kind in KINDS)

    def count_sent(self) -> int:
        return sum(int(self.clickhouse.query(f"SELECT count() FROM {kind.table}")) for kind in KINDS)

    def shed(self) -> Counter[str]:
        """Rows that the writer says it gave up, by table."""
        return Counter({table: int(rows) for table, rows in self.clickhouse.rows(
            "SELECT table_name, toString(sum(row_count)) FROM system_events WHERE table_name != '' GROUP BY table_name")})

    def check_sent(self) -> tuple[int, int, int]:
        """Compare what the clients sent with what ClickHouse has; (missing, repeated, shed)."""
        missing = repeated = 0
        ledger = self.shed()
        for kind in KINDS:
            verdict = Verdict()
            check_keys(self.pipeline, kind, set().union(*(client.sent.keys[kind.table] for client in self.clients)), verdict)
            given_up = ledger.pop(kind.table, 0) if kind.table in MARKET else 0
            repeated += verdict.repeated
            if verdict.missing == given_up and not verdict.repeated:
                continue
            missing += verdict.missing - given_up
            for complaint in verdict.complaints:
                self.complain(complaint + (f" ({given_up} were given up on purpose)" if given_up else ""))
        for table, rows in ledger.items():
            self.complain(f"{rows} rows of {table} were given up, which must not be")
        return missing, repeated, sum(self.shed().values())

    def check_values(self) -> int:
        verdict = Verdict()
        for kind in KINDS:
            if not self.shed()[kind.table]:
                check_sequences(self.pipeline, kind, verdict)
            samples: dict[str, dict[str, Any]] = {}
            for client in self.clients:
                samples.update(client.sent.samples[kind.table])
            check_values(self.pipeline, kind, samples, verdict)
        for complaint in verdict.complaints:
            self.complain(complaint)
        return verdict.values

    def check_rings(self) -> tuple[int, int]:
        """(rows, missing): every row that was committed into a ring is there once; of a killed producer's perhaps one more."""
        union = " UNION ALL ".join(f"SELECT producer, life, n FROM {table}" for table in ring_test.TABLES)
        found = {(producer, life): tuple(map(int, numbers)) for producer, life, *numbers in self.clickhouse.rows(
            f"SELECT producer, life, toString(count()), toString(uniqExact(n)), toString(max(n) + 1) FROM ({union}) GROUP BY producer, life")}
        rows = missing = 0
        for producer in self.ring_lives:
            for ring, least in enumerate(producer.committed()):
                own, unique, end = found.pop((producer.number * ring_test.MAX_RINGS + ring, producer.life), (0, 0, 0))
                rows += own
                missing += max(0, least - unique)
                if not own == unique == end or not least <= own <= least + 1:
                    self.complain(f"ring producer {producer.number} life {producer.life} ring {ring}: {least} rows committed, {own} loaded, "
                                  f"{unique} of them different, up to n {end}")
        for ring, life in found:
            self.complain(f"rows of ring {ring} life {life}, which never was")
        return rows, missing

    def end(self) -> None:
        """Stop everybody as one does, and let the loader finish."""
        for producer in self.ring_current:
            self.note_ring_end(producer) if producer.status is not None else producer.end(signal.SIGTERM)
        if not wait_until(lambda: not list(self.rings.glob("*.ring")), DRAIN_SECONDS, 0.05):
            self.complain(f"rings are left: {ring_test.names(self.rings.glob('*.ring'))}")
        self.drain()
        for client in self.clients:
            client.stop()
        for name in ("writer", "loader"):
            if status := self.processes[name].stop():
                self.complain(f"{name}, asked to stop, ended with {status}")
        for command, arguments in (("run", ("--once",)), ("audit", ())):
            done = self.pipeline.run_loader(command, *arguments, expect=(0, 1, 64, 74))
            if done.returncode:
                self.complain(f"spool-loader {command} {' '.join(arguments)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        self.must_verify()

    def must_verify(self) -> None:
        """Each byte of the spool is as the format says, whatever happened."""
        done = self.pipeline.run_loader("verify", expect=(0, 1, 64, 74))
        if done.returncode:
            damage = [line for line in done.stdout.splitlines() if line.startswith("DAMAGE")]
            self.complain(f"spool-loader verify: exit {done.returncode}: {'; '.join(damage)}{done.stderr}")

    def close(self) -> None:
        for process in self.processes.values():
            if process.is_alive:
                os.kill(process.pid, signal.SIGCONT)
        self.pipeline.kill()
        for producer in self.ring_lives:
            if producer.status is None:
                producer.end(signal.SIGKILL)

    def remove(self, keep: bool) -> None:
        """Unmount; what is on the small disk is copied beside it first if it is to be kept."""
        if self.is_tmpfs:
            if keep:
                shutil.copytree(self.place, self.work / "disk-copy", symlinks=True)
            subprocess.run(["umount", "-l", self.place], check=False)
        if not keep:
            shutil.rmtree(self.rings, ignore_errors=True)


def under(disk: Disk, command: list[str | Path]) -> list[str | Path]:
    return ["/usr/bin/env", *(f"{key}={value}" for key, value in disk.environment().items()), *command]


# Rounds


def play(world: World, options: argparse.Namespace, tallies: dict[str, Tally]) -> int:
    """Rounds until the time is over; returns their number."""
    from torture_faults import CATALOGUE

    chosen = [fault for fault in CATALOGUE if (fault.name in options.faults if options.faults else not fault.known)]
    if not world.is_tmpfs:
        chosen = [fault for fault in chosen if not fault.needs_tmpfs]
    deck: list[Any] = []
    order = random.Random(f"{world.seed}-order")
    since_check: list[str] = []
    number, end = 0, time.monotonic() + options.seconds
    while time.monotonic() < end:
        if not deck:
            # Each fault once before any comes again.
            deck = order.sample(chosen, len(chosen))
        fault = deck.pop()
        number += 1
        # Of its own for each round: what one round draws must not change the next ones.
        world.random = random.Random(f"{world.seed}-{number}")
        world.round = f"{number} ({fault.name})"
        world.may_end = set(fault.may_end)
        tally = tallies.setdefault(fault.name, Tally())
        before = world.accepted(), world.durable(), max(world.loaded(), 0), sum(client.refused for client in world.clients)
        started = time.monotonic()
        fault.act(world)
        world.heal()
        world.must_move()
        world.say(f"  {number}: {fault.name}, {time.monotonic() - started:.1f} s")
        tally.rounds += 1
        tally.accepted += world.accepted() - before[0]
        tally.durable += world.durable() - before[1]
        tally.loaded += max(0, world.loaded() - before[2])
        tally.refused["a client"] += sum(client.refused for client in world.clients) - before[3]
        tally.refused.update(world.refused)
        tally.ended.update(world.ended)
        world.refused.clear()
        world.ended.clear()
        since_check.append(fault.name)
        if number % CHECK_EVERY == 0:
            check(world, tallies, since_check)
            for client in world.clients:
                client.silent = False
            if world.complaints:
                break
            if not options.verbose:
                print(f"  {number} rounds, {world.expected():,} rows sent", flush=True)
    world.round, world.may_end = "end", set()
    world.heal()
    world.end()
    check(world, tallies, since_check, drained=True)
    return number


def check(world: World, tallies: dict[str, Tally], since: list[str], drained: bool = False) -> None:
    if not drained:
        world.drain()
        world.must_verify()
    missing, repeated, shed = world.check_sent()
    if drained:
        missing += world.check_rings()[1]
    world.say(f"  counted: {missing} missing, {repeated} repeated, {shed} given up on purpose")
    # Which of them it was is not known: it stands with all of them.
    for name in set(since):
        tallies[name].lost += missing
        tallies[name].repeated += repeated
    since.clear()


# Report


def table_of(tallies: dict[str, Tally], explained: bool = False) -> str:
    """The rounds as a Markdown table."""
    from torture_faults import CATALOGUE

    names = ["fault", *(["what it is", "what the operator sees"] if explained else []),
             "rounds", "accepted", "durable", "loaded", "lost", "doubled", "refused, to whom", "ended by itself"]
    lines = ["| " + " | ".join(names) + " |",
             "| " + " | ".join("--:" if name in ("rounds", "accepted", "durable", "loaded", "lost", "doubled") else "---" for name in names) + " |"]
    for fault in CATALOGUE:
        if tally := tallies.get(fault.name):
            refused = ", ".join(f"{count} to {whom}" for whom, count in sorted(tally.refused.items()) if count) or "-"
            ended = ", ".join(f"{who} ({count})" for who, count in sorted(tally.ended.items())) or "-"
            numbers = (f"{number:,}" for number in (tally.rounds, tally.accepted, tally.durable, tally.loaded, tally.lost, tally.repeated))
            lines.append("| " + " | ".join((fault.name, *((fault.what, fault.seen) if explained else ()), *numbers, refused, ended)) + " |")
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    parser = session.parser(__doc__, verbose="say each round's fault")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--faults", type=lambda text: text.split(","), help="only these, by name, with commas between them")
    parser.add_argument("--chunk-rows", type=int, default=300, help="rows of a chunk; with few, one write has many chunks")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--keep", action="store_true", help="keep the work directory")
    parser.add_argument("--report", type=Path, help="write the table of faults to this Markdown file")
    return session.parse(parser)


def main() -> int:
    from torture_faults import CATALOGUE

    options = arguments()
    if options.list:
        for fault in CATALOGUE:
            print(f"{fault.name:28} {fault.what}" + (f" [known: {fault.known}]" if fault.known else ""))
        return 0
    if unknown := set(options.faults or ()) - {fault.name for fault in CATALOGUE}:
        print(f"torture: no such fault: {', '.join(sorted(unknown))}; see --list", file=sys.stderr)
        return 64
    end_on_signals()
    chaos.BAD_LINE_EVERY = 100
    directory = session.work_directory("torture", options)
    print(f"torture: {options.seconds:g} s, seed {options.seed}, {len(CATALOGUE)} faults", flush=True)
    tallies: dict[str, Tally] = {}
    world: World | None = None
    rounds = rows = values = 0
    status = 74
    try:
        world = World(directory, options.seed, options.verbose, options.chunk_rows)
        world.start()
        rounds = play(world, options, tallies)
        rows, values = world.check_rings()[0] + world.count_sent(), world.check_values()
        status = 1 if world.complaints else 0
    except (Trouble, OSError) as error:
        print(f"torture: {error}", file=sys.stderr)
        status = 1 if rounds or tallies else 74
    finally:
        if world is not None:
            world.close()
            world.remove(keep=status != 0 or options.keep)
    if world is None:
        return status
    print(table_of(tallies), end="")
    for note in world.notes:
        print(f"note        {note}")
    rounds = sum(tally.rounds for tally in tallies.values())
    print(f"rounds      {rounds} of {len(tallies)} different faults, seed {options.seed}")
    print(f"found       {rows:,} rows, each once; {values:,} sampled values compared" if not status else
          f"torture: FAILED, {len(world.complaints)} complaints; seed {options.seed}; everything is kept in {directory}")
    if options.report:
        options.report.write_text(table_of(tallies, explained=True))
    if not status and not options.keep and not options.work:
        shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    # The catalogue imports World by this module's name.
    sys.modules["torture"] = sys.modules["__main__"]
    sys.exit(main())
