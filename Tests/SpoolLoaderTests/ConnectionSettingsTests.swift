import Glibc
import SpoolConfig
import SpoolIO
import SpoolTesting
import Synchronization
import Testing

@testable import spool_loader

/// Addresses, credentials and files as they are configured: what is wrong is said, and no secret with it.
@Suite struct ConnectionSettingsTests {
    private func complaint(_ flags: [String: String], environment: [String: String] = [:]) -> String? {
        do {
            let settings = try Configuration(file: nil, environment: environment, flags: flags)
            _ = try ClickHouse(configuration: settings, http: HTTPClient())
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test(
        arguments: [
            ("http://host:8123", "http://host:8123", nil), ("https://host/", "https://host", nil),
            ("http://[::1]:8123/x//", "http://[::1]:8123/x", nil),
            ("unix:///run/clickhouse.sock", "http://localhost", "/run/clickhouse.sock"),
        ] as [(String, String, String?)])
    func addressesAreTaken(text: String, base: String, socket: String?) throws {
        let address = try #require(ServerAddress(text))
        #expect(address.base == base && address.socketPath == socket)
        #expect(complaint(["loader.url": text]) == nil)
    }

    @Test(arguments: [
        "", ",", "host:8123", "ftp://host", "http://", "http://:8123", "http:///x", "http://host:0", "http://host:65536", "http://host:x",
        "http://host:", "http://host?x", "http://host#x", "http://ho\nst", "http://höst", "http://[::1", "unix://run/x", "unix:///",
        "unix:///x/",
        "unix:///" + String(repeating: "x", count: 120), "HTTP://host",
    ])
    func otherTextsAreRefused(text: String) {
        #expect(complaint(["loader.url": text])?.hasPrefix("flag: loader.url: ") == true)
    }

    @Test(arguments: [
        "http://user:s3cret@host:8123", "http://user:s3,cret@host:8123", "http://host:8123,https://user:s3cret@host", "user:s3cret@host",
        "http://user:s3?cret@host", "unix://user:s3cret@/run/x",
    ])
    func aPasswordInAnAddressIsRefusedAndNotRepeated(text: String) throws {
        let words = try #require(complaint(["loader.url": text]))
        #expect(words.contains("loader.password_file") && !words.contains("s3") && !words.contains("cret"))
        let home = TemporaryDirectory()
        try Bytes.write(Array("[loader]\nurl = \"\(text)\"\n".utf8), to: home.file("x.toml"))
        do {
            _ = try Configuration(file: home.file("x.toml"), environment: [:])
            Issue.record("taken")
        } catch {
            // The directory's name is drawn by lot, and may hold anything.
            let words = "\(error)".replacing(home.path, with: "HOME")
            #expect(!words.contains("s3") && !words.contains("cret") && words.contains("HOME/x.toml: loader.url"), "\(words)")
        }
    }

    @Test func aProxysAddressIsCheckedAndHoldsNoPassword() throws {
        for good in ["none", "environment", "http://proxy:3128", "https://proxy", "socks5h://proxy:1080", "socks5://proxy:1080"] {
            #expect(complaint(["loader.proxy": good]) == nil, "\(good)")
        }
        for bad in ["", "proxy:3128", "socks4://proxy", "http://", "http://proxy:x", "unix:///x"] {
            #expect(complaint(["loader.proxy": bad])?.hasPrefix("flag: loader.proxy: ") == true, "\(bad)")
        }
        let words = try #require(complaint(["loader.proxy": "http://user:s3cret@proxy:3128"]))
        #expect(!words.contains("s3cret"))
    }

    // MARK: Passwords

    private func header(_ flags: [String: String], environment: [String: String] = [:]) throws -> String? {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let flags = flags.merging(["loader.url": server.url]) { $1 }
        let client = try ClickHouse(configuration: Configuration(file: nil, environment: environment, flags: flags), http: HTTPClient())
        #expect(client.insert().kind == .ok)
        let request = try #require(server.requests.first)
        #expect(request.headers["x-clickhouse-user"] == "default" && request.headers["accept-encoding"] == nil)
        return request.headers["x-clickhouse-key"]
    }

    @Test func aPasswordComesFromWhereItIsSaidToComeFrom() throws {
        let home = TemporaryDirectory()
        try Bytes.write(Array("from a file\n".utf8), to: home.file("password"))
        try Bytes.write(Array("from systemd\n".utf8), to: home.file("clickhouse-password"))
        let file = ["loader.password_file": home.file("password")]
        let systemd = ["CREDENTIALS_DIRECTORY": home.path]
        let given = ["COLDPATH_LOADER_PASSWORD": "from the environment"]
        #expect(try header([:]) == nil)
        #expect(try header([:], environment: ["CREDENTIALS_DIRECTORY": "/nowhere"]) == nil)
        #expect(try header([:], environment: systemd) == "from systemd")
        #expect(try header(file, environment: systemd) == "from a file")
        #expect(try header([:], environment: given.merging(systemd) { $1 }) == "from the environment")
        #expect(try header(file, environment: given) == "from a file", "a flag comes first")
        #expect(try header([:], environment: ["COLDPATH_LOADER_PASSWORD_FILE": home.file("password")]) == "from a file")
        let both = given.merging(["COLDPATH_LOADER_PASSWORD_FILE": home.file("password")]) { $1 }
        #expect(complaint([:], environment: both)?.contains("are both set") == true)
    }

    @Test(arguments: [
        ("x\n", "x"), ("x", "x"), ("x\r\n", "x"), ("x\nsecond line\n", "x"), ("a b:c\"d\\e%41é", "a b:c\"d\\e%41é"),
        ("x\u{85}y\n", "x\u{85}y"),
    ])
    func theFirstLineOfAFileIsThePasswordWithoutItsEnd(text: String, password: String) throws {
        let home = TemporaryDirectory()
        try Bytes.write(Array(text.utf8), to: home.file("password"))
        let settings = try configuration(["loader.password_file": home.file("password")])
        #expect(try PasswordSource(settings).password() == password)
    }

    @Test(arguments: [
        ("", "empty"), ("\n", "empty"), ("\r\n", "empty"), ("\nx\n", "empty"), ("s3cret\rX-Evil: 1\n", "cannot be sent"),
        (" s3cret", "cannot be sent"),
        ("s3cret ", "cannot be sent"), ("s3\0cret", "cannot be sent"), ("s3\tcret", "cannot be sent"),
        (String(repeating: "s3cret", count: 1_000), "more than 4096 bytes"),
    ])
    func aPasswordThatCannotBeSentAsItIsIsRefusedAndNotRepeated(text: String, reason: String) throws {
        let home = TemporaryDirectory()
        try Bytes.write(Array(text.utf8), to: home.file("password"))
        let words = try #require(complaint(["loader.password_file": home.file("password")]))
        #expect(words.contains(reason) && words.contains(home.file("password")), "\(words)")
        // The directory's name is drawn by lot, and may hold anything.
        let said = words.replacing(home.path, with: "HOME")
        #expect(!said.contains("s3") && !said.contains("cret"), "\(words)")
        if !text.contains("\n"), !text.contains("\0") {
            let words = complaint([:], environment: ["COLDPATH_LOADER_PASSWORD": text])
            #expect(words?.contains("COLDPATH_LOADER_PASSWORD") == true && words?.contains("s3") == false)
        }
    }

    @Test func bytesThatAreNoUTF8AreRefusedAsAPassword() throws {
        let home = TemporaryDirectory()
        try Bytes.write([0x61, 0xFF, 0x62], to: home.file("password"))
        #expect(complaint(["loader.password_file": home.file("password")])?.contains("no UTF-8") == true)
    }

    @Test(arguments: ["", " x", "x ", "x\r\nX-Evil: 1", "x\0"])
    func aUserThatWouldBreakOutOfItsHeaderIsRefused(user: String) {
        #expect(complaint(["loader.user": user])?.hasPrefix("loader.user: ") == true)
    }

    @Test func aPasswordDoesNotBelongIntoTheConfigurationFile() throws {
        let home = TemporaryDirectory()
        try Bytes.write(Array("[loader]\npassword = \"s3cret\"\n".utf8), to: home.file("x.toml"))
        do {
            _ = try Configuration(file: home.file("x.toml"), environment: [:])
            Issue.record("taken")
        } catch {
            #expect("\(error)".contains("loader.password_file") && !"\(error)".contains("s3cret"))
        }
    }

    @Test func theListingOfSettingsDoesNotShowThePassword() throws {
        let settings = try Configuration(file: nil, environment: ["COLDPATH_LOADER_PASSWORD": "s3cret"])
        let line = try #require(settings.listing.first { $0.key == "loader.password" })
        #expect(line.value == "(not shown)" && line.origin == .environment("COLDPATH_LOADER_PASSWORD"))
        #expect(!settings.listing.contains { $0.value.contains("s3cret") })
    }

    @Test func aPasswordFileThatEverybodyReadsIsWarnedOf() throws {
        let home = TemporaryDirectory()
        try Bytes.write(Array("x\n".utf8), to: home.file("password"))
        let settings = try configuration(["loader.password_file": home.file("password")])
        chmod(home.file("password"), 0o604)
        #expect(try settings.checkConnection().first?.contains("can be read by every user") == true)
        chmod(home.file("password"), 0o640)
        #expect(try settings.checkConnection().isEmpty)
    }

    @Test func aPasswordThatWasChangedOnDiskIsTakenAfterARefusal() throws {
        let home = TemporaryDirectory()
        let right = Mutex("old")
        let server = RawServer { request in
            request.headers["x-clickhouse-key"] == right.withLock { $0 } ? .ok() : .exception(516, status: 403)
        }
        defer { server.stop() }
        try Bytes.write(Array("old\n".utf8), to: home.file("password"))
        let settings = try configuration(["loader.url": server.url, "loader.password_file": home.file("password")])
        let client = try ClickHouse(configuration: settings, http: HTTPClient())
        #expect(client.insert().kind == .ok)
        right.withLock { $0 = "new" }
        try Bytes.write(Array("new\n".utf8), to: home.file("password"))
        #expect(client.insert().kind == .exception(516))
        #expect(client.insert().kind == .ok)
        // Gone for a moment: the one that is known stays in use.
        unlink(home.file("password"))
        right.withLock { $0 = "newer" }
        #expect(client.insert().kind == .exception(516))
        right.withLock { $0 = "new" }
        #expect(client.insert().kind == .ok)
    }

    // MARK: Files for TLS

    @Test func filesForTLSThatAreNotThereAreNamedWithTheirKey() throws {
        for key in ["loader.ca_file", "loader.client_certificate", "loader.password_file"] {
            #expect(complaint([key: "/nowhere/x.pem"]) == "\(key): there is no file /nowhere/x.pem")
        }
        let home = TemporaryDirectory()
        try Bytes.write(Array("-----BEGIN CERTIFICATE-----\n".utf8), to: home.file("certificate.pem"))
        try Bytes.write(Array("-----BEGIN ENCRYPTED PRIVATE KEY-----\n".utf8), to: home.file("locked.pem"))
        let certificate = ["loader.client_certificate": home.file("certificate.pem")]
        #expect(
            complaint(certificate.merging(["loader.client_key": "/nowhere/key.pem"]) { $1 })
                == "loader.client_key: there is no file /nowhere/key.pem")
        #expect(
            complaint(certificate)?.hasPrefix("loader.client_key: \(home.file("certificate.pem")) has no line with PRIVATE KEY") == true)
        #expect(complaint(certificate.merging(["loader.client_key": home.file("locked.pem")]) { $1 })?.contains("encrypted key") == true)
        #expect(complaint(["loader.client_key": home.file("locked.pem")])?.contains("loader.client_certificate is not") == true)
        #expect(complaint(["loader.ca_file": home.file("locked.pem")])?.contains("expected a PEM file") == true)
        #expect(complaint(["loader.ca_file": home.path])?.hasPrefix("loader.ca_file: ") == true)
        #expect(complaint(["loader.tls_min_version": "1.1"])?.contains("1.2, 1.3") == true)
    }
}

