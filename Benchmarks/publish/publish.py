"""What publishing a row costs in Python: usage publish.py DIRECTORY ROUNDS. Run by run.py."""
import decimal
import json
import sys
import time

import bench_rows
import coldpath

ROWS = 50_000
IDS = [f"C-{i * 7919:018}" for i in range(1024)]
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
PRICE, QUANTITY = decimal.Decimal("61800.5"), decimal.Decimal("0.125")


def bench(take, price, quantity):
    """CPU of this thread for each call of `take` with a row's fields, in microseconds."""
    start = time.thread_time_ns()
    for i in range(ROWS):
        take(ts=1790000000000000000 + i, ts_local=1790000000000012345 + i, seq_no=i, order_id=i >> 1, price=price, qty=quantity, bid=61800.5,
             ask=61801.0, bid_size=1.5, ask_size=0.25, latency_ns=i & 4095, flags=i & 7, level=i & 3, kind="new", is_maker=True,
             symbol=SYMBOLS[i & 3], venue="BINANCE", strategy="maker-1", account="acc-main", client_id=IDS[i & 1023])
    return (time.thread_time_ns() - start) / ROWS / 1000


def publish(ring, price, quantity):
    start = time.thread_time_ns()
    for i in range(ROWS):
        bench_rows.bench_events(
            ring, ts=1790000000000000000 + i, ts_local=1790000000000012345 + i, seq_no=i, order_id=i >> 1, price=price, qty=quantity, bid=61800.5,
            ask=61801.0, bid_size=1.5, ask_size=0.25, latency_ns=i & 4095, flags=i & 7, level=i & 3, kind="new", is_maker=True,
            symbol=SYMBOLS[i & 3], venue="BINANCE", strategy="maker-1", account="acc-main", client_id=IDS[i & 1023])
    return (time.thread_time_ns() - start) / ROWS / 1000


def main(directory, rounds):
    figures = {"str": [], "Decimal": [], "json": [], "dict": []}
    with open(f"{directory}/rows.jsonl", "w") as file:
        for _ in range(rounds):
            for name, values in (("str", ("61800.50000000", "0.12500000")), ("Decimal", (PRICE, QUANTITY))):
                with coldpath.Ring(directory, producer="bench", tables=bench_rows.TABLES, data_bytes=16 << 20) as ring:
                    figures[name].append(publish(ring, *values))
            figures["json"].append(bench(lambda **row: file.write(json.dumps({"table": "bench_events", **row}) + "\n"), "61800.50000000", "0.12500000"))
            figures["dict"].append(bench(dict, "61800.50000000", "0.12500000"))
    least = {name: min(values) for name, values in figures.items()}
    print(f"python   publish {least['str']:.2f} µs/row (decimal.Decimal {least['Decimal']:.2f})   json.dumps + write {least['json']:.2f} µs/row   "
          f"ratio {least['str'] / least['json']:.2f}   a dict of the same fields alone {least['dict']:.2f}")


main(sys.argv[1], int(sys.argv[2]))
