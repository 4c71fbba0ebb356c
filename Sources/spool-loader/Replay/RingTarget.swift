import CSpoolRing
import CSystem
import Glibc
import SpoolClient
import SpoolFormat
import SpoolIO
import SpoolRing

/// Publishes rows into rings of a writer, as a trading thread does (`docs/ring.md`).
///
/// A ring declares a table once. So where a table's schema moved within the rows, there is a ring for each of its states.
final class RingTarget: ReplayTarget {
    private static let poll: Int64 = 1_000_000

    /// What of a ``RowLayout`` a loop over rows needs, without a reference to count.
    private struct Layout {
        struct Field {
            let storage: RowLayout.Storage
            let offset: Int
            /// 0 of a column that has none, since its values are never null.
            let nullOffset: Int
        }
        let rowBytes: Int
        let fields: [Field]

        init(_ layout: RowLayout) {
            rowBytes = layout.rowBytes
            fields = layout.fields.map { Field(storage: $0.storage, offset: $0.offset, nullOffset: $0.nullOffset ?? 0) }
        }
    }

    /// A table in the ring that takes its rows.
    private struct Route {
        let table: String
        let ring: Int
        let index: UInt32
        let layout: Layout
    }

    /// A ring, which is no value to be copied.
    private final class OpenRing {
        let ring: Ring
        /// Up to where the writer had taken rows when that was last looked at.
        private var taken: UInt64 = 0

        init(_ ring: consuming Ring) { self.ring = ring }

        /// Whether a record can be published without loss and without a writer that thins market rows, as it does from half a ring on that
        /// it has not taken.
        func hasRoom(_ recordBytes: UInt64) -> Bool {
            let handle = ring.handle
            let end = handle.pointee.position + recordBytes
            guard end <= handle.pointee.limit || end <= spool_ring_durable(handle) &+ handle.pointee.data_bytes else { return false }
            if end &- taken < handle.pointee.data_bytes / 2 { return true }
            taken = spool_ring_taken(handle)
            return end &- taken < handle.pointee.data_bytes / 2
        }
    }

    private let rings: [OpenRing]
    private let routes: [Route]
    private let waits: Bool
    private let check: (String) throws(CommandFailure) -> Void
    private var isChecked = false
    /// Ids of the row's names, by column.
    private var ids: [UInt32]
    private(set) var droppedRows: UInt64 = 0

    /// Makes the rings.
    ///
    /// - Parameters:
    ///   - dataBytes: of each ring, a power of two.
    ///   - waits: whether rows wait for room; else those that find none are dropped, as a trading thread's are.
    ///   - check: looks at the path of each ring once a writer has it; its error ends the replay.
    init(
        directory: String, producer: String, tables: [RecordedTable], dataBytes: UInt64, waits: Bool,
        check: @escaping (String) throws(CommandFailure) -> Void
    ) throws {
        self.waits = waits
        self.check = check
        var states: [String: Int] = [:]
        var byRing: [[RowLayout]] = []
        var routes: [Route] = []
        for table in tables {
            let ring = states[table.name, default: 0]
            states[table.name] = ring + 1
            if ring == byRing.count { byRing.append([]) }
            let layout = try RowLayout(table)
            routes.append(Route(table: table.name, ring: ring, index: UInt32(byRing[ring].count), layout: Layout(layout)))
            byRing[ring].append(layout)
        }
        self.routes = routes
        ids = Array(repeating: 0, count: tables.map(\.columns.count).max() ?? 0)
        var rings: [OpenRing] = []
        for layouts in byRing {
            do throws(RingError) {
                rings.append(
                    OpenRing(
                        try Ring(
                            directory: directory, producer: producer, tables: layouts.map(\.tableDeclaration), dataBytes: dataBytes,
                            nameBytes: 1 << 20)))
            } catch {
                throw CommandFailure(error.message, code: error.code == EINVAL ? 64 : 74)
            }
        }
        self.rings = rings
    }

