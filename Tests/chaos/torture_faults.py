"""The catalogue of faults: each a name, what it is, and what an operator sees of it. torture.py heals after each."""
from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pipeline import run, wait_until
from torture import World

WRITER_74, LOADER_74 = ("writer", 74), ("loader", 74)
CLICKHOUSE_STOPPED = ("clickhouse", 0)


@dataclass(frozen=True)
class Fault:
    name: str
    what: str
    seen: str
    """What the operator sees."""
    act: Callable[[World], None]
    may_end: tuple[tuple[str, int], ...] = ()
    """Who may end by itself, and with which status; a supervisor starts it again."""
    needs_tmpfs: bool = False
    known: str = ""
    """A bug that is known and not mended yet: the fault is played only if it is asked for by name."""


CATALOGUE: list[Fault] = []


def fault(name: str, what: str, seen: str, *may_end: tuple[str, int], needs_tmpfs: bool = False,
          known: str = "") -> Callable[[Callable[[World], None]], None]:
    def add(act: Callable[[World], None]) -> None:
        CATALOGUE.append(Fault(name, what, seen, act, may_end, needs_tmpfs, known))

    return add


# Death

RESTARTS = "a restart; the writer says what it cut, the loader what was in flight"


def killed(name: str, *victims: str) -> None:
    @fault(name, f"kill -9 of {', '.join(victims)} at any moment", RESTARTS)
    def act(world: World) -> None:
        world.pause(0, 0.3)
        world.kill_and_start(*victims)


killed("kill-writer", "writer")
killed("kill-loader", "loader")
killed("kill-clickhouse", "clickhouse")
killed("kill-writer-loader", "writer", "loader")
killed("kill-writer-clickhouse", "writer", "clickhouse")
killed("kill-loader-clickhouse", "loader", "clickhouse")
killed("kill-all", "writer", "loader", "clickhouse")


@fault("kill-writer-again", "kill -9 of the writer, and again while it recovers, several times", RESTARTS)
def _(world: World) -> None:
    for _ in range(world.random.randint(2, 4)):
        world.kill_and_start("writer")
        world.pause(0, 0.08)


@fault("kill-loader-again", "kill -9 of the loader, and again while it starts, several times", RESTARTS)
def _(world: World) -> None:
    for _ in range(world.random.randint(2, 4)):
        world.kill_and_start("loader")
        world.pause(0, 0.08)


def killed_at(name: str, what: str, loses_power: bool = False, skip: int = 6, whose: str = "writer", **rule: Any) -> None:
    """Kill -9 at a system call, and perhaps a power loss at that moment."""
    @fault(name, what, RESTARTS)
    def act(world: World) -> None:
        disk = world.disk if whose == "writer" else world.loader_disk
        disk.set(**rule, count=1, skip=world.random.randrange(skip))
        world.await_death(whose)
        disk.clear()
        if loses_power:
            world.lose_power(writer=whose == "writer", loader=whose == "loader")
        world.revive()


killed_at("kill-in-write", "kill -9 of the writer when half of a chunk is written", op="pwrite", match=".lz4", mode="kill_during")
killed_at("kill-before-sync", "kill -9 of the writer when chunks are written, not synced", op="fdatasync", match=".lz4", mode="kill_before")
killed_at("kill-after-sync", "kill -9 of the writer when chunks are synced, and no mark says so", op="fdatasync", match=".lz4", mode="kill_after")
killed_at("kill-after-mark", "kill -9 of the writer when the mark is written, and no producer told", op="pwrite", match="/durable", mode="kill_after")
killed_at("kill-in-mark", "kill -9 of the writer when half of the mark is overwritten", op="pwrite", match="/durable", mode="kill_during")
killed_at("kill-in-create", "kill -9 of the writer when a segment has no header yet", op="create", match=".lz4.tmp", mode="kill_after", skip=3)
killed_at("kill-before-rename", "kill -9 of the writer when a segment has its header, not its name", op="rename", match=".lz4", mode="kill_before", skip=3)
killed_at("kill-after-rename", "kill -9 of the writer when a segment has its name, not synced", op="rename", match=".lz4", mode="kill_after", skip=3)
killed_at("kill-loader-intent", "kill -9 of the loader when half of a checkpoint is written", op="pwrite", match=".checkpoint", mode="kill_during", whose="loader")
killed_at("kill-loader-before-sync", "kill -9 of the loader when a checkpoint is written, not synced", op="fdatasync", match=".checkpoint",
          mode="kill_before", whose="loader")
