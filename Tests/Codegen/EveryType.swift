// Made by `spool-writer codegen`. Do not edit: change the schemas and make it anew.
//
// table every_type: 0001_every_type.sql, fingerprint 0d46f59ae9bde98c
// table ticks: 0002_ticks.sql, 0003_ticks_note.sql, fingerprint c9c339c4a26f3f95
//
// swift-format-ignore-file
import SpoolClient

/// A row of `every_type`.
struct EveryType: RingRow, Sendable {
    enum Side: Int8, EnumValue {
        case buy = 1
        case sell = 2
    }

    enum Kind: Int16, EnumValue {
        case aB = -300
        case itS = 1000
        case value2 = 2
        case default_ = 3
        case _2d = 4
    }

    enum NSide: Int8, EnumValue {
        case buy = 1
        case sell = 2
    }

    enum ASide: Int8, EnumValue {
        case buy = 1
        case sell = 2
    }

    enum OSide: Int8, EnumValue {
        case buy = 1
        case sell = 2
    }

    /// `flag` Bool
    var flag: Bool
    /// `ts` DateTime64(9, 'UTC')
    var ts: Time
    /// `i8` Int8
    var i8: Int8
    /// `i16` Int16
    var i16: Int16
    /// `i32` Int32
    var i32: Int32
    /// `i64` Int64
    var i64: Int64
    /// `u8` UInt8
    var u8: UInt8
    /// `u16` UInt16
    var u16: UInt16
    /// `u32` UInt32
    var u32: UInt32
    /// `u64` UInt64
    var u64: UInt64
    /// `f32` Float32
    var f32: Float
    /// `f64` Float64
    var f64: Double
    /// `d32` Decimal(9, 2)
    var d32: Decimal32<Scale2>
    /// `d64` Decimal(18, 8)
    var d64: Decimal64<Scale8>
    /// `d128` Decimal(38, 10)
    var d128: Decimal128<Scale10>
    /// `day` Date
    var day: Day
    /// `sec` DateTime('UTC')
    var sec: Seconds
    /// `id` UUID
    var id: UUIDBits
    /// `code` FixedString(3)
    var code: Text
    /// `text` String
    var text: Text
    /// `name` LowCardinality(String)
    var name: Name
    /// `side`
    var side: Side
    /// `kind`
    var kind: Kind
    /// `n_flag` Nullable(Bool)
    var nFlag: Bool? = nil
    /// `n_ts` Nullable(DateTime64(9, 'UTC'))
    var nTs: Time? = nil
    /// `n_i64` Nullable(Int64)
    var nI64: Int64? = nil
    /// `n_u8` Nullable(UInt8)
    var nU8: UInt8? = nil
    /// `n_f64` Nullable(Float64)
    var nF64: Double? = nil
    /// `n_d32` Nullable(Decimal(9, 2))
    var nD32: Decimal32<Scale2>? = nil
    /// `n_d128` Nullable(Decimal(38, 10))
    var nD128: Decimal128<Scale10>? = nil
    /// `n_day` Nullable(Date)
    var nDay: Day? = nil
    /// `n_id` Nullable(UUID)
    var nId: UUIDBits? = nil
    /// `n_code` Nullable(FixedString(3))
    var nCode: Text? = nil
    /// `n_text` Nullable(String)
    var nText: Text? = nil
    /// `n_name` LowCardinality(Nullable(String))
    var nName: Name? = nil
    /// `n_side`
    var nSide: NSide? = nil
    /// `a_flag` Array(Bool)
    var aFlag: [Bool] = []
    /// `a_ts` Array(DateTime64(9, 'UTC'))
    var aTs: [Time] = []
    /// `a_i16` Array(Int16)
    var aI16: [Int16] = []
    /// `a_u64` Array(UInt64)
    var aU64: [UInt64] = []
    /// `a_f32` Array(Float32)
    var aF32: [Float] = []
    /// `a_f64` Array(Float64)
    var aF64: [Double] = []
    /// `a_d64` Array(Decimal(18, 8))
    var aD64: [Decimal64<Scale8>] = []
    /// `a_d128` Array(Decimal(38, 10))
    var aD128: [Decimal128<Scale10>] = []
    /// `a_day` Array(Date)
    var aDay: [Day] = []
    /// `a_id` Array(UUID)
    var aId: [UUIDBits] = []
    /// `a_text` Array(String)
    var aText: [String] = []
    /// `a_side`
    var aSide: [ASide] = []
    /// `o_zero` UInt8
    var oZero: UInt8 = 0
    /// `o_flag` Bool
    var oFlag: Bool = true
    /// `o_i32` Int32
    var oI32: Int32 = -5
    /// `o_u64` UInt64
    var oU64: UInt64 = 18446744073709551615
    /// `o_f64` Float64
    var oF64: Double = 1.5
    /// `o_d128` Decimal(38, 10)
    var oD128: Decimal128<Scale10> = Decimal128<Scale10>(units: -25000000000)
    /// `o_ts` DateTime64(9, 'UTC')
    var oTs: Time = Time(nanoseconds: 1709208000000000001)
    /// `o_day` Date
    var oDay: Day = Day(19782)
    /// `o_id` UUID
    var oId: UUIDBits = UUIDBits(high: 0x0011223344556677, low: 0x8899aabbccddeeff)
    /// `o_code` FixedString(3)
    var oCode: Text = "EU"
    /// `o_side`
    var oSide: OSide = .sell
    /// `o_text` String
    var oText: Text = "none \"or\" \\ ??/"
    /// `o_empty` String
    var oEmpty: Text = ""
    /// `o_name` LowCardinality(String)
    var oName: Name = "spot"
    /// `o_nothing` LowCardinality(String)
    var oNothing: Name = ""
    /// `from` UInt8
    var from: UInt8 = 0
    /// `class` String
    var class_: Text = ""
    /// `switch` UInt16
    var switch_: UInt16 = 0

