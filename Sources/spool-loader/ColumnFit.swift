import SpoolFormat
import SpoolIO

/// Whether and how rows of a segment go into a table that may have been altered since they were recorded, or may have to be before they can go. Pure.
enum ColumnFit: Equatable {
    case sent(SentColumns)
    /// A column is not in the table, and what became of it is written in ClickHouse and was not asked for yet.
    case askHistory
    case unfit(ColumnComplaint)

    /// - Parameters:
    ///   - wire: the segment's columns.
    ///   - retired: what became of columns that the table had once; nil if that was not asked for.
    init(_ wire: [WireColumn], in target: TargetTable, retired: [String: RetiredName]?) {
        var columns: [WireColumn?] = []
        var growth = Growth()
        for column in wire {
            var name: String? = column.name
            if target.columns[column.name] == nil {
                if retired == nil, target.hasHistory {
                    self = .askHistory
                    return
                }
                switch retired?[column.name] {
                case .renamed(let today)?: name = today
                case .dropped?: name = nil
                case nil: break
                }
            }
            guard let name else {
                columns.append(nil)
                continue
            }
            if let complaint = Self.complaint(about: column, as: name, columns, target) {
                self = .unfit(complaint)
                return
            }
            columns.append(WireColumn(name: name, type: column.type))
            growth.add(column.type, into: target.columns[name])
        }
        self = .sent(SentColumns(columns, of: wire, target, growth))
    }

    private static func complaint(
        about column: WireColumn, as name: String, _ before: [WireColumn?], _ target: TargetTable
    ) -> ColumnComplaint? {
        let today = WireColumn(name: name, type: column.type)
        if name != column.name, target.columns[name] == nil {
            return ColumnComplaint(
                column: today, isMissing: true,
                text: "column \(column.name) is in the spool and not in ClickHouse: it was renamed to \(name), which is not there either")
        }
        if before.contains(where: { $0?.name == name }) {
            return ColumnComplaint(
                column: today, isMissing: false,
                text: "columns of the spool would both go into column \(name), of which \(column.name) is one")
        }
        return target.misfit(today)
    }
}

/// Why rows with a column must not be sent.
struct ColumnComplaint: Equatable {
    let column: WireColumn
    /// Whether there is no such column; else it is of another type.
    let isMissing: Bool
    let text: String

    /// Whether rows with the column could go into a table that is so.
    func isMended(by table: TableDefinition?) -> Bool {
        guard let wire = try? ColumnType(column.type), let found = table?.columns.first(where: { $0.name == column.name })?.column else {
            return false
        }
        return found.type.holdsAll(of: wire)
    }

    /// What to do about it.
    ///
    /// - Parameter file: the migration that brings what is missing, if it is known.
    func text(broughtBy file: String?) -> String {
        if let file { return "\(text); \(file) \(isMissing ? "brings" : "widens") it: run `spool-loader migrate apply`" }
        return isMissing ? "\(text); run `spool-loader migrate apply`" : text
    }
}

/// What the columns of a segment are in the blocks that are sent.
struct SentColumns: Equatable {
    /// For each column of the segment its name and type in the block; nil if the table has it no more.
    let columns: [WireColumn?]
    /// Whether the chunks must be decoded and written anew (``PlainBody``); else they go as they lie in the segment.
    let isRewritten: Bool
    private let growth: Growth

    fileprivate init(_ columns: [WireColumn?], of wire: [WireColumn], _ target: TargetTable, _ growth: Growth) {
        let kept = columns.compactMap(\.self)
        isRewritten = target.dialect.isPlain || columns.count != kept.count || kept.map(\.name) != wire.map(\.name)
        self.growth = growth
        guard target.dialect.isPlain else {
            self.columns = columns
            return
        }
        // Old servers compare the types to the letter.
        var types = target.sentTypes(kept)[...]
        self.columns = columns.map { column in column.flatMap { WireColumn(name: $0.name, type: types.popFirst() ?? $0.type) } }
    }

    /// A batch becomes one block, and so one part, only if ClickHouse has room for it in its wider types.
    ///
    /// - Parameter unfixed: columns whose values differ in length.
    func checkSize(of batch: Batch, unfixed: Int) throws(OversizedBatch) {
        guard !growth.isNothing else { return }
        var bytes = batch.chunks.reduce(0) { $0 + $1.header.blockBytes }
        // As if all rows were alike: more is not known without decoding them.
        if let slice = batch.slice { bytes = bytes / max(1, batch.chunks[0].header.rows) * slice.rows.count }
        let rows = Int(batch.rows)
        let memory = growth.bytes(of: bytes, rows: rows) + rows * unfixed * BatchLimits.overheadPerValue
        if memory > ClickHouse.squashBytes { throw OversizedBatch(rows: rows, bytes: memory, form: "in the table's wider types") }
    }
}

/// How much larger rows become in ClickHouse's memory than they are in the segment, because the table's types are wider. An upper bound.
private struct Growth: Equatable {
    private var perRow = 0
    /// Of arrays it is not known how many values they have: as if the whole block were values of them.
    private var perByte = 0

    var isNothing: Bool { perRow == 0 && perByte == 0 }

    func bytes(of blockBytes: Int, rows: Int) -> Int { blockBytes + blockBytes * perByte + rows * perRow }

    mutating func add(_ wire: String, into target: String?) {
        guard let target, target != wire, let from = try? ColumnType(wire), let to = try? ColumnType(target), let width = from.width else {
            return
        }
        let value = max(0, Self.most(to, from) - width)
        if from.shape == .array {
            perByte += (value + width - 1) / width
        } else {
            perRow += value + (from.shape == to.shape ? 0 : 1)
        }
    }

    /// The most bytes that a value of the type takes if it was one of the older type.
    private static func most(_ type: ColumnType, _ older: ColumnType) -> Int {
        if let width = type.width { return width }
        guard case .enum8(let cases) = older.scalar else {
            guard case .enum16(let cases) = older.scalar else { return 0 }
            return longest(cases)
        }
        return longest(cases)
    }

    private static func longest(_ cases: [ColumnType.EnumCase]) -> Int {
        (cases.map(\.name.utf8.count).max() ?? 0) + BatchLimits.overheadPerValue
    }
}
