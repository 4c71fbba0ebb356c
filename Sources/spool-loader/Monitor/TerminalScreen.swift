import CSystem
import Glibc
import SpoolIO

/// The whole terminal, redrawn in place, and its keys. It is as it was before when this is gone.
final class TerminalScreen {
    private var before = termios()

    /// - Throws: `CommandFailure` if standard input or output is no terminal.
    init() throws {
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1 else {
            throw CommandFailure("top needs a terminal; `spool-loader status` prints the same once", code: 64)
        }
        guard tcgetattr(STDIN_FILENO, &before) == 0 else { throw IOFailure("tcgetattr", "standard input", errno) }
        var raw = before
        // Keys one by one and unseen; ^C stays a signal.
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
        tcsetattr(STDIN_FILENO, TCSANOW, &raw)
        // The other screen, without a cursor.
        put("\u{1B}[?1049h\u{1B}[?25l")
    }

    deinit {
        put("\u{1B}[?25h\u{1B}[?1049l")
        tcsetattr(STDIN_FILENO, TCSANOW, &before)
    }

    /// Characters and lines, as they are now.
    var size: (width: Int, height: Int) { terminalSize(of: STDOUT_FILENO) }

    /// In one write, each line overwritten and only what is left of it erased: nothing flickers.
    func draw(_ lines: [String]) {
        let height = size.height
        put("\u{1B}[H" + lines.prefix(height).map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
    }

    /// Waits for a key, or until something else happens.
    ///
    /// - Returns: the key's byte; nil if none came.
    func key(within nanoseconds: Int64, or descriptors: [Int32]) -> UInt8? {
        var polled = ([STDIN_FILENO] + descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        _ = cp_poll(&polled, polled.count, max(0, nanoseconds))
        guard polled[0].revents != 0 else { return nil }
        var byte: UInt8 = 0
        // A terminal that went away ends it like the key that quits.
        return read(STDIN_FILENO, &byte, 1) == 1 ? byte : UInt8(ascii: "q")
    }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress.unsafelyUnwrapped + done, $0.count - done) }
            guard count > 0 || errno == EINTR else { return }
            done += max(count, 0)
        }
    }
}

/// Characters in a line and lines of a terminal; 80 and 24 where it does not say.
func terminalSize(of descriptor: Int32) -> (width: Int, height: Int) {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 else { return (80, 24) }
    return (size.ws_col > 0 ? Int(size.ws_col) : 80, size.ws_row > 0 ? Int(size.ws_row) : 24)
}
