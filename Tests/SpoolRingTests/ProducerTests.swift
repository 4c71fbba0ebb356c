import CSpoolRing
import SpoolRing
import SpoolTesting
import Testing

/// The producer's side, as the C header has it.
struct ProducerTests {
    private static let column = DeclaredColumn(name: "ts", type: "DateTime64(9, 'UTC')", storage: .fixed, offset: 0, nullOffset: nil)

    private func table(_ name: String = "t", rowBytes: Int = 8, columns: Int = 1) -> DeclaredTable {
        DeclaredTable(name: name, fingerprint: 0, rowBytes: rowBytes, columns: Array(repeating: Self.column, count: columns))
    }

    @Test("a row that is too long is counted and gets no room, up to the longest that a number can say")
    func tooLong() throws {
        let directory = TemporaryDirectory()
        let producer = try RingProducer(directory.path, [table()])
        let most = UInt32(16 << 10) - 8
        #expect(spool_ring_claim(producer.ring, 0, most) != nil)
        var refused: UInt64 = 0
        let sizes: [UInt32] = [
            most + 1, most + 8, 65_536, 1_048_576, 0x7FFF_FFFF, 0xFFFF_FFE0, 0xFFFF_FFF0, 0xFFFF_FFF7, 0xFFFF_FFF8, .max,
        ]
        for bytes in sizes {
            #expect(spool_ring_claim(producer.ring, 0, bytes) == nil, "\(bytes) bytes")
            refused += 1
            #expect(producer.producerPage.pointee.too_long_rows == refused)
        }
        #expect(producer.position == 0)
        #expect(producer.full(0) == 0)
    }

    @Test("a full ring says so, by table, and takes rows again once there is room")
    func full() throws {
        let directory = TemporaryDirectory()
        let producer = try RingProducer(directory.path, [table("a"), table("b")])
        let row = [UInt8](repeating: 1, count: 8 << 10 - 8)
        while producer.publish(row, table: 1) {}
        #expect(!producer.publish(row, table: 0))
        #expect(!producer.publish(row, table: 1))
        #expect(producer.full(0) == 1 && producer.full(1) == 2)
        producer.consumer.pointee.durable_position = producer.position / 2
        #expect(producer.publish(row, table: 0))
    }

    @Test("what the writer would set aside is refused when the ring is opened")
    func complaints() throws {
        let directory = TemporaryDirectory()
        for (tables, complaint) in [
            ([table(""), table()], "a table's name must have 1 to 64 characters"),
            ([table(String(repeating: "a", count: 65))], "a table's name must have 1 to 64 characters"),
            ([table(rowBytes: 0)], "a table's row must have 1 to 65536 bytes"),
            ([table(rowBytes: 65_537)], "a table's row must have 1 to 65536 bytes"),
            ([table("a"), table("b"), table("a")], "a table is declared twice"),
            ([table(columns: 0)], "a table has 1 to 1024 columns"),
            ([table(columns: 1_025)], "a table has 1 to 1024 columns"),
            ([], "a ring has 1 to 64 tables"),
            ((0..<65).map { table("t\($0)") }, "a ring has 1 to 64 tables"),
        ] {
            let failure = #expect(throws: RingProducer.Failure.self) { try RingProducer(directory.path, tables) }
            #expect("\(failure!)".contains(complaint))
        }
        for name in ["", ".a", "a/b", "a b", String(repeating: "a", count: 64)] {
            #expect(throws: RingProducer.Failure.self) { try RingProducer(directory.path, [table()], producer: name) }
        }
        for bytes in [0 + 1, 32 << 10, 96 << 10, 1 << 33] {
            #expect(throws: RingProducer.Failure.self) { try RingProducer(directory.path, [table()], bytes: bytes) }
        }
        // None of them left a file.
        #expect(try Bytes.list(directory.path).isEmpty)
    }
}
