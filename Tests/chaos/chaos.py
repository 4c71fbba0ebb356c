#!/usr/bin/env python3
"""Exactly once under kill -9: writer, loader and ClickHouse are killed at random moments while producers go on sending.

Each round kills one, two or all three of them with SIGKILL, at a moment chosen to hurt, and starts them again. At the end
every row that was sent must be in ClickHouse exactly once: by `spool-loader audit`, and by a count that uses none of the
recorder's code (keys kept by the producers, compared with what ClickHouse answers over HTTP).

The seed decides victims, moments and rows; what the machine makes of the moments is its own. Exit status: 0 all rows are
there once, 1 something is missing, repeated or wrong (the work directory with all logs is kept and named), 74 a process
could not be started.
"""
from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))

import session  # noqa: E402
from pipeline import Pipeline, Process, Trouble, end_on_signals, wait_until  # noqa: E402
from send_events import Producer, ProtocolError  # noqa: E402

SETTINGS = """
# Small and quick, so that there is always something in the middle of being written, rolled, sent and confirmed.
[writer]
chunk_rows = 400
chunk_age = "40ms"
sync = "every 20ms"
segment_bytes = "256KiB"
[loader]
linger = "20ms"
poll = "50ms"
timeout = "5s"
backoff = "20ms"
backoff_max = "200ms"
batch_rows = 2000
"""

PRODUCERS = 3
ROWS_A_SECOND = 1_200
"""Of each producer."""
BAD_LINE_EVERY = 300
SAMPLE_EVERY = 200
FINISH_SECONDS = 60.0
SHOWN = 10

VICTIMS = (("writer",), ("loader",), ("clickhouse",), ("loader", "clickhouse"), ("writer", "loader"), ("writer", "clickhouse"),
           ("writer", "loader", "clickhouse"))
VICTIM_WEIGHTS = (4, 5, 5, 3, 2, 1, 2)


# What is sent


@dataclass(frozen=True)
class Kind:
    """How rows of one table are made, and by what ClickHouse tells their key."""

    table: str
    key: str
    key_sql: str
    make: Callable[[random.Random, str, int], dict[str, Any]]
    """(random, unique text, unique time) to an event without its table."""


def make_order(rng: random.Random, name: str, at: int) -> dict[str, Any]:
    return {"ts_intent": at, "client_order_id": name, "strategy": rng.choice(("maker", "均值")), "symbol": "BTCUSDT",
            "side": rng.choice(("buy", "sell")), "qty": decimal(rng, 3), "order_type": "limit", "limit_px": decimal(rng, 1),
            "tif": "gtc", "status": rng.choice(("new", "sent", "acked")), "risk_mode": "normal"}


def make_fill(rng: random.Random, name: str, at: int) -> dict[str, Any]:
    return {"ts_exchange": at, "ts_local": at + rng.randrange(10 ** 6), "client_order_id": f"of {name}", "fill_id": name,
            "strategy": "maker", "symbol": rng.choice(("BTCUSDT", "ETHUSDT")), "side": "sell", "fill_qty": decimal(rng, 8),
            "fill_price": decimal(rng, 2), "fees": decimal(rng, 10), "source": "session-1"}


def make_decision(rng: random.Random, name: str, at: int) -> dict[str, Any]:
    return {"ts": at, "strategy": "maker", "symbol": "BTCUSDT", "client_order_id": name, "decision": "allow", "reason_code": "",
            "risk_mode": "normal", "position": decimal(rng, 3), "notional": decimal(rng, 2), "order_rate": rng.random() * 100}


def make_account(rng: random.Random, _: str, at: int) -> dict[str, Any]:
    return {"ts": at, "account_id": rng.choice(("ACC-1", "ACC-2")), "equity": decimal(rng, 10), "cash": decimal(rng, 2),
            "day_pnl": decimal(rng, 4), "risk_mode": "normal"}


def make_quote(rng: random.Random, _: str, at: int) -> dict[str, Any]:
    bid = rng.random() * 60_000
    return {"ts_exchange": at - rng.randrange(10 ** 6), "ts_local": at, "symbol": rng.choice(("BTCUSDT", "ETHUSDT", "ZÜRN.SW")),
            "event": "quote", "bid_px1": bid, "bid_sz1": rng.random(), "ask_px1": bid + 0.1, "ask_sz1": rng.random(),
            "source": "chaos"}


def decimal(rng: random.Random, places: int) -> str:
    return f"{rng.randrange(1, 10 ** 6)}.{rng.randrange(10 ** places):0{places}d}"


