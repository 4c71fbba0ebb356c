"""A million rows from an asyncio loop into a ring that the real writer drains, and the same rows as json.dumps and a line in a file, which is
what trading systems in Python do today. By turns, in one process; run by bench.py.

usage: publish_python.py RINGS FILE ROWS ROUNDS
"""
import asyncio
import json
import statistics
import sys
import time

import bench_rows
import coldpath

IDS = [f"C5F0C9A3E-{i:010}" for i in range(1024)]
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
TURN = 500
"""Rows between two chances for other tasks."""


def fields(i: int, start: int) -> dict:
    return {"ts": start + i * 40_000, "ts_local": start + i * 40_000 + 12_345, "seq_no": i, "order_id": i >> 1, "price": "61800.5",
            "qty": "0.125", "bid": 61800.5, "ask": 61801.0, "bid_size": 1.5, "ask_size": 0.25, "latency_ns": i & 4095, "flags": i & 7,
            "level": i & 3, "kind": "new", "is_maker": True, "symbol": SYMBOLS[i & 3], "venue": "BNCE", "strategy": "mm1", "account": "a-01",
            "client_id": IDS[i & 1023]}


async def heartbeat(late: list[float]) -> None:
    """How long another task of the loop waits beyond the millisecond that it asked for."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - before - 0.001)


async def to_ring(ring: coldpath.Ring, rows: int, start: int) -> tuple[float, int]:
    """CPU seconds of this thread, and how often the ring was full."""
    began, full = time.thread_time(), 0
    publish = bench_rows.bench_events
    for first in range(0, rows, TURN):
        for i in range(first, min(first + TURN, rows)):
            while True:
                try:
                    publish(ring, ts=start + i * 40_000, ts_local=start + i * 40_000 + 12_345, seq_no=i, order_id=i >> 1, price="61800.5",
                            qty="0.125", bid=61800.5, ask=61801.0, bid_size=1.5, ask_size=0.25, latency_ns=i & 4095, flags=i & 7,
                            level=i & 3, kind="new", is_maker=True, symbol=SYMBOLS[i & 3], venue="BNCE", strategy="mm1", account="a-01",
                            client_id=IDS[i & 1023])
                    break
                except coldpath.RingFull:
                    full += 1
                    await asyncio.sleep(0.001)
        await asyncio.sleep(0)
    spent = time.thread_time() - began
    if not await ring.durable(timeout=60):
        sys.exit("not durable within a minute")
    return spent, full


async def to_file(path: str, rows: int, start: int) -> float:
    began = time.thread_time()
    with open(path, "w") as file:
        for first in range(0, rows, TURN):
            for i in range(first, min(first + TURN, rows)):
                file.write(json.dumps(fields(i, start)) + "\n")
            await asyncio.sleep(0)
    return time.thread_time() - began


async def main(rings: str, path: str, rows: int, rounds: int) -> None:
    start = time.time_ns() // 86_400_000_000_000 * 86_400_000_000_000
    ring_us, file_us, late, full, refused = [], [], [], 0, 0
    for _ in range(rounds):
        with coldpath.Ring(rings, producer="publish-python", tables=bench_rows.TABLES) as ring:
            ring.wait_attached(timeout=10)
            beat = asyncio.create_task(heartbeat(late))
            spent, misses = await to_ring(ring, rows, start)
            beat.cancel()
            full += misses
            refused += ring.refused_rows
        ring_us.append(spent / rows * 1e6)
        share = max(1, rows // 10)
        file_us.append(await to_file(path, share, start) / share * 1e6)
    late.sort()
    print(json.dumps({"rows": rows, "ring_us": statistics.median(ring_us), "json_file_us": statistics.median(file_us),
                      "loop_late_p99_ms": late[int(len(late) * 0.99)] * 1000, "full": full, "refused": refused}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