/// Several servers, as the loader's requests meet them.
@Suite struct SeveralServersTests {
    private func client(_ servers: [RawServer], _ more: [String: String] = [:]) throws -> ClickHouse {
        let flags = ["loader.url": servers.map(\.url).joined(separator: ","), "loader.timeout": "2s", "loader.settle": "100ms"]
        return try ClickHouse(configuration: configuration(flags.merging(more) { $1 }), http: HTTPClient())
    }

    @Test(arguments: [
        (RawServer.Reply.close, true), (.reset, true), (.answer(502), true), (.answer(503), true), (.answer(504), true),
        (.answer(500), true),
        (.exception(242), true), (.exception(243), true), (.exception(241), true), (.raw("garbage\r\n"), true), (.hang, true),
        (.exception(60, status: 404), false), (.exception(516, status: 403), false), (.answer(401), false), (.answer(413), false),
        (.exception(252), false), (.ok("text"), false),
    ])
    func whatAnotherServerMayDoBetterMovesOn(reply: RawServer.Reply, moves: Bool) throws {
        let (first, second) = (RawServer { _ in reply }, RawServer { _ in .ok() })
        defer { for server in [first, second] { server.stop() } }
        let client = try client([first, second])
        #expect(client.url == first.url)
        #expect(client.insert().kind != .ok)
        #expect(client.url == (moves ? second.url : first.url))
        if moves { #expect(client.insert().kind == .ok) }
    }

    @Test func whileAnAnswerIsHandedOutTheServerThatGaveItIsNamed() throws {
        let (first, second) = (RawServer { _ in .close }, RawServer { _ in .ok() })
        defer { for server in [first, second] { server.stop() } }
        let client = try client([first, second])
        var named: String?
        client.query("SELECT 1") { _ in named = client.url }
        while named == nil { client.http.wait(milliseconds: 10) }
        #expect(named == first.url && client.url == second.url)
    }

    @Test func aPreferredServerIsAskedAndUsedAgain() throws {
        let isBroken = Mutex(true)
        let first = RawServer { request in
            isBroken.withLock { $0 } ? .close : request.target == "/ping" ? .ok("Ok.\n") : .ok()
        }
        let second = RawServer { _ in .ok() }
        defer { for server in [first, second] { server.stop() } }
        let client = try client([first, second])
        #expect(client.insert().kind == .doubt)
        for _ in 0..<50 {
            client.tend(now: Clock.monotonic())
            client.http.wait(milliseconds: 10)
        }
        #expect(client.url == second.url && first.requests.contains { $0.target == "/ping" })
        isBroken.withLock { $0 = false }
        for _ in 0..<2_000 where client.url != first.url {
            client.tend(now: Clock.monotonic())
            client.http.wait(milliseconds: 10)
        }
        #expect(client.url == first.url && client.nextTending == nil)
        #expect(client.insert().kind == .ok)
        #expect(!second.requests.contains { $0.target == "/ping" }, "only preferred servers are asked")
        let ping = try #require(first.requests.first { $0.target == "/ping" })
        #expect(ping.headers["x-clickhouse-user"] == nil && ping.headers["x-clickhouse-key"] == nil)
    }

    @Test func oneServerIsNeverAsked() throws {
        let server = RawServer { _ in .close }
        defer { server.stop() }
        let client = try client([server])
        for _ in 0..<3 {
            #expect(client.insert().kind == .doubt)
            client.tend(now: Clock.monotonic())
            client.http.wait(milliseconds: 1)
        }
        #expect(client.nextTending == nil && !server.requests.contains { $0.target == "/ping" })
    }

    @Test func commandsPassOverServersThatCannotBeReached() throws {
        let (gone, there) = (RawServer { _ in .ok() }, RawServer { _ in .ok("1\n") })
        gone.stop()
        defer { there.stop() }
        #expect(try client([gone, there]).query("SELECT 1") == Array("1\n".utf8))
        #expect(throws: CommandFailure.self) { try client([gone]).query("SELECT 1") }
    }

    @Test func severalServersWithTablesThatTheyDoNotShareAreWarnedOfOnce() throws {
        let servers = [RawServer { _ in .ok() }, RawServer { _ in .ok() }]
        defer { for server in servers { server.stop() } }
        let client = try client(servers)
        #expect(client.sharingWarning(engine: "ReplicatedMergeTree") == nil && client.sharingWarning(engine: "SharedMergeTree") == nil)
        #expect(client.sharingWarning(engine: "MergeTree")?.contains("name one server only") == true)
        #expect(client.sharingWarning(engine: "MergeTree") == nil)
        #expect(try self.client([servers[0]]).sharingWarning(engine: "MergeTree") == nil)
    }

    @Test func anUploadThatMovesSlowlyOutlivesTheTimeoutAndSilenceDoesNot() throws {
        // Small pieces, some time apart: in all longer than the timeout, which no single pause is.
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let client = try client([server], ["loader.timeout": "1s"])
        struct Slow: RequestBody {
            let count = 100_000
            func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
                usleep(250_000)
                let taken = min(10_000, count - offset, room.count)
                for index in 0..<taken { room[index] = 7 }
                return taken
            }
        }
        var answer: ServerAnswer?
        client.insert(Slow(), table: "t", columns: [], token: "t") { answer = $0 }
        while answer == nil { client.http.wait(milliseconds: 100) }
        #expect(answer?.kind == .ok)
        #expect(server.requests.last?.body.count == 100_000)
    }

    @Test func aBodyThatCannotBeReadIsNotTheServersFault() throws {
        struct Broken: RequestBody {
            struct Gone: Error {}
            let count = 1_000
            func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) throws -> Int { throw Gone() }
        }
        let servers = [RawServer { _ in .ok() }, RawServer { _ in .ok() }]
        defer { for server in servers { server.stop() } }
        let client = try client(servers)
        var answer: ServerAnswer?
        client.insert(Broken(), table: "t", columns: [], token: "t") { answer = $0 }
        while answer == nil { client.http.wait(milliseconds: 100) }
        #expect(answer?.kind == .doubt && client.url == servers[0].url)
    }
}