    static let table = TableDeclaration(
        "every_type", fingerprint: 0x0d46f59ae9bde98c, rowBytes: 411,
        columns: [
            ColumnDeclaration("flag", "Bool", .fixed, 378),
            ColumnDeclaration("ts", "DateTime64(9, 'UTC')", .fixed, 96),
            ColumnDeclaration("i8", "Int8", .fixed, 379),
            ColumnDeclaration("i16", "Int16", .fixed, 364),
            ColumnDeclaration("i32", "Int32", .fixed, 320),
            ColumnDeclaration("i64", "Int64", .fixed, 104),
            ColumnDeclaration("u8", "UInt8", .fixed, 380),
            ColumnDeclaration("u16", "UInt16", .fixed, 366),
            ColumnDeclaration("u32", "UInt32", .fixed, 324),
            ColumnDeclaration("u64", "UInt64", .fixed, 112),
            ColumnDeclaration("f32", "Float32", .fixed, 328),
            ColumnDeclaration("f64", "Float64", .fixed, 120),
            ColumnDeclaration("d32", "Decimal(9, 2)", .fixed, 332),
            ColumnDeclaration("d64", "Decimal(18, 8)", .fixed, 128),
            ColumnDeclaration("d128", "Decimal(38, 10)", .fixed, 0),
            ColumnDeclaration("day", "Date", .fixed, 368),
            ColumnDeclaration("sec", "DateTime('UTC')", .fixed, 336),
            ColumnDeclaration("id", "UUID", .fixed, 16),
            ColumnDeclaration("code", "FixedString(3)", .fixed, 389),
            ColumnDeclaration("text", "String", .string, 136),
            ColumnDeclaration("name", "String", .name, 340),
            ColumnDeclaration("side", "Enum8('buy' = 1, 'sell' = 2)", .fixed, 381),
            ColumnDeclaration("kind", "Enum16('a b' = -300, 'it\\'s' = 1000, '' = 2, 'default' = 3, '2d' = 4)", .fixed, 370),
            ColumnDeclaration("n_flag", "Nullable(Bool)", .fixed, 382, null: 398),
            ColumnDeclaration("n_ts", "Nullable(DateTime64(9, 'UTC'))", .fixed, 144, null: 399),
            ColumnDeclaration("n_i64", "Nullable(Int64)", .fixed, 152, null: 400),
            ColumnDeclaration("n_u8", "Nullable(UInt8)", .fixed, 383, null: 401),
            ColumnDeclaration("n_f64", "Nullable(Float64)", .fixed, 160, null: 402),
            ColumnDeclaration("n_d32", "Nullable(Decimal(9, 2))", .fixed, 344, null: 403),
            ColumnDeclaration("n_d128", "Nullable(Decimal(38, 10))", .fixed, 32, null: 404),
            ColumnDeclaration("n_day", "Nullable(Date)", .fixed, 372, null: 405),
            ColumnDeclaration("n_id", "Nullable(UUID)", .fixed, 48, null: 406),
            ColumnDeclaration("n_code", "Nullable(FixedString(3))", .fixed, 392, null: 407),
            ColumnDeclaration("n_text", "Nullable(String)", .string, 168, null: 408),
            ColumnDeclaration("n_name", "Nullable(String)", .name, 348, null: 409),
            ColumnDeclaration("n_side", "Nullable(Enum8('buy' = 1, 'sell' = 2))", .fixed, 384, null: 410),
            ColumnDeclaration("a_flag", "Array(Bool)", .array, 176),
            ColumnDeclaration("a_ts", "Array(DateTime64(9, 'UTC'))", .array, 184),
            ColumnDeclaration("a_i16", "Array(Int16)", .array, 192),
            ColumnDeclaration("a_u64", "Array(UInt64)", .array, 200),
            ColumnDeclaration("a_f32", "Array(Float32)", .array, 208),
            ColumnDeclaration("a_f64", "Array(Float64)", .array, 216),
            ColumnDeclaration("a_d64", "Array(Decimal(18, 8))", .array, 224),
            ColumnDeclaration("a_d128", "Array(Decimal(38, 10))", .array, 232),
            ColumnDeclaration("a_day", "Array(Date)", .array, 240),
            ColumnDeclaration("a_id", "Array(UUID)", .array, 248),
            ColumnDeclaration("a_text", "Array(String)", .array, 256),
            ColumnDeclaration("a_side", "Array(Enum8('buy' = 1, 'sell' = 2))", .array, 264),
            ColumnDeclaration("o_zero", "UInt8", .fixed, 385),
            ColumnDeclaration("o_flag", "Bool", .fixed, 386),
            ColumnDeclaration("o_i32", "Int32", .fixed, 352),
            ColumnDeclaration("o_u64", "UInt64", .fixed, 272),
            ColumnDeclaration("o_f64", "Float64", .fixed, 280),
            ColumnDeclaration("o_d128", "Decimal(38, 10)", .fixed, 64),
            ColumnDeclaration("o_ts", "DateTime64(9, 'UTC')", .fixed, 288),
            ColumnDeclaration("o_day", "Date", .fixed, 374),
            ColumnDeclaration("o_id", "UUID", .fixed, 80),
            ColumnDeclaration("o_code", "FixedString(3)", .fixed, 395),
            ColumnDeclaration("o_side", "Enum8('buy' = 1, 'sell' = 2)", .fixed, 387),
            ColumnDeclaration("o_text", "String", .string, 296),
            ColumnDeclaration("o_empty", "String", .string, 304),
            ColumnDeclaration("o_name", "String", .name, 356),
            ColumnDeclaration("o_nothing", "String", .name, 360),
            ColumnDeclaration("from", "UInt8", .fixed, 388),
            ColumnDeclaration("class", "String", .string, 312),
            ColumnDeclaration("switch", "UInt16", .fixed, 376),
        ])

