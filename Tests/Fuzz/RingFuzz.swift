import SpoolFormat
import SpoolTesting

@testable import SpoolRing

/// What a producer writes into shared memory, where nothing stops it from writing anything.
enum RingFuzz {
    static func header(_ bytes: UnsafeRawBufferPointer) {
        let page = Array(bytes)
        guard let header = try? RingHeader(page, fileBytes: UInt64(page.count) &* 16, pageBytes: 1) else {
            if let tables = try? DeclaredTable.decode(page, count: Int(page.first ?? 0)) { plan(tables) }
            return
        }
        try? header.check(page, declarations: page)
        if let tables = try? DeclaredTable.decode(page, count: header.tableCount) { plan(tables) }
    }

    private static func plan(_ tables: [DeclaredTable]) {
        for table in tables { _ = try? RowPlan(table, schema: Samples.mixed) }
    }

    private static let layout = RingLayout(Samples.mixed, named: ["symbol"])
    nonisolated(unsafe) private static let plan = try! RowPlan(layout.declared, schema: Samples.mixed)
    nonisolated(unsafe) private static let builder = try! BlockBuilder(schema: Samples.mixed, writer: "w1") {
        [UInt8](repeating: 0, count: max($0.type.width ?? 0, 16))
    }
    nonisolated(unsafe) private static let names: NameTable = {
        let names = NameTable()
        for name in ["BTCUSDT", "", "Zürich"] { Array(name.utf8).withUnsafeBytes { names.append($0) } }
        return names
    }()

    /// The bytes are cut into rows of at least the size that was declared, as the drain cuts records.
    static func rows(_ bytes: UnsafeRawBufferPointer) {
        let least = layout.declared.rowBytes
        var records: [UInt8] = []
        var offsets: [UInt32] = []
        var at = 0
        while at < bytes.count, bytes.count - at - 1 >= least, offsets.count < 16 {
            let size = min(least + Int(bytes[at]), bytes.count - at - 1)
            let padded = (size + 7) & ~7
            records += RingLayout.little(UInt32(padded + 8)) + RingLayout.little(0)
            offsets.append(UInt32(records.count))
            records += bytes[at + 1..<at + 1 + size] + [UInt8](repeating: 0, count: padded - size)
            at += 1 + size
        }
        guard !offsets.isEmpty else { return }
        records += [UInt8](repeating: 0xCC, count: RingRows.slack)
        // Exactly as large as it is: a read behind it is noticed.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: records.count, alignment: 16)
        defer { copy.deallocate() }
        copy.copyBytes(from: records)
        offsets.withUnsafeBufferPointer { offsets in
            let rows = RingRows(base: UnsafeRawPointer(copy.baseAddress!), offsets: offsets.baseAddress!, count: offsets.count)
            let times = RowGather.eventTimes(rows, plan: plan)
            guard times.earliest >= EventTime.earliest, times.latest <= EventTime.latest else { return }
            let range = builder.openRange(for: times.earliest)
            do {
                try RowGather.append(rows, plan: plan, names: names, to: builder)
            } catch {
                return builder.undoRow()
            }
            guard times.latest < range.to else { return builder.undoRow() }
            builder.finishRows(rows.count, earliest: times.earliest, latest: times.latest)
            var block = RawBuffer(capacity: 1_024)
            defer { block.free() }
            builder.assemble(firstSequence: 1, into: &block)
            builder.dropFinished()
            precondition((try? NativeBlock(Array(block.bytes), columns: Samples.mixed.wireColumns)) != nil, "a block that cannot be read")
        }
    }
}