killed_at("kill-loader-after-sync", "kill -9 of the loader when a checkpoint is synced: an intent before it is sent, or a batch that is done",
          op="fdatasync", match=".checkpoint", mode="kill_after", whose="loader")


@fault("kill-in-recovery", "kill -9 of the writer at a system call of its recovery, after a death in the middle of a write", RESTARTS)
def _(world: World) -> None:
    world.disk.set("pwrite", match=".lz4", mode="kill_during", count=1, skip=world.random.randrange(4))
    world.await_death("writer")
    for _ in range(world.random.randint(1, 3)):
        world.disk.clear()
        mode = world.random.choice(("kill_before", "kill_during", "kill_after"))
        world.disk.set("pwrite+fdatasync+ftruncate+create+unlink+syncdir", mode=mode, count=1, skip=world.random.randrange(12))
        world.revive()
        world.await_death("writer", 1.0)


# Power loss

POWER = "as after kill -9: a torn tail is cut and a copy kept beside it; no rows are declared lost"


@fault("power-loss", "power loss of the writer's machine at any moment: unsynced bytes and names are kept, lost or torn", POWER)
def _(world: World) -> None:
    world.pause(0, 0.3)
    world.lose_power()
    world.revive()


killed_at("power-loss-in-write", "power loss when half of a chunk is written", True, op="pwrite", match=".lz4", mode="kill_during")
killed_at("power-loss-before-sync", "power loss when chunks are written, not synced", True, op="fdatasync", match=".lz4", mode="kill_before")
killed_at("power-loss-after-sync", "power loss when chunks are synced, and no mark says so", True, op="fdatasync", match=".lz4", mode="kill_after")
killed_at("power-loss-after-mark", "power loss when producers were told, and the mark is not synced", True, op="pwrite", match="/durable", mode="kill_after")
killed_at("power-loss-new-segment", "power loss when a segment has its name, and the directory is not synced", True, op="rename", match=".lz4",
          mode="kill_after", skip=3)
killed_at("power-loss-named-segment", "power loss when a new segment's name is synced, and its mark is not written", True, op="syncdir",
          mode="kill_after", skip=3)
killed_at("power-loss-loader", "power loss of the loader's machine while a checkpoint is written", True, op="pwrite", match=".checkpoint",
          mode="kill_after", whose="loader")


@fault("power-loss-much-unsynced", "power loss while a sync hangs, so that all that was written since is unsynced", POWER)
def _(world: World) -> None:
    world.disk.set("fdatasync", delay_ms=400, match=".lz4")
    world.pause(0.1, 0.35)
    world.lose_power()
    world.revive()


@fault("power-loss-after-stall", "a sync hangs, so that the next write has many chunks; power loss before that is synced", POWER)
def _(world: World) -> None:
    world.disk.set("fdatasync", delay_ms=600, match=".lz4", count=1)
    world.disk.set("fdatasync", match=".lz4", mode="kill_before", count=1, skip=world.random.randrange(4))
    world.await_death("writer")
    world.lose_power()
    world.revive()


@fault("power-loss-in-recovery", "power loss, and another one at a system call of the recovery", POWER)
def _(world: World) -> None:
    world.lose_power()
    for _ in range(world.random.randint(1, 2)):
        mode = world.random.choice(("kill_before", "kill_during", "kill_after"))
        world.disk.set("pwrite+fdatasync+ftruncate+create+unlink+syncdir", mode=mode, count=1, skip=world.random.randrange(12))
        world.revive()
        world.await_death("writer", 1.0)
        world.lose_power()
    world.revive()


@fault("power-loss-both", "power loss of writer's and loader's machines at once", POWER)
def _(world: World) -> None:
    world.pause(0, 0.2)
    world.lose_power(loader=True)
    world.revive()