    /// Takes back rings that no writer has taken anything of.
    deinit {
        for ring in rings where ring.ring.state == .waiting || ring.ring.state == .held { unlink(ring.ring.path) }
    }

    var isReady: Bool { isChecked && rings.allSatisfy { $0.ring.state == .attached } }
    var isDurable: Bool { rings.allSatisfy { $0.ring.durablePosition >= $0.ring.position } }
    var moved: UInt64 { rings.reduce(0) { $0 &+ $1.ring.durablePosition } }
    var refused: UInt64 { rings.reduce(0) { $0 &+ $1.ring.refusedRows } }
    var refusals: [String] { refused > 0 ? ["the writer's log says which rows it refused, and why"] : [] }
    var trouble: String { rings.lazy.compactMap(trouble(of:)).first ?? "the writer drains nothing" }

    private func trouble(of ring: OpenRing) -> String? {
        switch ring.ring.state {
        case .attached: nil
        case .waiting: "no writer looks after the rings in \(Directory.parent(of: ring.ring.path))"
        case .setAside: "the writer has set \(ring.ring.path) aside as corrupt; its log says why"
        case .held:
            "the writer holds \(ring.ring.path), for tables that do not fit its schemas (\(refusedTables(ring).joined(separator: ", "))); its log says why"
        }
    }

    private func refusedTables(_ ring: OpenRing) -> [String] {
        routes.filter { rings[$0.ring] === ring && ring.ring.tableState(Int($0.index)) == .refused }.map(\.table)
    }

    func wait(_ nanoseconds: Int64, others: [Int32]) throws {
        for ring in rings where ring.ring.state == .setAside || ring.ring.state == .held {
            throw CommandFailure(trouble(of: ring) ?? "", code: 74)
        }
        if !isChecked, rings.allSatisfy({ $0.ring.state == .attached }) {
            for ring in rings { try check(ring.ring.path) }
            isChecked = true
            return
        }
        var polled = others.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        // A ring's room is seen by looking.
        let isMoving = !isDurable || !isReady
        _ = cp_poll(&polled, polled.count, max(isMoving ? min(nanoseconds, Self.poll) : nanoseconds, 0))
    }

    // MARK: Rows

    func publish(_ row: RecordedRow) throws -> ReplayedRow? {
        guard isChecked else { return nil }
        let route = routes[row.table]
        let open = rings[route.ring]
        let ring = open.ring.handle
        return row.block.bytes.withUnsafeBytes { bytes in
            let count = measure(row.block.places, row.row, route.layout, bytes, ring)
            guard recordBytes(count) <= UInt64(ring.pointee.max_record) else {
                return .unfit("\(count) bytes are more than a record of this ring may have: give a larger --ring-size")
            }
            // Looked at before it is claimed: a claim without room is counted as a row that was lost.
            if waits, !open.hasRoom(recordBytes(count)) { return nil }
            guard let to = spool_ring_claim(ring, route.index, UInt32(count)) else {
                droppedRows += 1
                return .dropped
            }
            write(row.block.places, row.row, route.layout, bytes, UnsafeMutableRawPointer(to))
            spool_ring_commit(ring, route.index, UInt32(count))
            return .published
        }
    }

    private func recordBytes(_ row: Int) -> UInt64 { (UInt64(row) + 8 + 7) & ~7 }

    /// Bytes of the row, fixed part and tail. Interns its names.
    private func measure(
        _ places: BlockPlaces, _ row: Int, _ layout: Layout, _ bytes: UnsafeRawBufferPointer, _ ring: UnsafeMutablePointer<spool_ring>
    ) -> Int {
        var count = layout.rowBytes
        for index in layout.fields.indices {
            let column = places.columns[index]
            if layout.fields[index].storage == .fixed || column.isNull(row, bytes) { continue }
            let elements = column.elements(row, bytes)
            switch layout.fields[index].storage {
            case .fixed: break
            case .string: count += places.string(elements.lowerBound, of: column).count
            case .name:
                let place = places.string(elements.lowerBound, of: column)
                ids[index] = spool_ring_intern(ring, bytes.baseAddress.map { $0 + place.lowerBound }, UInt32(place.count))
                if ids[index] == Self.inline { count += 4 + place.count }
            case .array where column.width > 0: count += column.place(of: elements).count
            case .array: for element in elements { count += 8 + places.string(element, of: column).count }
            }
        }
        return count
    }