    @inline(__always) @discardableResult
    func publish(to ring: borrowing Ring) -> Publication {
        var row = RowWriter(ring, key: 0xf2e186eb2eeacfe6, rowBytes: 411)
        row.check(code, fits: 3)
        row.reserve(text)
        let nameID = row.id(of: name)
        row.check(nCode, fits: 3)
        row.reserve(nText)
        let nNameID = row.id(of: nName)
        row.reserve(aFlag)
        row.reserve(aTs)
        row.reserve(aI16)
        row.reserve(aU64)
        row.reserve(aF32)
        row.reserve(aF64)
        row.reserve(aD64)
        row.reserve(aD128)
        row.reserve(aDay)
        row.reserve(aId)
        row.reserve(aText)
        row.reserve(aSide)
        row.check(oCode, fits: 3)
        row.reserve(oText)
        row.reserve(oEmpty)
        let oNameID = row.id(of: oName)
        let oNothingID = row.id(of: oNothing)
        row.reserve(class_)
        guard row.claim() else { return row.refusal() }
        row.put(d128, at: 0)
        row.put(id, at: 16)
        row.put(nD128, at: 32, null: 404)
        row.put(nId, at: 48, null: 406)
        row.put(oD128, at: 64)
        row.put(oId, at: 80)
        row.put(ts, at: 96)
        row.put(i64, at: 104)
        row.put(u64, at: 112)
        row.put(f64, at: 120)
        row.put(d64, at: 128)
        row.put(text, at: 136)
        row.put(nTs, at: 144, null: 399)
        row.put(nI64, at: 152, null: 400)
        row.put(nF64, at: 160, null: 402)
        row.put(nText, at: 168, null: 408)
        row.put(aFlag, at: 176)
        row.put(aTs, at: 184)
        row.put(aI16, at: 192)
        row.put(aU64, at: 200)
        row.put(aF32, at: 208)
        row.put(aF64, at: 216)
        row.put(aD64, at: 224)
        row.put(aD128, at: 232)
        row.put(aDay, at: 240)
        row.put(aId, at: 248)
        row.put(aText, at: 256)
        row.put(aSide, at: 264)
        row.put(oU64, at: 272)
        row.put(oF64, at: 280)
        row.put(oTs, at: 288)
        row.put(oText, at: 296)
        row.put(oEmpty, at: 304)
        row.put(class_, at: 312)
        row.put(i32, at: 320)
        row.put(u32, at: 324)
        row.put(f32, at: 328)
        row.put(d32, at: 332)
        row.put(sec, at: 336)
        row.put(name, id: nameID, at: 340)
        row.put(nD32, at: 344, null: 403)
        row.put(nName, id: nNameID, at: 348, null: 409)
        row.put(oI32, at: 352)
        row.put(oName, id: oNameID, at: 356)
        row.put(oNothing, id: oNothingID, at: 360)
        row.put(i16, at: 364)
        row.put(u16, at: 366)
        row.put(day, at: 368)
        row.put(kind, at: 370)
        row.put(nDay, at: 372, null: 405)
        row.put(oDay, at: 374)
        row.put(switch_, at: 376)
        row.put(flag, at: 378)
        row.put(i8, at: 379)
        row.put(u8, at: 380)
        row.put(side, at: 381)
        row.put(nFlag, at: 382, null: 398)
        row.put(nU8, at: 383, null: 401)
        row.put(nSide, at: 384, null: 410)
        row.put(oZero, at: 385)
        row.put(oFlag, at: 386)
        row.put(oSide, at: 387)
        row.put(from, at: 388)
        row.put(code, at: 389, width: 3)
        row.put(nCode, at: 392, width: 3, null: 407)
        row.put(oCode, at: 395, width: 3)
        return row.commit()
    }
}

