import Glibc
import SpoolTesting
import Testing

@testable import spool_loader

@Suite struct ProgressTests {
    private static let second: Int64 = 1_000_000_000

    private func text(
        _ rows: UInt64, _ all: UInt64, rate: Double? = 512_000, bytes: Double? = 38_150_000, label: String = "orders",
        growing: Bool = false,
        seconds: Double = 8
    ) -> ProgressText {
        var counts = ProgressCounts()
        (counts.rows, counts.allRows, counts.label, counts.isGrowing) = (rows, all, label, growing)
        return ProgressText(counts: counts, rowsPerSecond: rate, bytesPerSecond: bytes, seconds: seconds)
    }

    @Test("a line has bar, percent, rows, rates and the time that is left; a narrow terminal gets less of it")
    func lines() {
        let text = text(4_218_000, 9_800_000)
        #expect(
            text.line(width: 140)
                == "orders  [=================>                      ]  43%  4,218,000 of 9,800,000 rows  512,000 rows/s  38.2 MB/s  ETA 0:11"
        )
        #expect(
            text.line(width: 100) == "orders  [=======>          ]  43%  4,218,000 of 9,800,000 rows  512,000 rows/s  38.2 MB/s  ETA 0:11")
        #expect(text.line(width: 80) == "orders  [====>      ]  43%  4.2M of 9.8M rows  512k rows/s  38.2 MB/s  ETA 0:11")
        #expect(text.line(width: 72) == "orders  [======>       ]  43%  4.2M of 9.8M rows  512k rows/s  ETA 0:11")
        #expect(text.line(width: 60) == "orders  43%  4.2M of 9.8M rows  512k rows/s  ETA 0:11")
        #expect(text.line(width: 50) == "43%  4.2M of 9.8M rows  ETA 0:11")
        #expect(text.line(width: 30) == "43%  4.2M of 9.8M rows")
        #expect(text.line(width: 10) == "43%")
        #expect(text.line(width: 3) == "43")
    }

    @Test("elsewhere than on a terminal a line is a sentence")
    func plain() {
        #expect(text(4_218_000, 9_800_000).plain == "orders: 4,218,000 of 9,800,000 rows (43%), 512,000 rows/s, 38.2 MB/s, 0:11 left")
        #expect(text(10, 10, label: "").plain == "10 of 10 rows (100%), 512,000 rows/s, 38.2 MB/s, after 0:08")
    }

    @Test("what is not known is not made up: no rate at first, no end while a copy grows, never all before the last row")
    func unknown() {
        #expect(text(0, 10, rate: nil, bytes: nil).line(width: 80).hasSuffix("  0%  0 of 10 rows  - rows/s  - MB/s  ETA -"))
        #expect(text(5, 10, rate: 0).plain == "orders: 5 of 10 rows (50%), 0 rows/s, 38.2 MB/s")
        #expect(text(5, 10, growing: true).plain == "orders: 5 of 10 rows so far (50%), 512,000 rows/s, 38.2 MB/s")
        #expect(text(999_999, 1_000_000).plain.contains("(99%)"))
        #expect(text(0, 0).plain.hasPrefix("orders: 0 of 0 rows (100%)"))
        #expect(text(12, 10).plain.hasPrefix("orders: 12 of 10 rows (100%)"), "more than was thought")
    }

    @Test("no line is wider than the terminal, whatever the numbers", arguments: Seeds.take(20))
    func widths(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for width in 1...200 {
            let rows = random.next() >> UInt64.random(in: 0...63, using: &random)
            let text = text(
                rows, random.next() >> UInt64.random(in: 0...63, using: &random), rate: random.oneIn(4) ? nil : Double(rows),
                bytes: random.oneIn(4) ? nil : 1e18, label: random.pick(["", "orders", String(repeating: "t", count: 64)]),
                growing: random.oneIn(2), seconds: random.pick([0, 1e5, 1e300]))
            let line = text.line(width: width)
            #expect(line.count <= max(width - 1, 1), "\(line) in \(width)")
            #expect(!line.isEmpty)
        }
    }

    @Test(
        "times are clocks",
        arguments: [
            (0, "0:00"), (6.2, "0:07"), (59.5, "1:00"), (754, "12:34"), (3_723, "1:02:03"), (183_845, "2d 03:04:05"), (.infinity, "-"),
            (.nan, "-"),
        ] as [(Double, String)])
    func clocks(seconds: Double, text: String) { #expect(clockText(seconds) == text) }

    @Test(
        "large numbers are short on a narrow terminal",
        arguments: [
            (9_999, "9,999"), (10_000, "10.0k"), (99_949, "99.9k"), (99_950, "100k"), (999_499, "999k"), (999_500, "1.0M"),
            (12_345_678, "12.3M"), (.max, "18.4E"),
        ]
            as [(UInt64, String)])
    func shortNumbers(number: UInt64, text: String) {
        #expect(self.text(0, number, rate: nil).line(width: 60).contains("0 of \(text) rows"))
    }

    @Test func numbersAreGrouped() {
        #expect([0, 999, 1_000, 12_345, 1_234_567].map(grouped) == ["0", "999", "1,000", "12,345", "1,234,567"])
        #expect(grouped(.max) == "18,446,744,073,709,551,615")
    }

    @Test("an even rate is met from the start, however the batches fall, and a change is followed within seconds")
    func rates() throws {
        for step in [1, 2, 5, 20] as [Int64] {
            var meter = RateMeter()
            meter.add(0, now: 0)
            #expect(meter.perSecond(now: 0) == nil)
            for tenth in stride(from: step, through: 200, by: Int(step)) {
                meter.add(UInt64(step) * 100, now: tenth * Self.second / 10)
                #expect(abs(try #require(meter.perSecond(now: tenth * Self.second / 10)) - 1_000) < 1e-6, "steps of \(step)")
            }
            for tenth in stride(from: 200 + step, through: 500, by: Int(step)) { meter.add(0, now: tenth * Self.second / 10) }
            #expect(try #require(meter.perSecond(now: 50 * Self.second)) < 30)
        }
    }

    @Test("a stall shows although nothing is counted any more")
    func stall() throws {
        var meter = RateMeter()
        meter.add(0, now: 0)
        meter.add(1_000, now: Self.second)
        #expect(try #require(meter.perSecond(now: 30 * Self.second)) < 50)
    }

    // MARK: On a terminal

    /// A terminal of which the test is the screen.
    private final class Terminal {
        private let screen: Int32
        let line: Int32

        init(columns: UInt16) throws {
            // As posix_openpt, unlockpt and ptsname do it, which Swift does not see.
            screen = open("/dev/ptmx", O_RDWR | O_NOCTTY)
            var unlocked: Int32 = 0
            var number: Int32 = 0
            try #require(ioctl(screen, 0x4004_5431, &unlocked) == 0 && ioctl(screen, 0x8004_5430, &number) == 0)
            line = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
            try #require(line >= 0)
            var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
            try #require(ioctl(line, UInt(TIOCSWINSZ), &size) == 0)
            _ = fcntl(screen, F_SETFL, O_NONBLOCK)
        }

        deinit {
            close(line)
            close(screen)
        }

        /// What was shown since the last look.
        func shown() -> String {
            var all: [UInt8] = []
            var bytes = [UInt8](repeating: 0, count: 4_096)
            while case let count = read(screen, &bytes, bytes.count), count > 0 { all += bytes[..<count] }
            return String(decoding: all, as: UTF8.self)
        }
    }

    @Test("a terminal's line is drawn at once, then at most ten times a second, and ends with a newline")
    func redraws() throws {
        let terminal = try Terminal(columns: 60)
        let progress = Progress(screen: StatusLine(descriptor: terminal.line, kind: "xterm"), now: 0)
        for millisecond in 0..<Int64(1_000) {
            progress.update(now: millisecond * 1_000_000) {
                $0.allRows = 1_000
                $0.rows += 1
            }
        }
        let shown = terminal.shown()
        #expect(shown.split(separator: "\r").count == 10)
        #expect(!shown.contains("\n"))
        #expect(shown.hasPrefix("\r[>          ]  0%  1 of 1,000 rows  - rows/s"))
        progress.finish(now: Self.second)
        #expect(terminal.shown() == "\r[==========]  100%  1,000 of 1,000 rows  1,001 rows/s  0:01\u{1B}[K\r\n")
    }

    @Test("what is printed meanwhile stands above the line, which is erased first")
    func messages() throws {
        let terminal = try Terminal(columns: 60)
        let screen = StatusLine(descriptor: terminal.line, kind: "xterm")
        #expect(screen.isTerminal)
        #expect(screen.width == 60)
        screen.redraw("50%")
        screen.print("a message")
        screen.print("another")
        screen.end()
        #expect(terminal.shown() == "\r50%\u{1B}[K\r\u{1B}[Ka message\r\nanother\r\n")
        #expect(!StatusLine(descriptor: terminal.line, kind: "dumb").isTerminal)
    }

    @Test("a file gets a line every ten seconds and one at the end")
    func file() throws {
        let home = TemporaryDirectory()
        let file = open(home.file("log"), O_RDWR | O_CREAT, 0o600)
        defer { close(file) }
        let progress = Progress(screen: StatusLine(descriptor: file, kind: "xterm"), now: 0)
        for second in 1...Int64(25) {
            progress.update(now: second * Self.second) {
                $0.allRows = 100
                $0.rows += 2
            }
        }
        progress.finish(now: 26 * Self.second)
        let lines = try Bytes.text(home.file("log")).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.map { $0.prefix { $0 != "(" } } == ["20 of 100 rows ", "40 of 100 rows ", "50 of 100 rows ", ""])
    }
}