    private func write(
        _ places: BlockPlaces, _ row: Int, _ layout: Layout, _ bytes: UnsafeRawBufferPointer, _ to: UnsafeMutableRawPointer
    ) {
        guard let base = bytes.baseAddress else { return }
        var end = layout.rowBytes
        func append(_ place: Range<Int>) {
            (to + end).copyMemory(from: base + place.lowerBound, byteCount: place.count)
            end += place.count
        }
        func put(_ slot: Int, _ count: Int) {
            to.storeBytes(of: UInt32(end).littleEndian, toByteOffset: slot, as: UInt32.self)
            to.storeBytes(of: UInt32(count).littleEndian, toByteOffset: slot + 4, as: UInt32.self)
        }
        // What lies there is of an earlier row.
        memset(to, 0, layout.rowBytes)
        for index in layout.fields.indices {
            let field = layout.fields[index]
            let column = places.columns[index]
            if column.isNull(row, bytes) {
                to.storeBytes(of: 1, toByteOffset: field.nullOffset, as: UInt8.self)
                continue
            }
            let elements = column.elements(row, bytes)
            switch field.storage {
            case .fixed:
                let place = column.place(of: elements)
                (to + field.offset).copyMemory(from: base + place.lowerBound, byteCount: place.count)
            case .string:
                let place = places.string(elements.lowerBound, of: column)
                put(field.offset, place.count)
                append(place)
            case .name:
                guard ids[index] == Self.inline else {
                    to.storeBytes(of: ids[index].littleEndian, toByteOffset: field.offset, as: UInt32.self)
                    continue
                }
                let place = places.string(elements.lowerBound, of: column)
                to.storeBytes(of: (Self.inline + UInt32(end)).littleEndian, toByteOffset: field.offset, as: UInt32.self)
                to.storeBytes(of: UInt32(place.count).littleEndian, toByteOffset: end, as: UInt32.self)
                end += 4
                append(place)
            case .array where column.width > 0:
                put(field.offset, elements.count)
                append(column.place(of: elements))
            case .array:
                put(field.offset, elements.count)
                var slot = end
                end += elements.count * 8
                for element in elements {
                    let place = places.string(element, of: column)
                    put(slot, place.count)
                    append(place)
                    slot += 8
                }
            }
        }
    }

    /// `SPOOL_NAME_INLINE`, whose macro Swift does not see as the type it needs here.
    private static let inline: UInt32 = 0x8000_0000
}

extension RowLayout {
    /// - Throws: `SchemaError` for columns that no schema has.
    fileprivate init(_ table: RecordedTable) throws(SchemaError) {
        let columns = try table.columns.map { column throws(SchemaError) in
            Column(name: column.name, type: try ColumnType(column.type), isLowCardinality: column.type == ColumnType.dictionaryText)
        }
        guard table.eventTimeColumn < columns.count, columns[table.eventTimeColumn].type == ColumnType(.dateTime64) else {
            throw SchemaError(file: table.name, line: 0, reason: "its segments do not say which column is the event time")
        }
        let schema = TableSchema(
            table: table.name, columns: columns, eventTimeColumn: table.eventTimeColumn, partitionRule: .day, retention: nil)
        try self.init(schema) { _ in [] }
    }

    /// As SpoolClient takes it.
    fileprivate var tableDeclaration: TableDeclaration {
        TableDeclaration(
            schema.table, fingerprint: 0, rowBytes: UInt32(rowBytes),
            columns: fields.map { field in
                ColumnDeclaration(
                    field.column.name, field.column.type.wireText, .init(rawValue: UInt32(field.storage.rawValue)) ?? .fixed,
                    UInt32(field.offset), null: field.nullOffset.map { UInt32($0) } ?? .max)
            })
    }
}
