import Foundation
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// What servers before 22.2 are sent: the same values, under the types that they know.
@Suite struct PlainBodyTests {
    // MARK: The gzip stream

    /// The content of a stream of stored blocks, read as RFC 1951 and 1952 have it; nil if it is not a whole one.
    private func content(_ stream: [UInt8]) -> [UInt8]? {
        guard stream.prefix(4) == [0x1F, 0x8B, 8, 0], stream.count >= 10 else { return nil }
        var offset = 10
        var content: [UInt8] = []
        func word(_ bytes: Int) -> UInt32? {
            guard offset + bytes <= stream.count else { return nil }
            defer { offset += bytes }
            return stream[offset..<offset + bytes].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        while true {
            guard let kind = word(1), kind <= 1, let size = word(2), let complement = word(2), size ^ complement == 0xFFFF,
                offset + Int(size) <= stream.count
            else { return nil }
            content += stream[offset..<offset + Int(size)]
            offset += Int(size)
            if kind == 1 { break }
        }
        guard let checksum = word(4), let size = word(4), offset == stream.count, size == UInt32(truncatingIfNeeded: content.count),
            checksum == bitwise(content)
        else { return nil }
        return content
    }

    /// The checksum bit by bit, as RFC 1952 defines it.
    private func bitwise(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0 as UInt32) { value, byte in
            (0..<8).reduce(value ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
    }

    private func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    @Test func theChecksumIsThatOfGzip() {
        #expect(Array("123456789".utf8).withUnsafeBytes { CRC32.update(0, $0) } == 0xCBF4_3926)
        for count in 0..<70 {
            let bytes = noise(count, seed: UInt64(count))
            for cut in 0...count {
                let first = bytes[..<cut].withUnsafeBytes { CRC32.update(0, $0) }
                #expect(bytes[cut...].withUnsafeBytes { CRC32.update(first, $0) } == bitwise(bytes))
            }
        }
    }

    @Test(arguments: [[], [0], [1], [65_535], [65_536], [3, 0, 131_070, 7], [65_534, 65_535, 65_536]])
    func aStreamHasTheContentAndTheLengthThatWasSaid(pieces: [Int]) {
        let all = pieces.enumerated().map { noise($1, seed: UInt64($0)) }
        var gzip = StoredGzip()
        var stream: [UInt8] = []
        for piece in all { stream += gzip.append(piece) }
        stream += gzip.finish()
        #expect(content(stream) == all.flatMap { $0 })
        #expect(stream.count == StoredGzip.count(pieces: pieces))
    }

    // MARK: The body

    private func body(_ chunks: [LocatedChunk], _ reader: SegmentReader, types: [String]? = nil, rows: [Int]? = nil) throws -> PlainBody {
        let types = types ?? reader.header.columns.map(\.type)
        let columns = zip(reader.header.columns, types).map { WireColumn(name: $0.name, type: $1) }
        return try PlainBody(chunks: chunks, reader: reader, columns: columns, rows: rows)
    }

    /// The segment in a file, and its chunks.
    private func chunks(_ segment: SegmentBuilder, in home: TemporaryDirectory) throws -> (SegmentReader, [LocatedChunk]) {
        let path = home.file("segment.lz4")
        try Bytes.write(segment.bytes, to: path)
        let reader = try SegmentReader(path: path)
        var chunks: [LocatedChunk] = []
        var offset = reader.start
        while case .chunk(let chunk) = try reader.item(at: offset, limit: UInt64(segment.bytes.count)) {
            chunks.append(chunk)
            offset = chunk.end
        }
        return (reader, chunks)
    }

    private func read(_ body: PlainBody, room: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 8)
        defer { buffer.deallocate() }
        while bytes.count < body.count {
            let taken = try body.read(into: buffer, at: bytes.count)
            guard taken > 0 else { break }
            bytes += buffer[..<taken]
        }
        return bytes
    }

    @Test(arguments: [1, 7, 4_096, 1 << 20])
    func theBodyIsTheBlocksUnderOtherTypes(room: Int) throws {
        let home = TemporaryDirectory()
        let (reader, chunks) = try chunks(Samples.mixedSegment(), in: home)
        let types = reader.header.columns.map { $0.type == "DateTime64(9, 'UTC')" ? "Int64" : $0.type }
        let body = try self.body(chunks, reader, types: types)
        let bytes = try read(body, room: room)
        #expect(bytes.count == body.count)
        let blocks = try #require(content(bytes))
        var expected: [UInt8] = []
        for chunk in chunks {
            // By other means: the decompressed block with the one type replaced where it stands.
            let block = try reader.data(of: chunk).withUnsafeBytes { try LZ4Frame.decompress($0, contentBytes: chunk.header.blockBytes) }
            expected += replaced(block, "DateTime64(9, 'UTC')", "Int64")
        }
        #expect(blocks == expected)
        // A second send of the same batch is the same from its first byte on.
        #expect(try read(body, room: 1_000) == bytes)
    }

    private func replaced(_ block: [UInt8], _ old: String, _ new: String) -> [UInt8] {
        let (old, new) = ([UInt8(old.utf8.count)] + old.utf8, [UInt8(new.utf8.count)] + new.utf8)
        let place = (0..<block.count - old.count).first { Array(block[$0..<$0 + old.count]) == old }!
        return block[..<place] + new + block[(place + old.count)...]
    }

    private static let named = TableSchema(
        table: "named",
        columns: [
            Column(name: "ts", type: ColumnType(.dateTime64)),
            Column(name: "symbol", type: ColumnType(.string), isLowCardinality: true),
        ], eventTimeColumn: 0, partitionRule: .day, retention: nil, isWriterLowCardinality: true)

    private func named(rows: Int, length: Int = 3) throws -> SegmentBuilder {
        var segment = SegmentBuilder(schema: Self.named, writer: "w1", created: Samples.time)
        try segment.append(
            chunk: (0..<rows).map {
                [.integer(Int128(Samples.time) + Int128($0)), .text($0 % 5 == 0 ? "" : String(repeating: "\($0 % 10)", count: length))]
            }, ingest: Samples.time)
        return segment
    }

    @Test func dictionariesAreWrittenOut() throws {
        let home = TemporaryDirectory()
        let (reader, chunks) = try chunks(named(rows: 300, length: 200), in: home)
        let types = ["Int64", "String", "String", "UInt64"]
        let body = try self.body(chunks, reader, types: types)
        let blocks = try #require(content(try read(body, room: 5_000)))
        let names = reader.header.columns.map(\.name)
        let written = try NativeBlock(blocks, columns: zip(names, types).map { WireColumn(name: $0, type: $1) })
        let original = try reader.block(of: chunks[0])
        #expect(written.rows == 300)
        for row in 0..<300 {
            for column in 0..<4 where column != 0 {
                #expect(written.columns[column].text(row) == original.columns[column].text(row))
            }
            #expect(written.columns[0].integer(row) == original.columns[0].integer(row))
        }
    }

    @Test func aDictionaryStaysOneForAColumnThatStoresOne() throws {
        let home = TemporaryDirectory()
        let (reader, chunks) = try chunks(named(rows: 50), in: home)
        let types = ["DateTime64(9, 'UTC')", "LowCardinality(String)", "LowCardinality(String)", "UInt64"]
        let body = try self.body(chunks, reader, types: types)
        let block = try reader.data(of: chunks[0]).withUnsafeBytes {
            try LZ4Frame.decompress($0, contentBytes: chunks[0].header.blockBytes)
        }
        #expect(content(try read(body, room: 5_000)) == block)
    }

    @Test func whatWouldBeMoreThanOneBlockIsNotSent() throws {
        let home = TemporaryDirectory()
        let (reader, chunks) = try chunks(named(rows: 10_000, length: 40_000), in: home)
        #expect(chunks[0].header.blockBytes < 1 << 20)
        let failure = #expect(throws: OversizedBatch.self) {
            try body(chunks, reader, types: ["Int64", "String", "String", "UInt64"])
        }
        #expect(failure?.description.hasPrefix("10000 rows are 320") == true)
        #expect(throws: Never.self) {
            try self.body(chunks, reader)
        }
    }

    @Test(arguments: [[0], [1], [0, 2], [1, 2, 3]])
    func someRowsOfAChunkAreSentUnderOtherTypesToo(rows: [Int]) throws {
        let home = TemporaryDirectory()
        let (reader, chunks) = try chunks(named(rows: 4, length: 3), in: home)
        let types = reader.header.columns.map {
            $0.type == "LowCardinality(String)" ? "String" : $0.type == "DateTime64(9, 'UTC')" ? "Int64" : $0.type
        }
        let body = try self.body([chunks[0]], reader, types: types, rows: rows)
        let bytes = try read(body, room: 100)
        #expect(bytes.count == body.count)
        let columns = zip(reader.header.columns, types).map { WireColumn(name: $0.name, type: $1) }
        let (sent, whole) = (try NativeBlock(#require(content(bytes)), columns: columns), try reader.block(of: chunks[0]))
        #expect(sent.rows == rows.count)
        for (column, all) in zip(sent.columns, whole.columns) {
            for (row, place) in rows.enumerated() {
                if column.type.scalar == .string {
                    #expect(column.string(row) == all.string(place))
                } else {
                    #expect(column.integer(row) == all.integer(place))
                }
            }
        }
    }

    @Test(arguments: [nil, [0], [1, 3]] as [[Int]?])
    func columnsGoUnderOtherNamesAndSomeNotAtAll(rows: [Int]?) throws {
        let home = TemporaryDirectory()
        let (reader, chunks) = try chunks(named(rows: 4, length: 3), in: home)
        var columns: [WireColumn?] = reader.header.columns.map { WireColumn(name: $0.name == "ts" ? "time" : $0.name, type: $0.type) }
        columns[1] = nil
        let body = try PlainBody(chunks: chunks, reader: reader, columns: columns, rows: rows)
        #expect(body.columns == columns.compactMap(\.self) && body.columns.count == 3)
        let bytes = try read(body, room: 50)
        #expect(bytes.count == body.count)
        let (sent, whole) = (try NativeBlock(#require(content(bytes)), columns: body.columns), try reader.block(of: chunks[0]))
        let meant = rows ?? Array(0..<4)
        #expect(sent.rows == meant.count && sent.columns.map(\.name) == ["time", "spool_writer", "spool_seq"])
        for (row, place) in meant.enumerated() {
            #expect(sent.columns[0].integer(row) == whole.columns[0].integer(place))
            #expect(sent.columns[1].string(row) == whole.columns[2].string(place))
            #expect(sent.columns[2].integer(row) == whole.columns[3].integer(place))
        }
        // Whoever makes it again makes the same bytes: the token names them.
        let again = try PlainBody(chunks: chunks, reader: reader, columns: columns, rows: rows)
        #expect(try read(again, room: 1 << 20) == bytes)
    }

    @Test func aChunkThatIsDamagedMeanwhileBreaksTheBodyOff() throws {
        let home = TemporaryDirectory()
        let segment = try Samples.mixedSegment()
        let (reader, chunks) = try chunks(segment, in: home)
        let body = try self.body(chunks, reader)
        var bytes = segment.bytes
        bytes[Int(chunks[1].dataOffset) + 30] ^= 1
        try Bytes.write(bytes, to: home.file("segment.lz4"))
        #expect(throws: FormatError.self) { try read(body, room: 100) }
        #expect(throws: FormatError.self) {
            try self.body(chunks, reader)
        }
    }
}