@fault("power-loss-again", "power loss, a second of work, power loss", POWER)
def _(world: World) -> None:
    for _ in range(2):
        world.lose_power()
        world.revive()
        world.pause(0.05, 0.6)


# The writer's disk

BLOCKED = "`cannot write: ...; what was taken is kept in memory and tried again`, then `the disk takes rows again after N ms; no row that was kept is lost`"


def failing(name: str, what: str, seconds: tuple[float, float] = (0.2, 0.8), power: bool = False, seen: str = BLOCKED, **rule: Any) -> None:
    """Calls of the writer that fail for a while."""
    @fault(name, what, seen)
    def act(world: World) -> None:
        world.disk.set(**rule)
        world.pause(*seconds)
        if power:
            world.lose_power()


failing("enospc-write", "no space for chunks", op="pwrite", error="ENOSPC", match=".lz4")
failing("edquot-write", "no quota for chunks", op="pwrite", error="EDQUOT", match=".lz4")
failing("efbig-write", "a chunk would make the file too big", op="pwrite", error="EFBIG", match=".lz4")
failing("eio-write", "I/O errors on chunks", op="pwrite", error="EIO", match=".lz4")
failing("enospc-some-bytes", "no space after some kilobytes: chunks are cut short", op="pwrite", error="ENOSPC", mode="budget", value=20_000)
failing("enospc-everything", "no space for chunks, marks, new files", op="pwrite+create+rename+mkdir+fallocate", error="ENOSPC")
failing("spool-read-only", "the file system becomes read-only", op="pwrite+create+rename+mkdir+ftruncate+unlink+fallocate", error="EROFS")
failing("enospc-create", "no space for a new segment", (0.8, 2.2), op="create", error="ENOSPC", match=".lz4.tmp")
failing("eio-new-segment-sync", "a new segment's header cannot be synced", (0.8, 2.2), op="fdatasync", error="EIO", mode="lose", match=".lz4.tmp")
failing("eio-rename", "a new segment cannot be renamed", (0.8, 2.2), op="rename", error="EIO")
failing("eio-directory-sync", "a directory cannot be synced", (0.8, 2.2), op="syncdir", error="EIO")
failing("eio-mark", "the mark cannot be written", op="pwrite", error="EIO", match="/durable")
failing("eio-mark-sync", "the mark cannot be synced", (0.8, 2.2), op="fdatasync", error="EIO", mode="doom", match="/durable")
failing("eio-sync-once", "one sync fails; the bytes stay in the page cache and are never written", op="fdatasync", error="EIO", mode="doom", match=".lz4", count=1)
failing("eio-sync-for-a-while", "syncs fail for a while", op="fdatasync", error="EIO", mode="doom", match=".lz4")
failing("lost-pages-once", "one sync fails, and the unsynced bytes are gone at once", op="fdatasync", error="EIO", mode="lose", match=".lz4", count=1)
failing("lost-pages-for-a-while", "syncs fail for a while, and each time the unsynced bytes are gone", op="fdatasync", error="EIO", mode="lose", match=".lz4")
failing("enospc-sync", "a sync says that there is no space (delayed allocation)", op="fdatasync", error="ENOSPC", mode="doom", match=".lz4", count=3)
failing("eio-sync-power-loss", "syncs fail, then the power is gone", power=True, op="fdatasync", error="EIO", mode="doom", match=".lz4", count=2)
failing("lost-pages-power-loss", "syncs fail and lose their bytes, then the power is gone", power=True, op="fdatasync", error="EIO", mode="lose", match=".lz4")
failing("enospc-power-loss", "the disk is full, then the power is gone", power=True, op="pwrite+create", error="ENOSPC")
failing("one-table", "only one table's files fail", op="pwrite+create+fdatasync", error="EIO", match="/orders/")
failing("short-writes", "writes take only half of what they are given", seen="nothing", op="pwrite", mode="short")
failing("slow-disk", "each sync takes 40 ms", seen="rows become durable later", op="fdatasync", delay_ms=40)
failing("hung-disk", "a sync hangs for 1.5 s", (1.0, 1.8), seen="rows become durable later", op="fdatasync", delay_ms=1500, count=1)
failing("statvfs-fails", "how full the disk is cannot be told", op="statvfs", error="EIO", seen="nothing, or a warning")
failing("disk-95-percent", "the disk says that it is 95 % full", op="statvfs", mode="ratio", value=950,
        seen="an alert; market rows may be given up, and are then in `system_events`")