KINDS = (
    Kind("orders", "client_order_id", "client_order_id", make_order),
    Kind("fills", "fill_id", "fill_id", make_fill),
    Kind("risk_decisions", "client_order_id", "client_order_id", make_decision),
    Kind("account_state", "ts", "toString(toUnixTimestamp64Nano(ts))", make_account),
    Kind("market_data", "ts_local", "toString(toUnixTimestamp64Nano(ts_local))", make_quote),
)
KIND_WEIGHTS = (4, 3, 3, 1, 6)


@dataclass
class Sent:
    """What one producer has sent."""

    keys: dict[str, set[str]] = field(default_factory=lambda: {kind.table: set() for kind in KINDS})
    samples: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind.table: {} for kind in KINDS})
    bad_lines: int = 0


class Sender(threading.Thread):
    """A producer that never rests: rows of all tables, one after another, at a steady rate, whatever is killed meanwhile."""

    def __init__(self, path: Path, number: int, seed: int, base: int) -> None:
        """`base`: the time of the first rows, the same whole second for all producers."""
        super().__init__(name=f"producer-{number}", daemon=True)
        self.sent = Sent()
        self.refused = 0
        self.failure: Exception | None = None
        self._number, self._random = number, random.Random(f"{seed}-producer-{number}")
        self._stopping = threading.Event()
        self._base = base
        self.producer = Producer(str(path), self.name, self._count_refusal)

    def run(self) -> None:
        try:
            started = time.monotonic()
            while not self._stopping.is_set():
                due = int((time.monotonic() - started) * ROWS_A_SECOND) - self.producer.queued
                for _ in range(min(due, 500)):
                    self.producer.put(self._next_line())
                if not self.producer.pump(0.005):
                    time.sleep(0.005)
        except ProtocolError as error:
            self.failure = error

    def stop(self) -> None:
        """Stop sending, and wait until all that was sent is durable.

        Raises:
            Trouble: that does not come to its end.
        """
        self._stopping.set()
        self.join()
        if self.failure is None and not self.producer.finish(FINISH_SECONDS):
            raise Trouble(f"{self.name}: {self.producer.pending} lines do not become durable")

    def _next_line(self) -> bytes:
        number = self.producer.queued
        kind = self._random.choices(KINDS, KIND_WEIGHTS)[0]
        # Unique among all producers: each has its own residue.
        event = {"table": kind.table, **kind.make(self._random, f"{self.name}/{number}", self._base + number * 1000 + self._number)}
        key = str(event[kind.key])
        if number % BAD_LINE_EVERY == BAD_LINE_EVERY - 1:
            event["no_such_field"] = number
            self.sent.bad_lines += 1
        else:
            self.sent.keys[kind.table].add(key)
            if number % SAMPLE_EVERY == 0:
                self.sent.samples[kind.table][key] = event
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _count_refusal(self, _: dict[str, Any]) -> None:
        self.refused += 1


# What is killed


