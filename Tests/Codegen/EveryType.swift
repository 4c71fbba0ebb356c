// Made by `spool-writer codegen`. Do not edit: change the schemas and make it anew.
//
// table every_type: 0001_every_type.sql, fingerprint d4a5ae9d8a14b20c
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
    /// `n_o_f64` Nullable(Float64)
    var nOF64: Double? = 2.5
    /// `n_o_name` LowCardinality(Nullable(String))
    var nOName: Name? = "d"
    /// `row` UInt8
    var row: UInt8 = 0
    /// `from` UInt8
    var from: UInt8 = 0
    /// `class` String
    var class_: Text = ""
    /// `switch` UInt16
    var switch_: UInt16 = 0

    static let table = TableDeclaration(
        "every_type", fingerprint: 0xd4a5ae9d8a14b20c, rowBytes: 426,
        columns: [
            ColumnDeclaration("flag", "Bool", .fixed, 390),
            ColumnDeclaration("ts", "DateTime64(9, 'UTC')", .fixed, 96),
            ColumnDeclaration("i8", "Int8", .fixed, 391),
            ColumnDeclaration("i16", "Int16", .fixed, 376),
            ColumnDeclaration("i32", "Int32", .fixed, 328),
            ColumnDeclaration("i64", "Int64", .fixed, 104),
            ColumnDeclaration("u8", "UInt8", .fixed, 392),
            ColumnDeclaration("u16", "UInt16", .fixed, 378),
            ColumnDeclaration("u32", "UInt32", .fixed, 332),
            ColumnDeclaration("u64", "UInt64", .fixed, 112),
            ColumnDeclaration("f32", "Float32", .fixed, 336),
            ColumnDeclaration("f64", "Float64", .fixed, 120),
            ColumnDeclaration("d32", "Decimal(9, 2)", .fixed, 340),
            ColumnDeclaration("d64", "Decimal(18, 8)", .fixed, 128),
            ColumnDeclaration("d128", "Decimal(38, 10)", .fixed, 0),
            ColumnDeclaration("day", "Date", .fixed, 380),
            ColumnDeclaration("sec", "DateTime('UTC')", .fixed, 344),
            ColumnDeclaration("id", "UUID", .fixed, 16),
            ColumnDeclaration("code", "FixedString(3)", .fixed, 402),
            ColumnDeclaration("text", "String", .string, 136),
            ColumnDeclaration("name", "String", .name, 348),
            ColumnDeclaration("side", "Enum8('buy' = 1, 'sell' = 2)", .fixed, 393),
            ColumnDeclaration("kind", "Enum16('a b' = -300, 'it\\'s' = 1000, '' = 2, 'default' = 3, '2d' = 4)", .fixed, 382),
            ColumnDeclaration("n_flag", "Nullable(Bool)", .fixed, 394, null: 411),
            ColumnDeclaration("n_ts", "Nullable(DateTime64(9, 'UTC'))", .fixed, 144, null: 412),
            ColumnDeclaration("n_i64", "Nullable(Int64)", .fixed, 152, null: 413),
            ColumnDeclaration("n_u8", "Nullable(UInt8)", .fixed, 395, null: 414),
            ColumnDeclaration("n_f64", "Nullable(Float64)", .fixed, 160, null: 415),
            ColumnDeclaration("n_d32", "Nullable(Decimal(9, 2))", .fixed, 352, null: 416),
            ColumnDeclaration("n_d128", "Nullable(Decimal(38, 10))", .fixed, 32, null: 417),
            ColumnDeclaration("n_day", "Nullable(Date)", .fixed, 384, null: 418),
            ColumnDeclaration("n_id", "Nullable(UUID)", .fixed, 48, null: 419),
            ColumnDeclaration("n_code", "Nullable(FixedString(3))", .fixed, 405, null: 420),
            ColumnDeclaration("n_text", "Nullable(String)", .string, 168, null: 421),
            ColumnDeclaration("n_name", "Nullable(String)", .name, 356, null: 422),
            ColumnDeclaration("n_side", "Nullable(Enum8('buy' = 1, 'sell' = 2))", .fixed, 396, null: 423),
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
            ColumnDeclaration("o_zero", "UInt8", .fixed, 397),
            ColumnDeclaration("o_flag", "Bool", .fixed, 398),
            ColumnDeclaration("o_i32", "Int32", .fixed, 360),
            ColumnDeclaration("o_u64", "UInt64", .fixed, 272),
            ColumnDeclaration("o_f64", "Float64", .fixed, 280),
            ColumnDeclaration("o_d128", "Decimal(38, 10)", .fixed, 64),
            ColumnDeclaration("o_ts", "DateTime64(9, 'UTC')", .fixed, 288),
            ColumnDeclaration("o_day", "Date", .fixed, 386),
            ColumnDeclaration("o_id", "UUID", .fixed, 80),
            ColumnDeclaration("o_code", "FixedString(3)", .fixed, 408),
            ColumnDeclaration("o_side", "Enum8('buy' = 1, 'sell' = 2)", .fixed, 399),
            ColumnDeclaration("o_text", "String", .string, 296),
            ColumnDeclaration("o_empty", "String", .string, 304),
            ColumnDeclaration("o_name", "String", .name, 364),
            ColumnDeclaration("o_nothing", "String", .name, 368),
            ColumnDeclaration("n_o_f64", "Nullable(Float64)", .fixed, 312, null: 424),
            ColumnDeclaration("n_o_name", "Nullable(String)", .name, 372, null: 425),
            ColumnDeclaration("row", "UInt8", .fixed, 400),
            ColumnDeclaration("from", "UInt8", .fixed, 401),
            ColumnDeclaration("class", "String", .string, 320),
            ColumnDeclaration("switch", "UInt16", .fixed, 388),
        ])

    @inline(__always) @discardableResult
    func publish(to ring: borrowing Ring) -> Publication {
        var row = RowWriter(ring, key: 0x7299a055f1022c64, rowBytes: 426)
        row.check(self.code, fits: 3)
        row.reserve(self.text)
        let nameID = row.id(of: self.name)
        row.check(self.nCode, fits: 3)
        row.reserve(self.nText)
        let nNameID = row.id(of: self.nName)
        row.reserve(self.aFlag)
        row.reserve(self.aTs)
        row.reserve(self.aI16)
        row.reserve(self.aU64)
        row.reserve(self.aF32)
        row.reserve(self.aF64)
        row.reserve(self.aD64)
        row.reserve(self.aD128)
        row.reserve(self.aDay)
        row.reserve(self.aId)
        row.reserve(self.aText)
        row.reserve(self.aSide)
        row.check(self.oCode, fits: 3)
        row.reserve(self.oText)
        row.reserve(self.oEmpty)
        let oNameID = row.id(of: self.oName)
        let oNothingID = row.id(of: self.oNothing)
        let nONameID = row.id(of: self.nOName)
        row.reserve(self.class_)
        guard row.claim() else { return row.refusal() }
        row.put(self.d128, at: 0)
        row.put(self.id, at: 16)
        row.put(self.nD128, at: 32, null: 417)
        row.put(self.nId, at: 48, null: 419)
        row.put(self.oD128, at: 64)
        row.put(self.oId, at: 80)
        row.put(self.ts, at: 96)
        row.put(self.i64, at: 104)
        row.put(self.u64, at: 112)
        row.put(self.f64, at: 120)
        row.put(self.d64, at: 128)
        row.put(self.text, at: 136)
        row.put(self.nTs, at: 144, null: 412)
        row.put(self.nI64, at: 152, null: 413)
        row.put(self.nF64, at: 160, null: 415)
        row.put(self.nText, at: 168, null: 421)
        row.put(self.aFlag, at: 176)
        row.put(self.aTs, at: 184)
        row.put(self.aI16, at: 192)
        row.put(self.aU64, at: 200)
        row.put(self.aF32, at: 208)
        row.put(self.aF64, at: 216)
        row.put(self.aD64, at: 224)
        row.put(self.aD128, at: 232)
        row.put(self.aDay, at: 240)
        row.put(self.aId, at: 248)
        row.put(self.aText, at: 256)
        row.put(self.aSide, at: 264)
        row.put(self.oU64, at: 272)
        row.put(self.oF64, at: 280)
        row.put(self.oTs, at: 288)
        row.put(self.oText, at: 296)
        row.put(self.oEmpty, at: 304)
        row.put(self.nOF64, at: 312, null: 424)
        row.put(self.class_, at: 320)
        row.put(self.i32, at: 328)
        row.put(self.u32, at: 332)
        row.put(self.f32, at: 336)
        row.put(self.d32, at: 340)
        row.put(self.sec, at: 344)
        row.put(self.name, id: nameID, at: 348)
        row.put(self.nD32, at: 352, null: 416)
        row.put(self.nName, id: nNameID, at: 356, null: 422)
        row.put(self.oI32, at: 360)
        row.put(self.oName, id: oNameID, at: 364)
        row.put(self.oNothing, id: oNothingID, at: 368)
        row.put(self.nOName, id: nONameID, at: 372, null: 425)
        row.put(self.i16, at: 376)
        row.put(self.u16, at: 378)
        row.put(self.day, at: 380)
        row.put(self.kind, at: 382)
        row.put(self.nDay, at: 384, null: 418)
        row.put(self.oDay, at: 386)
        row.put(self.switch_, at: 388)
        row.put(self.flag, at: 390)
        row.put(self.i8, at: 391)
        row.put(self.u8, at: 392)
        row.put(self.side, at: 393)
        row.put(self.nFlag, at: 394, null: 411)
        row.put(self.nU8, at: 395, null: 414)
        row.put(self.nSide, at: 396, null: 423)
        row.put(self.oZero, at: 397)
        row.put(self.oFlag, at: 398)
        row.put(self.oSide, at: 399)
        row.put(self.row, at: 400)
        row.put(self.from, at: 401)
        row.put(self.code, at: 402, width: 3)
        row.put(self.nCode, at: 405, width: 3, null: 420)
        row.put(self.oCode, at: 408, width: 3)
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
        let symbolID = row.id(of: self.symbol)
        row.reserve(self.note)
        let venueID = row.id(of: self.venue)
        guard row.claim() else { return row.refusal() }
        row.put(self.ts, at: 0)
        row.put(self.note, at: 8)
        row.put(self.symbol, id: symbolID, at: 16)
        row.put(self.number, at: 20)
        row.put(self.venue, id: venueID, at: 24)
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