@fault("lying-disk", "syncs say that they are done, and are not; then the power is gone", "`recovery: ... are lost` if the mark was kept",
       known="no bug: rows must be lost by this, and the count must find it; a test of the test")
def _(world: World) -> None:
    world.disk.set("fdatasync+syncdir", mode="lie")
    world.pause(0.4, 0.6)
    world.lose_power()


@fault("eio-truncate", "a sync fails, and then the segment cannot be cut back", BLOCKED)
def _(world: World) -> None:
    world.disk.set("fdatasync", error="EIO", mode="lose", match=".lz4", count=2)
    world.disk.set("ftruncate", error="EIO", count=4)
    world.pause(0.3, 1.0)


@fault("enospc-kill", "the disk is full, and the writer is killed and started while it is", "the writer ends with 74 as long as it cannot recover", WRITER_74)
def _(world: World) -> None:
    world.disk.set("pwrite+create", error="ENOSPC")
    world.pause(0.1, 0.4)
    world.kill_and_start("writer")
    world.pause(0.1, 0.4)


@fault("eio-recovery", "the writer starts on a disk that fails", "the writer ends with 74 and says which file", WRITER_74)
def _(world: World) -> None:
    operation = world.random.choice(("pread", "open", "pwrite", "fdatasync", "create", "opendir", "syncdir"))
    world.disk.set("pwrite", match=".lz4", mode="kill_during", count=1)
    world.await_death("writer", 2.0)
    world.disk.clear()
    world.disk.set(operation, error="EIO", count=world.random.choice((1, 3, -1)), skip=world.random.randrange(4))
    world.kill_and_start("writer")
    world.pause(0.1, 0.4)


@fault("full-tmpfs", "a real small disk is full", BLOCKED, LOADER_74, needs_tmpfs=True)
def _(world: World) -> None:
    fill(world)
    world.pause(0.3, 1.0)
    (world.place / "ballast").unlink()


@fault("full-tmpfs-kill", "a real small disk is full, and the writer dies", BLOCKED, WRITER_74, LOADER_74, needs_tmpfs=True)
def _(world: World) -> None:
    fill(world)
    world.pause(0.1, 0.4)
    world.kill_and_start("writer")
    world.pause(0.1, 0.4)
    (world.place / "ballast").unlink()


def fill(world: World) -> None:
    with open(world.place / "ballast", "wb", buffering=0) as ballast:
        disk = os.statvfs(world.place)
        room = disk.f_bavail * disk.f_frsize - world.random.randrange(64 << 10)
        try:
            os.posix_fallocate(ballast.fileno(), 0, max(4096, room))
            # What is left, to the last page: the writer is quick, and may have taken it.
            for _ in range(64):
                ballast.seek(0, os.SEEK_END)
                ballast.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@fault("spool-moved", "the spool's directory is renamed, and a moment later renamed back",
       "`cannot write: ...` at the next segment; the loader says that the spool is not there, or ends with 74", LOADER_74, WRITER_74)
def _(world: World) -> None:
    away = world.spool.with_name("spool-away")
    world.spool.rename(away)
    world.pause(0.3, 2.5)
    if world.spool.exists():
        made = sorted(str(path.relative_to(world.spool)) for path in world.spool.rglob("*"))
        world.complain(f"the writer made a new spool where the old one was moved away: {made[:6]}")
        world.spool.rename(world.place / f"made-{time.monotonic_ns()}")
    away.rename(world.spool)


@fault("table-moved", "a table's directory is renamed, and a moment later renamed back", "`cannot write: ...` at the next segment", LOADER_74, WRITER_74)
def _(world: World) -> None:
    away = world.spool / ".orders-away"
    if not wait_until((world.spool / "orders").exists, 5):
        return
    (world.spool / "orders").rename(away)
    world.pause(0.3, 2.5)
    if (world.spool / "orders").exists():
        made = sorted(path.name for path in (world.spool / "orders").iterdir())
        world.complain(f"the writer made a new directory where the table's was moved away: {made[:6]}")
        (world.spool / "orders").rename(world.place / f"made-{time.monotonic_ns()}")
    away.rename(world.spool / "orders")