@dataclass
class Tally:
    """What happened in all rounds."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    ended_by_themselves: list[str] = field(default_factory=list)


class Executioner:
    """Chooses victims and moments, kills, and starts again."""

    def __init__(self, pipeline: Pipeline, senders: list[Sender], seed: int) -> None:
        self.tally = Tally()
        self._pipeline, self._senders = pipeline, senders
        self._random = random.Random(f"{seed}-victims")
        self._processes: dict[str, Process] = {
            "writer": pipeline.writer, "loader": pipeline.loader, "clickhouse": pipeline.clickhouse}

    def round(self) -> str:
        """One round; returns what was done."""
        victims = self._random.choices(VICTIMS, VICTIM_WEIGHTS)[0]
        moment = self._random.choice(self._moments(victims))
        self._note_what_ended()
        getattr(self, f"_{moment}")(victims)
        self.tally.rounds += 1
        self.tally.moments[moment] += 1
        self._let_it_work()
        return f"{'+'.join(victims)} {moment}"

    def _moments(self, victims: tuple[str, ...]) -> tuple[str, ...]:
        """At any time; just after rows became durable; again at once after the restart; and in the middle of an insert, where
        that means something to the victims."""
        if victims == ("writer",):
            return ("anytime", "fresh", "again")
        at_insert = ("insert", "insert", "doubt") if "loader" in victims else ("suicide", "suicide")
        return ("anytime", "fresh", "again", *at_insert)

    # Moments

    def _anytime(self, victims: tuple[str, ...]) -> None:
        time.sleep(self._random.uniform(0, 0.3))
        self._kill_and_start(victims)

    def _fresh(self, victims: tuple[str, ...]) -> None:
        before = self._durable()
        wait_until(lambda: self._durable() > before, 0.5, step=0.001)
        time.sleep(self._random.uniform(0, 0.05))
        self._kill_and_start(victims)

    def _again(self, victims: tuple[str, ...]) -> None:
        self._kill_and_start(victims)
        for _ in range(self._random.randint(1, 2)):
            time.sleep(self._random.uniform(0, 0.06))
            self._kill_and_start(victims)

    def _insert(self, victims: tuple[str, ...]) -> None:
        """While an insert is on its way, executed and not yet answered, or not yet executed."""
        action = self._random.choice(("delay", "delay_after"))
        if self._plan({"match": "INSERT INTO", "action": action, "ms": 60}):
            self._await_faults(1)
            time.sleep(self._random.uniform(0, 0.03))
        self._kill_and_start(victims)

    def _doubt(self, victims: tuple[str, ...]) -> None:
        """While the loader asks what has become of an insert whose answer was lost."""
        action = self._random.choice(("drop_before", "drop_after", "garbage_after"))
        if self._plan({"match": "INSERT INTO", "action": action}, {"match": "SELECT", "action": "delay", "ms": 50}):
            self._await_faults(2)
            time.sleep(self._random.uniform(0, 0.03))
        self._kill_and_start(victims)

    def _suicide(self, victims: tuple[str, ...]) -> None:
        """ClickHouse kills itself at, in or after an insert."""
        action = self._random.choice(("kill_before", "kill_during", "kill_during", "kill_during", "kill_after"))
        if self._plan({"match": "INSERT INTO", "action": action, "ms": self._random.randrange(0, 12)}):
            wait_until(lambda: not self._pipeline.clickhouse.is_alive, 1.0, step=0.001)
        self._kill_and_start(victims)

    # What they are made of

    def _kill_and_start(self, victims: tuple[str, ...]) -> None:
        order = list(victims)
        self._random.shuffle(order)
        for name in order:
            self._processes[name].kill()
            self.tally.kills[name] += 1
        self._random.shuffle(order)
        for name in order:
            self._processes[name].start()

    def _plan(self, *faults: dict[str, Any]) -> bool:
        if not wait_until(self._pipeline.clickhouse.answers, 2.0):
            return False
        try:
            self._pipeline.clickhouse.plan_faults(*faults)
        except OSError:
            return False
        return True

    def _await_faults(self, count: int) -> None:
        def happened() -> bool:
            try:
                return len(self._pipeline.clickhouse.faults_done()) >= count
            except OSError:
                return True

        wait_until(happened, 1.0, step=0.002)

    def _durable(self) -> int:
        return sum(sender.producer.durable for sender in self._senders)

    def _let_it_work(self) -> None:
        """Mostly long enough for something new to be loaded, sometimes not."""
        time.sleep(self._random.uniform(0, 0.2))
        if self._random.random() < 0.6:
            wait_until(self._pipeline.clickhouse.answers, 3.0)
            before = self._loaded()
            wait_until(lambda: self._loaded() > before, 1.0, step=0.02)

    def _loaded(self) -> int:
        try:
            return count_all(self._pipeline)
        except (OSError, Trouble):
            return 0

    def _note_what_ended(self) -> None:
        """None of them may end unless it is killed."""
        for name, process in self._processes.items():
            if not process.is_alive and process.status != -9:
                self.tally.ended_by_themselves.append(f"{name} with {process.status} in round {self.tally.rounds}")
                process.start()

    def heal(self) -> None:
        """Everything runs, and no fault is planned any more."""
        self._note_what_ended()
        for process in self._processes.values():
            if not process.is_alive:
                process.start()
        if not wait_until(self._pipeline.clickhouse.answers, 20.0):
            raise Trouble(f"ClickHouse does not come back; see {self._pipeline.clickhouse.log}")
        self._pipeline.clickhouse.plan_faults()


def count_all(pipeline: Pipeline) -> int:
    return int(pipeline.clickhouse.query(
        "SELECT sum(total_rows) FROM system.tables WHERE database = 'default' AND has_own_data", timeout=5))


# What must be there


class Verdict:
    """What is wrong, counted and with examples."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.rows = self.missing = self.repeated = self.values = 0

    def complain(self, text: str) -> None:
        self.complaints.append(text)


