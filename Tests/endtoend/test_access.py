"""Who may send events, and how much of the writer one of them can take."""
from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MakePipeline
from pipeline import Pipeline, wait_until

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def as_user(user: int, work: Callable[[], bytes]) -> bytes:
    """What the work returns, done by a process of that user."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            os.write(write, work())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def greet(path: Path) -> bytes:
    """The writer's first answer, or how the connection ended."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError as error:
            return repr(error).encode()
        try:
            client.sendall(b'{"client":"x"}\n')
        except BrokenPipeError:
            # Refused and closed already; what the writer said of it can still be read.
            pass
        try:
            return client.recv(1000)
        except ConnectionResetError:
            # Closed with the line above unread, which is told once, before what the writer said.
            return client.recv(1000)


@pytest.fixture
def reachable(tmp_path: Path) -> None:
    """pytest's directories are root's alone; others must get as far as the socket."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)


def start(make_pipeline: MakePipeline, settings: str) -> Pipeline:
    pipeline: Pipeline = make_pipeline(settings=settings)
    pipeline.directory.chmod(0o755)
    pipeline.start_writer()
    return pipeline


@needs_root
def test_only_users_of_the_list_are_let_in(make_pipeline: MakePipeline, reachable: None) -> None:
    pipeline = start(make_pipeline, '[writer]\nsocket_users = ["daemon"]\n')
    pipeline.socket.chmod(0o777)
    assert b'"durable":0' in greet(pipeline.socket)
    assert b'"durable":0' in as_user(1, lambda: greet(pipeline.socket))
    refused = as_user(NOBODY, lambda: greet(pipeline.socket))
    assert f"user {NOBODY} may not connect: it is not among writer.socket_users" in json.loads(refused.splitlines()[0])["error"]
    for _ in range(20):
        as_user(NOBODY, lambda: greet(pipeline.socket))
    assert pipeline.writer.log.read_text().count("may not connect") == 1
    assert b'"durable":0' in greet(pipeline.socket)


@needs_root
def test_the_permissions_of_the_socket_keep_strangers_out_without_any_list(make_pipeline: MakePipeline, reachable: None) -> None:
    pipeline = start(make_pipeline, "")
    assert b"PermissionError" in as_user(NOBODY, lambda: greet(pipeline.socket))


def test_one_user_cannot_take_all_connections(make_pipeline: MakePipeline) -> None:
    pipeline = start(make_pipeline, "[writer]\nuser_connections = 3\n")
    held = []
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(pipeline.socket))
        held.append(client)
    assert wait_until(lambda: b"the most that writer.user_connections allows" in greet(pipeline.socket), 5)
    held.pop().close()
    assert wait_until(lambda: b'"durable":0' in greet(pipeline.socket), 5)


def test_a_list_with_a_user_that_is_none_is_told(make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline(settings='[writer]\nsocket_users = ["nosuchuser"]\n')
    pipeline.writer.start()
    assert wait_until(lambda: not pipeline.writer.is_alive, 5) and pipeline.writer.status == 64
    assert "writer.socket_users: there is no user nosuchuser" in pipeline.writer.log.read_text()


def test_spool_socket_and_checkpoints_are_nobody_elses(make_pipeline: MakePipeline, orders_file: Path) -> None:
    pipeline: Pipeline = make_pipeline()
    # As the units do; a recorder that is started by hand has the caller's umask.
    pipeline.writer.command = ["/bin/sh", "-c", 'umask 0007; exec "$@"', "sh", *map(str, pipeline.writer.command)]
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply")
    pipeline.start_writer()
    assert stat.S_IMODE(pipeline.socket.stat().st_mode) & 0o007 == 0
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o007 == 0 for path in [pipeline.spool, *pipeline.spool.rglob("*")])