# The loader's disk


def loader_failing(name: str, what: str, seconds: tuple[float, float] = (0.3, 0.9), may_end: bool = False, **rule: Any) -> None:
    @fault(name, what, "`...; tries again, nothing is lost`" + (", or an end with 74" if may_end else ""), *([LOADER_74] if may_end else []))
    def act(world: World) -> None:
        world.loader_disk.set(**rule)
        world.pause(*seconds)


loader_failing("checkpoints-full", "no space for checkpoints", op="pwrite", error="ENOSPC", match=".checkpoint")
loader_failing("checkpoints-read-only", "the checkpoints' disk becomes read-only", op="pwrite+create", error="EROFS", match="/checkpoints/")
loader_failing("checkpoints-sync", "a checkpoint cannot be synced", op="fdatasync", error="EIO", mode="doom", match=".checkpoint", count=3)
loader_failing("checkpoints-lost-pages", "a checkpoint cannot be synced, and what was written is gone", op="fdatasync", error="EIO", mode="lose",
               match=".checkpoint", count=3)
loader_failing("checkpoints-short", "writes of checkpoints take only half", op="pwrite", mode="short", match=".checkpoint")
loader_failing("loader-read-errors", "segments cannot be read", op="pread", error="EIO", match=".lz4")
loader_failing("loader-mark-errors", "marks cannot be read", op="open+pread", error="EIO", match="/durable")
loader_failing("loader-stale", "the spool's mount is stale (NFS)", may_end=True, op="open+opendir+pread", error="ESTALE", match="/spool")
loader_failing("loader-short-reads", "reads give only half of what is asked for", op="pread", mode="short")
loader_failing("loader-slow-disk", "each read takes 20 ms", op="pread", delay_ms=20, match=".lz4")


@fault("checkpoints-kill", "the checkpoints' disk is full, and the loader is killed and started while it is", "the loader ends with 74", LOADER_74)
def _(world: World) -> None:
    world.loader_disk.set("pwrite", error="ENOSPC", match=".checkpoint")
    world.pause(0.1, 0.4)
    world.kill_and_start("loader")
    world.pause(0.1, 0.4)


# ClickHouse

REPEATS = "`http://...: ...; tries again, nothing is lost`, then `goes on after N failures`"


def answered(name: str, what: str, *faults: dict[str, Any], seconds: tuple[float, float] = (0.3, 0.8)) -> None:
    """Answers of ClickHouse, for several inserts and questions."""
    @fault(name, what, REPEATS)
    def act(world: World) -> None:
        world.server(*faults * world.random.randint(1, 3))
        world.await_server(len(faults), 1.5)
        world.pause(*seconds)


def insert(action: str, **more: Any) -> dict[str, Any]:
    return {"match": "INSERT INTO", "action": action, **more}


def select(action: str, **more: Any) -> dict[str, Any]:
    return {"match": "SELECT", "action": action, **more}


