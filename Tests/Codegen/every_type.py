"""Made by `spool-writer codegen`. Do not edit: change the schemas and make it anew.

table every_type: 0001_every_type.sql, fingerprint d4a5ae9d8a14b20c
table ticks: 0002_ticks.sql, 0003_ticks_note.sql, fingerprint c9c339c4a26f3f95
"""
# fmt: off
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import coldpath

if TYPE_CHECKING:
    class _EveryType(coldpath.Table):
        def __call__(  # type: ignore[override]
            self, ring: coldpath.Ring, *,
            flag: bool,
            ts: coldpath.Time,
            i8: int,
            i16: int,
            i32: int,
            i64: int,
            u8: int,
            u16: int,
            u32: int,
            u64: int,
            f32: float,
            f64: float,
            d32: coldpath.Decimal,
            d64: coldpath.Decimal,
            d128: coldpath.Decimal,
            day: coldpath.Date,
            sec: coldpath.Seconds,
            id: coldpath.UUID,
            code: str | bytes,
            text: str,
            name: str,
            side: Literal["buy", "sell"],
            kind: Literal["a b", "it's", "", "default", "2d"],
            n_flag: bool | None = ...,
            n_ts: coldpath.Time | None = ...,
            n_i64: int | None = ...,
            n_u8: int | None = ...,
            n_f64: float | None = ...,
            n_d32: coldpath.Decimal | None = ...,
            n_d128: coldpath.Decimal | None = ...,
            n_day: coldpath.Date | None = ...,
            n_id: coldpath.UUID | None = ...,
            n_code: str | bytes | None = ...,
            n_text: str | None = ...,
            n_name: str | None = ...,
            n_side: Literal["buy", "sell"] | None = ...,
            a_flag: Sequence[bool] = ...,
            a_ts: Sequence[coldpath.Time] = ...,
            a_i16: Sequence[int] = ...,
            a_u64: Sequence[int] = ...,
            a_f32: Sequence[float] = ...,
            a_f64: Sequence[float] = ...,
            a_d64: Sequence[coldpath.Decimal] = ...,
            a_d128: Sequence[coldpath.Decimal] = ...,
            a_day: Sequence[coldpath.Date] = ...,
            a_id: Sequence[coldpath.UUID] = ...,
            a_text: Sequence[str] = ...,
            a_side: Sequence[Literal["buy", "sell"]] = ...,
            o_zero: int = ...,
            o_flag: bool = ...,
            o_i32: int = ...,
            o_u64: int = ...,
            o_f64: float = ...,
            o_d128: coldpath.Decimal = ...,
            o_ts: coldpath.Time = ...,
            o_day: coldpath.Date = ...,
            o_id: coldpath.UUID = ...,
            o_code: str | bytes = ...,
            o_side: Literal["buy", "sell"] = ...,
            o_text: str = ...,
            o_empty: str = ...,
            o_name: str = ...,
            o_nothing: str = ...,
            n_o_f64: float | None = ...,
            n_o_name: str | None = ...,
            row: int = ...,
            from_: int = ...,
            class_: str = ...,
            switch: int = ...,
        ) -> int:
            """Publishes a row of every_type; returns the position behind it."""
            ...