/// A row of `ticks`.
struct Ticks: RingRow, Sendable {
    /// `ts` DateTime64(9, 'UTC')
    var ts: Time
    /// `symbol` LowCardinality(String)
    var symbol: Name
    /// `number` UInt32
    var number: UInt32
    /// `note` String
    var note: Text
    /// `venue` LowCardinality(String)
    var venue: Name = "XNAS"

    static let table = TableDeclaration(
        "ticks", fingerprint: 0xc9c339c4a26f3f95, rowBytes: 28,
        columns: [
            ColumnDeclaration("ts", "DateTime64(9, 'UTC')", .fixed, 0),
            ColumnDeclaration("symbol", "String", .name, 16),
            ColumnDeclaration("number", "UInt32", .fixed, 20),
            ColumnDeclaration("note", "String", .string, 8),
            ColumnDeclaration("venue", "String", .name, 24),
        ])

    @inline(__always) @discardableResult
    func publish(to ring: borrowing Ring) -> Publication {
        var row = RowWriter(ring, key: 0x5206b2475a057075, rowBytes: 28)
        let symbolID = row.id(of: symbol)
        row.reserve(note)
        let venueID = row.id(of: venue)
        guard row.claim() else { return row.refusal() }
        row.put(ts, at: 0)
        row.put(note, at: 8)
        row.put(symbol, id: symbolID, at: 16)
        row.put(number, at: 20)
        row.put(venue, id: venueID, at: 24)
        return row.commit()
    }
}

/// All tables of this file, for `Ring(directory:producer:tables:)`.
enum ColdpathTables {
    static let all: [TableDeclaration] = [
        EveryType.table,
        Ticks.table,
    ]
}