PROXY = "<html><body>503 Service Temporarily Unavailable</body></html>"
answered("close-before", "the connection ends before an insert is executed", insert("drop_before"))
answered("reset-before", "the connection is reset before an insert is executed", insert("drop_before", reset=True))
answered("close-after", "the connection ends after an insert is executed, without an answer", insert("drop_after"))
answered("reset-after", "the connection is reset after an insert is executed", insert("drop_after", reset=True))
answered("garbage-before", "an answer that is not HTTP; the insert was not executed", insert("garbage"))
answered("garbage-after", "an answer that is not HTTP; the insert was executed", insert("garbage_after"))
answered("truncated-length", "an answer shorter than it says", insert("truncate"), select("truncate"))
answered("truncated-chunked", "an answer without its last chunk", insert("truncate", framing="chunked"), select("truncate", framing="chunked"))
answered("exception-200", "status 200, with an exception in the head", insert("exception_header_200"), select("exception_header_200"))
answered("text-200", "status 200 from a proxy that never asked ClickHouse", insert("status", status=200, body=PROXY))
answered("empty-200", "status 200 and an empty answer to a question", insert("drop_after"), select("status", status=200))
answered("proxy-503", "503 from a proxy", insert("status", status=503, body=PROXY), select("status", status=503, body=PROXY))
answered("proxy-503-after", "503 from a proxy after the insert was executed", insert("status_after", status=503, body=PROXY))
answered("unauthorized", "401 for a while", insert("status", status=401), select("status", status=401))
answered("redirected", "302 to elsewhere", insert("status", status=302, headers={"Location": "http://127.0.0.1:9/"}))
answered("doubt-and-garbage", "an insert without an answer, and garbage to the question what became of it", insert("drop_after"), select("garbage"))
answered("doubt-and-silence", "an insert without an answer, and no answer to the question", insert("drop_before"), select("drop_after"))
answered("slow-server", "inserts and questions take 200 ms", *[insert("delay", ms=200), select("delay_after", ms=200)] * 3)
answered("timeout-before", "no answer to an insert within the loader's patience; it was not executed", insert("hang"), seconds=(2.0, 2.5))
answered("timeout-after", "no answer to an insert within the loader's patience; it was executed", insert("hang_after"), seconds=(2.0, 2.5))
answered("late-insert", "an insert that is executed after the loader has given it up", insert("delay", ms=2_600), seconds=(2.5, 3.0))


def died(name: str, what: str, action: str) -> None:
    @fault(name, what, REPEATS)
    def act(world: World) -> None:
        if world.server(insert(action, ms=world.random.randrange(12))):
            world.await_death("clickhouse")
        world.pause(0, 0.3)


died("clickhouse-dies-before", "ClickHouse dies before an insert", "kill_before")
died("clickhouse-dies-during", "ClickHouse dies during an insert", "kill_during")
died("clickhouse-dies-after", "ClickHouse dies after an insert and before its answer", "kill_after")


@fault("clickhouse-down", "ClickHouse is stopped for a while: connections are refused", REPEATS, CLICKHOUSE_STOPPED)
def _(world: World) -> None:
    if world.clickhouse.is_alive:
        world.clickhouse.stop()
    world.pause(0.5, 1.5)


@fault("doubt-and-kill", "an insert without an answer, and the loader dies while it asks", RESTARTS)
def _(world: World) -> None:
    if world.server(insert(world.random.choice(("drop_before", "drop_after", "garbage_after"))), select("delay", ms=80)):
        world.await_server(2)
        world.pause(0, 0.05)
    world.kill_and_start("loader")


@fault("insert-and-kill", "the loader dies while an insert is executed", RESTARTS)
def _(world: World) -> None:
    if world.server(insert(world.random.choice(("delay", "delay_after")), ms=100)):
        world.await_server(1)
    world.kill_and_start("loader")


# Standing still


def frozen(name: str, *victims: str) -> None:
    @fault(name, f"SIGSTOP of {', '.join(victims)} for a while", "lag grows, then falls")
    def act(world: World) -> None:
        for victim in victims:
            world.freeze(victim, world.random.uniform(0.3, 2.5 / len(victims)))


frozen("stop-writer", "writer")
frozen("stop-loader", "loader")
frozen("stop-clickhouse", "clickhouse")
frozen("stop-each", "writer", "loader", "clickhouse")


@fault("no-descriptors-writer", "the writer may open no more files, while segments roll and producers come",
       "`cannot accept a connection`, `cannot write: open ...: Too many open files`")
def _(world: World) -> None:
    world.limit_files("writer", world.random.uniform(0.8, 2.2))


@fault("no-descriptors-loader", "the loader may open no more files", "`...; tries again, nothing is lost`, or an end with 74", LOADER_74)
def _(world: World) -> None:
    world.limit_files("loader", world.random.uniform(0.5, 1.5))


@fault("stop-and-start", "writer and loader are stopped as one does, and started", "`stopped: everything is durable`", ("writer", 0), ("loader", 0))
def _(world: World) -> None:
    for name in world.shuffled(("writer", "loader")):
        if world.processes[name].is_alive and (status := world.processes[name].stop()):
            world.complain(f"{name}, asked to stop, ended with {status}")
        world.revive()


