"""What test_clients.py lets Python say to a ring: usage producer.py DIRECTORY MODE. Prints 0, 1 or 2 as publish of C would return it."""
import datetime
import decimal
import sys
import uuid

import coldpath
import every_type

ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
ZERO = uuid.UUID(int=0)
START = 1_790_000_000_000_000_000


def published(table, ring, **fields):
    try:
        table(ring, **fields)
    except coldpath.RingFull:
        return 1
    except (coldpath.RowTooLong, ValueError):
        return 2
    return 0


def types(ring):
    first = published(
        every_type.every_type, ring, flag=True, ts=1790000000123456789, i8=-128, i16=-32768, i32=-2 ** 31, i64=-2 ** 63, u8=255, u16=65535,
        u32=2 ** 32 - 1, u64=2 ** 64 - 1, f32=0.5, f64=-1e300, d32="-9999999.99", d64=decimal.Decimal("61800.5"),
        d128="9999999999999999999999999999.9999999999", day=datetime.date(2149, 6, 6), sec=1790000000, id=ID, code="EUR",
        text="C-000000000000000001", name="BTCUSDT", side="sell", kind="a b",
        n_flag=False, n_ts=datetime.datetime.fromtimestamp(1790000000, datetime.timezone(datetime.timedelta(hours=2))), n_i64=-7, n_u8=7, n_f64=7.5,
        n_d32=7, n_d128=decimal.Decimal("-7.7"), n_day=datetime.date(1970, 1, 8), n_id=str(ID), n_code=b"US", n_text="seven", n_name="SEVEN",
        n_side="buy",
        a_flag=[True, False, True], a_ts=[START, START + 1], a_i16=(-1, 0, 32767), a_u64=[0, 2 ** 64 - 1], a_f32=[0.5, -2], a_f64=[1e-300, 2.5, 3],
        a_d64=["1E-8", -1], a_d128=[decimal.Decimal("1E-10"), "-1.00000000000000"], a_day=[datetime.date(1970, 1, 1), datetime.date(2024, 2, 29)],
        a_id=[ID, ZERO], a_text=["one", "", "zwei €"], a_side=["sell", "buy"],
        o_zero=1, o_flag=False, o_i32=0, o_u64=0, o_f64=0.0, o_d128=0, o_ts=START, o_day=datetime.date(1970, 1, 2), o_id=ZERO, o_code="", o_side="buy",
        o_text="", o_empty="e", o_name="", o_nothing="n", n_o_f64=None, n_o_name="x", row=3, from_=7, class_="c", switch=9)
    second = published(
        every_type.every_type, ring, flag=False, ts=START, i8=0, i16=0, i32=0, i64=0, u8=0, u16=0, u32=0, u64=0, f32=0, f64=0, d32=0, d64="0",
        d128="0.0", day=datetime.date(1970, 1, 1), sec=datetime.datetime.fromtimestamp(1790000000, datetime.timezone.utc), id=ZERO, code=b"", text="", name="",
        side="buy", kind="")
    print(first, second)


def tick(ring, number, symbol, note):
    return published(every_type.ticks, ring, ts=START + number, symbol=symbol, number=number, note=note)


def notes(ring):
    for i in range(70):
        print(tick(ring, i, "A", ("abcdefghijklmnopqrstuvwxyz" * 3)[:i]), end=" ")


def names(ring):
    for _ in range(2):
        for i in range(12):
            print(tick(ring, i, f"SYMBOL-{i:02}", "n"), end=" ")


def full(ring):
    number = 0
    for _ in range(4):
        while (code := tick(ring, number, "A", "a note of some length")) == 0:
            number += 1
        print(number, code, flush=True)
        if not sys.stdin.readline():
            break


def too_long(ring):
    most = 65536 // 4 - 8 - 28
    print(tick(ring, 0, "A", "x" * most), tick(ring, 1, "A", "x" * (most + 1)), tick(ring, 2, "A", "x" * 20000),
          tick(ring, 3, "A", "x" * 5_000_000))


mode = sys.argv[2]
with coldpath.Ring(sys.argv[1], producer="python", tables=every_type.TABLES, data_bytes=65536 if mode in ("full", "long") else 1 << 20,
                   name_bytes=64 if mode == "names" else 65536) as ring:
    {"types": types, "notes": notes, "names": names, "full": full, "long": too_long}[mode](ring)