def check_keys(pipeline: Pipeline, kind: Kind, sent: set[str], verdict: Verdict) -> None:
    """Every key that was sent is there once, and no other."""
    count, unique = map(int, pipeline.clickhouse.rows(
        f"SELECT toString(count()), toString(uniqExact({kind.key_sql})) FROM {kind.table}")[0])
    found = Counter(dict((key, int(times)) for key, times in pipeline.clickhouse.rows(
        f"SELECT {kind.key_sql}, toString(count()) FROM {kind.table} GROUP BY 1")))
    missing, extra = sent - found.keys(), found.keys() - sent
    repeated = {key: times for key, times in found.items() if times > 1}
    verdict.rows += count
    verdict.missing += len(missing)
    verdict.repeated += sum(times - 1 for times in repeated.values())
    if missing:
        verdict.complain(f"{kind.table}: {len(missing)} rows are missing: {examples(missing)}")
    if repeated:
        verdict.complain(f"{kind.table}: {len(repeated)} rows are there more than once: {examples(repeated)}")
    if extra:
        verdict.complain(f"{kind.table}: {len(extra)} rows were never sent, or sent as bad lines: {examples(extra)}")
    if count != len(sent) or unique != len(sent):
        verdict.complain(f"{kind.table}: {len(sent)} rows were sent; count() is {count}, uniqExact of the key {unique}")


def check_sequences(pipeline: Pipeline, kind: Kind, verdict: Verdict) -> None:
    """The sequences of each writer are 1 to N without a gap."""
    for writer, *numbers in pipeline.clickhouse.rows(
            "SELECT spool_writer, toString(count()), toString(uniqExact(spool_seq)), toString(min(spool_seq)), toString(max(spool_seq)) "
            f"FROM {kind.table} GROUP BY spool_writer"):
        count, unique, first, last = map(int, numbers)
        if not (first == 1 and last == unique == count):
            verdict.complain(f"{kind.table}: sequences of {writer}: {count} rows, {unique} unique, from {first} to {last}")


def check_values(pipeline: Pipeline, kind: Kind, samples: dict[str, dict[str, Any]], verdict: Verdict) -> None:
    """Every value of the sampled rows is as it was sent."""
    keys = sorted(samples)
    for start in range(0, len(keys), 500):
        part = keys[start:start + 500]
        columns = sorted({name for key in part for name in samples[key] if name != "table"})
        shown = ", ".join(value_sql(name, samples[part[0]].get(name)) for name in columns)
        listed = ", ".join("'" + key.replace("\\", "\\\\").replace("'", "\\'") + "'" for key in part)
        found = {key: values for key, *values in pipeline.clickhouse.rows(
            f"SELECT {kind.key_sql}, {shown} FROM {kind.table} WHERE {kind.key_sql} IN ({listed})")}
        for key in part:
            wanted = [value_text(samples[key][name]) for name in columns]
            verdict.values += len(wanted)
            if key in found and found[key] != wanted:
                verdict.complain(f"{kind.table}: {key}: sent {wanted}, found {found[key]}")


def value_sql(name: str, value: Any) -> str:
    """How a column is asked for, so that the answer compares exactly: times as integers, decimals with all their digits."""
    if isinstance(value, int):
        return f"toString(toUnixTimestamp64Nano({name}))"
    if isinstance(value, float):
        return f"toString(reinterpretAsUInt64(assumeNotNull({name})))"
    return f"toString({name})"


def value_text(value: Any) -> str:
    if isinstance(value, float):
        return str(struct.unpack("<Q", struct.pack("<d", value))[0])
    text = str(value)
    # Our decimals always have a point; ClickHouse shows them without trailing zeros.
    whole, point, places = text.partition(".")
    return text if not (point and whole.isdigit() and places.isdigit()) else f"{whole}.{places}".rstrip("0").rstrip(".")


def examples(keys: Any) -> str:
    shown = sorted(keys)[:SHOWN]
    return ", ".join(shown) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")