every_type = cast("_EveryType", coldpath.table(
    "every_type", fingerprint=0xd4a5ae9d8a14b20c, row_bytes=426, columns=[
        coldpath.Column("flag", "Bool", 0, 390),
        coldpath.Column("ts", "DateTime64(9, 'UTC')", 0, 96),
        coldpath.Column("i8", "Int8", 0, 391),
        coldpath.Column("i16", "Int16", 0, 376),
        coldpath.Column("i32", "Int32", 0, 328),
        coldpath.Column("i64", "Int64", 0, 104),
        coldpath.Column("u8", "UInt8", 0, 392),
        coldpath.Column("u16", "UInt16", 0, 378),
        coldpath.Column("u32", "UInt32", 0, 332),
        coldpath.Column("u64", "UInt64", 0, 112),
        coldpath.Column("f32", "Float32", 0, 336),
        coldpath.Column("f64", "Float64", 0, 120),
        coldpath.Column("d32", "Decimal(9, 2)", 0, 340),
        coldpath.Column("d64", "Decimal(18, 8)", 0, 128),
        coldpath.Column("d128", "Decimal(38, 10)", 0, 0),
        coldpath.Column("day", "Date", 0, 380),
        coldpath.Column("sec", "DateTime('UTC')", 0, 344),
        coldpath.Column("id", "UUID", 0, 16),
        coldpath.Column("code", "FixedString(3)", 0, 402),
        coldpath.Column("text", "String", 1, 136),
        coldpath.Column("name", "String", 2, 348),
        coldpath.Column("side", "Enum8('buy' = 1, 'sell' = 2)", 0, 393),
        coldpath.Column("kind", "Enum16('a b' = -300, 'it\\'s' = 1000, '' = 2, 'default' = 3, '2d' = 4)", 0, 382),
        coldpath.Column("n_flag", "Nullable(Bool)", 0, 394, null_offset=411),
        coldpath.Column("n_ts", "Nullable(DateTime64(9, 'UTC'))", 0, 144, null_offset=412),
        coldpath.Column("n_i64", "Nullable(Int64)", 0, 152, null_offset=413),
        coldpath.Column("n_u8", "Nullable(UInt8)", 0, 395, null_offset=414),
        coldpath.Column("n_f64", "Nullable(Float64)", 0, 160, null_offset=415),
        coldpath.Column("n_d32", "Nullable(Decimal(9, 2))", 0, 352, null_offset=416),
        coldpath.Column("n_d128", "Nullable(Decimal(38, 10))", 0, 32, null_offset=417),
        coldpath.Column("n_day", "Nullable(Date)", 0, 384, null_offset=418),
        coldpath.Column("n_id", "Nullable(UUID)", 0, 48, null_offset=419),
        coldpath.Column("n_code", "Nullable(FixedString(3))", 0, 405, null_offset=420),
        coldpath.Column("n_text", "Nullable(String)", 1, 168, null_offset=421),
        coldpath.Column("n_name", "Nullable(String)", 2, 356, null_offset=422),
        coldpath.Column("n_side", "Nullable(Enum8('buy' = 1, 'sell' = 2))", 0, 396, null_offset=423),
        coldpath.Column("a_flag", "Array(Bool)", 3, 176),
        coldpath.Column("a_ts", "Array(DateTime64(9, 'UTC'))", 3, 184),
        coldpath.Column("a_i16", "Array(Int16)", 3, 192),
        coldpath.Column("a_u64", "Array(UInt64)", 3, 200),
        coldpath.Column("a_f32", "Array(Float32)", 3, 208),
        coldpath.Column("a_f64", "Array(Float64)", 3, 216),
        coldpath.Column("a_d64", "Array(Decimal(18, 8))", 3, 224),
        coldpath.Column("a_d128", "Array(Decimal(38, 10))", 3, 232),
        coldpath.Column("a_day", "Array(Date)", 3, 240),
        coldpath.Column("a_id", "Array(UUID)", 3, 248),
        coldpath.Column("a_text", "Array(String)", 3, 256),
        coldpath.Column("a_side", "Array(Enum8('buy' = 1, 'sell' = 2))", 3, 264),
        coldpath.Column("o_zero", "UInt8", 0, 397, default=b"\x00"),
        coldpath.Column("o_flag", "Bool", 0, 398, default=b"\x01"),
        coldpath.Column("o_i32", "Int32", 0, 360, default=b"\xfb\xff\xff\xff"),
        coldpath.Column("o_u64", "UInt64", 0, 272, default=b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        coldpath.Column("o_f64", "Float64", 0, 280, default=b"\x00\x00\x00\x00\x00\x00\xf8\x3f"),
        coldpath.Column("o_d128", "Decimal(38, 10)", 0, 64, default=b"\x00\x46\xe2\x2d\xfa\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        coldpath.Column("o_ts", "DateTime64(9, 'UTC')", 0, 288, default=b"\x01\x80\x41\xc7\x9e\x53\xb8\x17"),
        coldpath.Column("o_day", "Date", 0, 386, default=b"\x46\x4d"),
        coldpath.Column("o_id", "UUID", 0, 80, default=b"\x77\x66\x55\x44\x33\x22\x11\x00\xff\xee\xdd\xcc\xbb\xaa\x99\x88"),
        coldpath.Column("o_code", "FixedString(3)", 0, 408, default=b"\x45\x55\x00"),
        coldpath.Column("o_side", "Enum8('buy' = 1, 'sell' = 2)", 0, 399, default=b"\x02"),
        coldpath.Column("o_text", "String", 1, 296, default="none \"or\" \\ ??/"),
        coldpath.Column("o_empty", "String", 1, 304, default=""),
        coldpath.Column("o_name", "String", 2, 364, default="spot"),
        coldpath.Column("o_nothing", "String", 2, 368, default=""),
        coldpath.Column("n_o_f64", "Nullable(Float64)", 0, 312, null_offset=424, default=b"\x00\x00\x00\x00\x00\x00\x04\x40"),
        coldpath.Column("n_o_name", "Nullable(String)", 2, 372, null_offset=425, default="d"),
        coldpath.Column("row", "UInt8", 0, 400, default=b"\x00"),
        coldpath.Column("from", "UInt8", 0, 401, default=b"\x00", keyword="from_"),
        coldpath.Column("class", "String", 1, 320, default="", keyword="class_"),
        coldpath.Column("switch", "UInt16", 0, 388, default=b"\x00\x00"),
    ]))

if TYPE_CHECKING:
    class _Ticks(coldpath.Table):
        def __call__(  # type: ignore[override]
            self, ring: coldpath.Ring, *,
            ts: coldpath.Time,
            symbol: str,
            number: int,
            note: str,
            venue: str = ...,
        ) -> int:
            """Publishes a row of ticks; returns the position behind it."""
            ...

ticks = cast("_Ticks", coldpath.table(
    "ticks", fingerprint=0xc9c339c4a26f3f95, row_bytes=28, columns=[
        coldpath.Column("ts", "DateTime64(9, 'UTC')", 0, 0),
        coldpath.Column("symbol", "String", 2, 16),
        coldpath.Column("number", "UInt32", 0, 20),
        coldpath.Column("note", "String", 1, 8),
        coldpath.Column("venue", "String", 2, 24, default="XNAS"),
    ]))

TABLES: list[coldpath.Table] = [
    every_type,
    ticks,
]
