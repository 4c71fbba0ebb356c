import Glibc
import SpoolFormat
import SpoolIO
import Synchronization

/// The rows of some chunks, symbol by symbol.
struct LossCount {
    private(set) var losses: [String: SymbolLoss] = [:]

    /// Adds the rows of a chunk, whose block may be unreadable: then nobody knows the symbols.
    ///
    /// - Parameter symbolNames: of the column with the symbol, in any version of the table.
    mutating func add(_ block: NativeBlock?, _ header: ChunkHeader, eventTimeColumn: Int, symbolNames: [String]) {
        guard let block, eventTimeColumn < block.columns.count else {
            var loss = losses["", default: SymbolLoss()]
            loss.count += UInt64(header.rows)
            loss.from = min(loss.from, header.minEventTime)
            loss.to = max(loss.to, header.maxEventTime)
            losses[""] = loss
            return
        }
        let symbols = symbolNames.compactMap(block.column).first { $0.type.scalar == .string && $0.type.shape != .array }
        let times = block.columns[eventTimeColumn]
        // By the bytes first: a String for each row would cost more than all the rest.
        var byBytes: [ArraySlice<UInt8>: SymbolLoss] = [:]
        for row in 0..<block.rows {
            byBytes[symbols.map { $0.isNull(row) ? [] : $0.string(row) } ?? [], default: SymbolLoss()].note(
                Int64(clamping: times.integer(row)))
        }
        for (bytes, loss) in byBytes {
            var sum = losses[String(decoding: bytes, as: UTF8.self), default: SymbolLoss()]
            sum.count += loss.count
            sum.from = min(sum.from, loss.from)
            sum.to = max(sum.to, loss.to)
            losses[String(decoding: bytes, as: UTF8.self)] = sum
        }
    }
}

/// Counts a sealed segment's rows on a thread of its own: a large segment takes a second, which no producer should wait for.
final class SegmentCount: Sendable {
    enum Outcome: Sendable {
        case counted([String: SymbolLoss], header: SegmentHeader, end: UInt64)
        /// It cannot be read, so it is not deleted either.
        case unreadable(String)
    }

    let table: String
    let name: SegmentName
    private let path: String
    private let symbolNames: [String]
    private let result = Mutex<Outcome?>(nil)

    private init(table: String, name: SegmentName, path: String, symbolNames: [String]) {
        self.table = table
        self.name = name
        self.path = path
        self.symbolNames = symbolNames
    }

    var outcome: Outcome? { result.withLock { $0 } }

    /// - Parameter symbolNames: of the column with the symbol, in any version of the table.
    static func begin(table: String, name: SegmentName, path: String, symbolNames: [String]) -> SegmentCount {
        let count = SegmentCount(table: table, name: name, path: path, symbolNames: symbolNames)
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(count).toOpaque()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<SegmentCount>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, argument)
        if code == 0 {
            pthread_detach(thread)
        } else {
            // No thread to be had: then it is done here.
            Unmanaged<SegmentCount>.fromOpaque(argument).takeRetainedValue().run()
        }
        return count
    }

    private func run() {
        let outcome: Outcome
        do {
            outcome = try count()
        } catch {
            outcome = .unreadable("\(error)")
        }
        result.withLock { $0 = outcome }
    }

    private func count() throws -> Outcome {
        let reader = try SegmentReader(path: path)
        guard let trailer = try SegmentReader.trailer(of: reader.file) else { return .unreadable("it is not sealed") }
        var counts = LossCount()
        var offset = reader.start
        while case .chunk(let chunk) = try reader.item(at: offset, limit: trailer.fileBytes) {
            // Columns and their names are the segment's own: it may be older than the schemas.
            counts.add(
                try? reader.block(of: chunk), chunk.header, eventTimeColumn: reader.header.eventTimeColumn, symbolNames: symbolNames)
            offset = chunk.end
        }
        guard case .index = try reader.item(at: offset, limit: trailer.fileBytes) else {
            return .unreadable("at \(offset) stands neither a chunk nor the index")
        }
        return .counted(counts.losses, header: reader.header, end: trailer.endSequence)
    }
}