@fault("second-writer", "a second writer on the same spool", "the second one ends with 64 and names the first one's pid")
def _(world: World) -> None:
    wait_until(world.pipeline.writer_listens, 5.0)
    second = run(world.pipeline.writer_command("run", "--socket", world.work / "second.sock"), expect=(64, 74, 0), timeout=20)
    world.refused["the second writer"] += 1
    if second.returncode == 0:
        world.complain("a second writer took the spool")


@fault("second-loader", "a second loader on the same checkpoints", "the second one ends with 74: another loader has this checkpoint")
def _(world: World) -> None:
    time.sleep(0.3)
    second = run(world.pipeline.loader_command("run", "--once"), expect=(74, 0, 1), timeout=30)
    world.refused["the second loader"] += 1
    if second.returncode != 74:
        world.complain(f"a second loader took the checkpoints: {second.returncode}")


# Producers


@fault("ring-producer-killed", "kill -9 of a producer that publishes into rings", "its rings are drained and removed")
def _(world: World) -> None:
    for number in range(len(world.ring_current)):
        world.pause(0, 0.2)
        world.kill_ring_producer(number)


@fault("ring-producer-and-writer-killed", "kill -9 of a ring's producer and of the writer", RESTARTS)
def _(world: World) -> None:
    world.kill("writer")
    world.kill_ring_producer(world.random.randrange(len(world.ring_current)))
    world.pause(0, 0.2)
    world.revive()


@fault("ring-producer-closes", "a producer closes its rings", "they are drained and removed")
def _(world: World) -> None:
    world.kill_ring_producer(world.random.randrange(len(world.ring_current)), signal.SIGTERM)


@fault("ring-is-none", "files that are no rings lie in the rings' directory", "they are set aside as `.ring.bad`, the log says why")
def _(world: World) -> None:
    path = world.rings / f"evil-1-{world.random.getrandbits(64):016x}.ring"
    # Whole before it has its name: the writer sets it aside at once.
    hidden = path.with_suffix(".made")
    hidden.write_bytes(world.random.randbytes(world.random.choice((0, 100, 20_000))))
    hidden.chmod(0o660)
    hidden.rename(path)
    if not wait_until(lambda: not path.exists(), 10.0):
        world.complain(f"{path.name} is not set aside")
    world.refused["a false ring"] += 1


def connect(world: World) -> socket.socket:
    wait_until(world.pipeline.writer_listens, 10.0)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(world.pipeline.socket))
    return connection


@fault("half-a-line", "producers end in the middle of a line", "nothing; what is no whole line is not taken")
def _(world: World) -> None:
    for _ in range(20):
        with closing(connect(world)) as connection:
            connection.sendall(b'{"table":"orders","ts_intent":17673230450')
    world.refused["who ends within a line"] += 20


@fault("flood-of-bad-lines", "thousands of malformed lines from producers that do not listen", "each is refused; answers beyond 256 KiB are only counted")
def _(world: World) -> None:
    bad = (b'{"table":"orders","no_such_field":1}\n', b"\xff\xfe\x00\n", b"[1,2,3]\n", b'{"table":"nowhere"}\n', b"\n", b'{"table":"orders"' + b"[" * 400 + b"\n")
    sent = 0
    for _ in range(3):
        with closing(connect(world)) as connection:
            lines = [world.random.choice(bad) for _ in range(3_000)]
            sent += len(lines)
            connection.sendall(b"".join(lines))
    world.refused["who sends bad lines"] += sent


@fault("endless-line", "lines of several MiB", "they are refused: line of more than 1048576 bytes")
def _(world: World) -> None:
    with closing(connect(world)) as connection:
        connection.sendall(b"x" * (3 << 20) + b"\n")
    world.refused["who sends endless lines"] += 1


@fault("many-connections", "more connections than the writer takes, that say nothing", "`256 connections, the most that writer.connections allows`")
def _(world: World) -> None:
    held = []
    try:
        for _ in range(280):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(0.05)
            try:
                connection.connect(str(world.pipeline.socket))
                held.append(connection)
            except OSError:
                connection.close()
                break
        world.pause(0.1, 0.4)
    finally:
        for connection in held:
            connection.close()
