import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

/// `spool-writer run` as producers see it, on the built program.
@Suite(.serialized) struct SocketServerTests {
    private func lines(_ range: Range<UInt64>) -> String { range.map { TestSpool.line($0) + "\n" }.joined() }

    @Test("a producer is told what is accepted and what is durable, and a stop seals")
    func counts() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        let client = try writer.connect()
        try client.send(lines(0..<3))
        let answers = client.answers(until: "{\"accepted\":3,\"refused\":0,\"durable\":3}")
        #expect(answers.last == "{\"accepted\":3,\"refused\":0,\"durable\":3}")
        #expect(try spool.mark()?.durableEnd == 4)
        try client.send(lines(3..<5))
        #expect(client.answers(until: "{\"accepted\":5,\"refused\":0,\"durable\":5}").count >= 1)
        #expect(writer.stop() == 0)
        #expect(try spool.numbers() == [0, 1, 2, 3, 4])
        #expect(try spool.mark()?.isSealed == true)
        #expect(writer.messages.contains("stopped: everything is durable"))
    }

    @Test("each refused line is answered with its line, table, field and reason; the lines around it arrive")
    func refusals() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        let client = try writer.connect()
        try client.send(lines(0..<1))
        try client.send("{\"table\":\"ticks\",\"ts\":\(TestSpool.time),\"n\":-1}\n\nnonsense\n{\"table\":\"none\"}\n \t\r\n")
        try client.send([0x22, 0x80, 0x22, 0x0A])
        try client.send(lines(1..<2))
        let all = client.answers(until: "{\"accepted\":2,\"refused\":6,\"durable\":8}")
        #expect(
            all.filter { $0.hasPrefix("{\"refused\":{") } == [
                #"{"refused":{"line":2,"table":"ticks","field":"n","reason":"-1 is outside 0 to 18446744073709551615"}}"#,
                #"{"refused":{"line":3,"reason":"empty line"}}"#,
                #"{"refused":{"line":4,"reason":"not JSON: expected an object {...} at column 1, found \"n\""}}"#,
                #"{"refused":{"line":5,"field":"table","reason":"unknown table \"none\"; schemas define ticks"}}"#,
                #"{"refused":{"line":6,"reason":"empty line"}}"#,
                #"{"refused":{"line":7,"reason":"not JSON: expected an object {...} at column 1, found \"\"\""}}"#,
            ])
        #expect(all.last == "{\"accepted\":2,\"refused\":6,\"durable\":8}")
        #expect(writer.stop() == 0)
        #expect(try spool.numbers() == [0, 1])
    }

    @Test("a line of more than 1 MiB is refused once, and the next ones arrive")
    func tooLong() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        let client = try writer.connect()
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: (1 << 20) + 1)
        try client.send(lines(0..<1))
        try client.send(long + [0x0A])
        try client.send(lines(1..<2))
        let all = client.answers(until: "{\"accepted\":2,\"refused\":1,\"durable\":3}")
        #expect(all.contains(#"{"refused":{"line":2,"reason":"line of more than 1048576 bytes"}}"#))
        #expect(all.last == "{\"accepted\":2,\"refused\":1,\"durable\":3}")
        #expect(writer.stop() == 0)
        #expect(try spool.numbers() == [0, 1])
    }

    @Test("a producer that ends its side still gets its answers; a line without its end is not taken")
    func halfClose() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        let client = try writer.connect()
        try client.send(lines(0..<2) + TestSpool.line(2))
        client.endInput()
        #expect(client.rest().last == "{\"accepted\":2,\"refused\":0,\"durable\":2}")
        #expect(writer.stop() == 0)
        #expect(try spool.numbers() == [0, 1])
    }

    @Test("a producer that goes away without a word loses nothing that it sent")
    func goesAway() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        do { try (try writer.connect()).send(lines(0..<50)) }
        usleep(50_000)
        #expect(writer.stop() == 0)
        #expect(try spool.numbers() == (0..<50).map { $0 })
    }

    @Test("a producer that closes without reading its answers loses no line that it sent")
    func deaf() throws {
        let spool = try TestSpool(["writer.chunk_age": "1ms"])
        let writer = try WriterProcess(spool)
        var next: UInt64 = 0
        for _ in 0..<30 {
            let client = try writer.connect()
            // Slowly at first, so that answers are on their way; then many at once, and gone.
            for _ in 0..<10 {
                try client.send(lines(next..<next + 1))
                next += 1
                usleep(1_000)
            }
            try client.send(lines(next..<next + 500))
            next += 500
        }
        usleep(100_000)
        #expect(writer.stop() == 0)
        #expect(try spool.numbers().sorted() == (0..<next).map { $0 })
    }

    @Test("a file that is no socket is not removed to make room for one")
    func otherFile() throws {
        let directory = TemporaryDirectory()
        let path = directory.file("precious")
        try Bytes.write([1, 2, 3], to: path)
        #expect(throws: IOFailure.self) { _ = try LocalSocket.listen(at: path) }
        #expect(try Bytes.read(path) == [1, 2, 3])
        let socket = directory.file("socket")
        let listener = try LocalSocket.listen(at: socket)
        #expect(throws: IOFailure.self) { _ = try LocalSocket.listen(at: socket) }
        close(listener)
        // Nobody listens any more, so this one may be replaced.
        close(try LocalSocket.listen(at: socket))
    }

    @Test("a name is one producer's at a time, and free again when it has gone")
    func nameTwice() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        let hello = "{\"client\":\"engine\",\"resume\":true}\n"
        do {
            let first = try writer.connect()
            try first.send(hello)
            #expect(first.answer() == #"{"client":"engine","durable":0}"#)
            let second = try writer.connect()
            try second.send(hello)
            #expect(second.rest() == [#"{"error":"client engine is connected already"}"#])
            try first.send(lines(0..<4))
            #expect(first.answers(until: "{\"accepted\":4,\"refused\":0,\"durable\":4}").count >= 1)
        }
        let third = try writer.connect()
        try third.send(hello)
        #expect(third.answer() == #"{"client":"engine","durable":4}"#)
        #expect(writer.stop() == 0)
    }

    @Test("a wrong introduction is answered and ends the connection")
    func wrongIntroduction() throws {
        let spool = try TestSpool()
        let writer = try WriterProcess(spool)
        for (line, answer) in [
            (#"{"client":""}"#, #"{"error":"client must be 1 to 121 printable ASCII characters without spaces"}"#),
            (#"{"client":"a","resume":1}"#, #"{"error":"\"resume\" must be true or false"}"#),
            (#"{"client":"a","other":true}"#, #"{"error":"after \"client\" only \"resume\" and \"from\" can follow"}"#),
        ] {
            let client = try writer.connect()
            try client.send(line + "\n" + lines(0..<1))
            #expect(client.rest() == [answer])
        }
        #expect(writer.stop() == 0)
    }

    @Test("killed at random moments under load, a resuming producer's lines are each there once", arguments: Seeds.take(3))
    func kills(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool()
        let settings = ["COLDPATH_WRITER_CHUNK_ROWS": "50", "COLDPATH_WRITER_CHUNK_AGE": "5ms", "COLDPATH_WRITER_SEGMENT_BYTES": "65536"]
        let total: UInt64 = 20_000
        var durable: UInt64 = 0
        var told: UInt64 = 0
        for round in 0..<30 where durable < total {
            let writer = try WriterProcess(spool, settings)
            let client = try writer.connect()
            try client.send("{\"client\":\"engine\",\"resume\":true}\n")
            let hello = try #require(client.answer())
            let position = try #require(UInt64(hello.split(separator: ":").last!.dropLast()))
            #expect(position >= durable, "round \(round): nothing is asked for that was acknowledged")
            told = position
            let end = round == 29 ? total : min(total, told + UInt64.random(in: 100...4_000, using: &random))
            try client.send(lines(told..<end))
            if end == total || random.oneIn(3) {
                let all = client.answers(until: "{\"accepted\":\(end - told),\"refused\":0,\"durable\":\(end)}")
                #expect(all.last?.hasSuffix("\"durable\":\(end)}") == true, "round \(round): \(all.suffix(2))")
                durable = end
            } else {
                usleep(UInt32.random(in: 0...8_000, using: &random))
            }
            writer.kill()
        }
        #expect(durable == total)
        _ = try spool.recover()
        #expect(try spool.numbers() == (0..<total).map { $0 }, "seed \(seed)")
        #expect(try spool.sequences() == (1...total).map { $0 }, "seed \(seed)")
    }
}