def judge(pipeline: Pipeline, senders: list[Sender], tally: Tally) -> tuple[Verdict, str]:
    """Load the rest, then count everything in two independent ways."""
    verdict = Verdict()
    for name in tally.ended_by_themselves:
        verdict.complain(f"ended by itself: {name}")
    for sender in senders:
        if sender.failure is not None:
            verdict.complain(f"{sender.name}: {sender.failure}")
        # Fewer is possible: a writer that is killed after a sync and before its answers takes the news of a refusal along.
        if sender.refused > sender.sent.bad_lines:
            verdict.complain(f"{sender.name}: {sender.sent.bad_lines} bad lines sent, {sender.refused} refused")
    once = pipeline.load_once(expect=(0, 1), timeout=FINISH_SECONDS)
    if once.returncode:
        verdict.complain(f"spool-loader run --once: exit 1: {once.stdout}{once.stderr}")
    audit = pipeline.run_loader("audit", expect=(0, 1, 64, 74))
    if audit.returncode:
        verdict.complain(f"spool-loader audit: exit {audit.returncode}: {audit.stdout}{audit.stderr}")
    verify = pipeline.run_loader("verify", expect=(0, 1, 64, 74))
    if verify.returncode:
        verdict.complain(f"spool-loader verify: exit {verify.returncode}: {verify.stdout}{verify.stderr}")
    for kind in KINDS:
        check_keys(pipeline, kind, set().union(*(sender.sent.keys[kind.table] for sender in senders)), verdict)
        check_sequences(pipeline, kind, verdict)
        samples: dict[str, dict[str, Any]] = {}
        for sender in senders:
            samples.update(sender.sent.samples[kind.table])
        check_values(pipeline, kind, samples, verdict)
    return verdict, audit.stdout


# Command


def rounds_of(executioner: Executioner, count: int) -> Iterator[str]:
    for _ in range(count):
        yield executioner.round()


def torment(directory: Path, options: argparse.Namespace) -> tuple[Verdict, str, Tally, list[Sender]]:
    pipeline = Pipeline(directory, faults=True, settings=SETTINGS)
    base = (int(time.time()) - 600) * 10 ** 9
    senders = [Sender(pipeline.socket, number, options.seed, base) for number in range(PRODUCERS)]
    try:
        pipeline.start_clickhouse()
        pipeline.start_writer()
        pipeline.loader.start()
        for sender in senders:
            sender.start()
        executioner = Executioner(pipeline, senders, options.seed)
        started = time.monotonic()
        for number, what in enumerate(rounds_of(executioner, options.rounds), 1):
            if options.verbose:
                print(f"  {number}: {what}", flush=True)
            elif number % 20 == 0:
                print(f"  {number} rounds, {time.monotonic() - started:.0f} s, {sum(s.producer.queued for s in senders):,} lines sent", flush=True)
        executioner.heal()
        for sender in senders:
            sender.stop()
        for process in (pipeline.writer, pipeline.loader):
            if status := process.stop():
                executioner.tally.ended_by_themselves.append(f"{process.name}, asked to stop, with {status}")
        return *judge(pipeline, senders, executioner.tally), executioner.tally, senders
    finally:
        pipeline.kill()


def report(verdict: Verdict, audit: str, tally: Tally, senders: list[Sender], seed: int, seconds: float) -> None:
    lines = sum(sender.producer.queued for sender in senders)
    bad = sum(sender.sent.bad_lines for sender in senders)
    unheard = bad - sum(sender.refused for sender in senders)
    reconnects = sum(sender.producer.reconnects for sender in senders)
    print("audit says:")
    for line in audit.rstrip("\n").split("\n"):
        print(f"  {line}")
    for complaint in verdict.complaints:
        print(f"WRONG: {complaint}")
    print(f"rounds      {tally.rounds} in {seconds:.0f} s, seed {seed}; moments: "
          + ", ".join(f"{name} {count}" for name, count in sorted(tally.moments.items())))
    print("kills       " + ", ".join(f"{name} {count}" for name, count in sorted(tally.kills.items())) + f"; {sum(tally.kills.values())} in all")
    print(f"sent        {lines:,} lines by {len(senders)} producers ({reconnects} reconnections), {bad} of them bad and refused"
          + (f"; the news of {unheard} refusals was lost with the writer" if unheard else ""))
    print(f"found       {verdict.rows:,} rows; {verdict.values:,} sampled values compared")
    print(f"missing     {verdict.missing}")
    print(f"duplicate   {verdict.repeated}")


def arguments() -> argparse.Namespace:
    parser = session.parser(__doc__, verbose="say each round's victims")
    parser.add_argument("--rounds", type=int, default=200)
    return session.parse(parser)


def main() -> int:
    options = arguments()
    end_on_signals()
    directory = session.work_directory("chaos", options)
    print(f"chaos: {options.rounds} rounds, seed {options.seed}", flush=True)
    started = time.monotonic()
    try:
        verdict, audit, tally, senders = torment(directory, options)
    except (Trouble, OSError) as error:
        return session.not_started("chaos", options, directory, error)
    report(verdict, audit, tally, senders, options.seed, time.monotonic() - started)
    return session.ended("chaos", options, directory, verdict.complaints)


if __name__ == "__main__":
    sys.exit(main())
