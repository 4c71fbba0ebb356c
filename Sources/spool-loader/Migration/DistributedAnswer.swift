/// What the hosts of a cluster answered to a statement `ON CLUSTER`: a status of 200 says nothing, each host has a line of its own.
struct DistributedAnswer: Equatable {
    struct Failure: Equatable {
        let host: String
        let error: String
    }

    var done: [String] = []
    var failed: [Failure] = []
    /// Hosts that have not answered in time. The statement stays in their queue.
    var unfinished: [String] = []

    /// Asks for a line a host also where one failed or is late.
    static let settings = ["distributed_ddl_output_mode": "never_throw", "default_format": "TSVWithNames"]

    /// Reads the answer: columns `host`, `port`, `status` (null while it is not known), `error`, in TSV with names.
    ///
    /// - Throws: `CommandFailure` if it is none.
    init(_ answer: [UInt8]) throws(CommandFailure) {
        let text = String(decoding: answer, as: UTF8.self)
        let lines = text.split(separator: "\n").map { $0.split(separator: "\t", omittingEmptySubsequences: false) }
        guard let titles = lines.first, let host = titles.firstIndex(of: "host"), let port = titles.firstIndex(of: "port"),
            let status = titles.firstIndex(of: "status"), let error = titles.firstIndex(of: "error"), lines.count > 1
        else {
            throw CommandFailure(
                "ClickHouse's answer to a statement ON CLUSTER names no host, so nobody knows where it was done: \(text.prefix(200))",
                code: 74)
        }
        for line in lines.dropFirst() {
            guard line.count == titles.count else {
                throw CommandFailure("a line of ClickHouse's answer ON CLUSTER is cut: \(line)", code: 74)
            }
            let name = "\(line[host]):\(line[port])"
            let problem = String(line[error])
            if line[status] == "\\N" {
                unfinished.append(name)
            } else if line[status] != "0" || !(problem.isEmpty || problem == "\\N") {
                failed.append(Failure(host: name, error: problem.isEmpty ? "status \(line[status])" : problem))
            } else {
                done.append(name)
            }
        }
    }

    /// What is wrong; nil if every host has done it.
    var problem: String? {
        guard !failed.isEmpty || !unfinished.isEmpty else { return nil }
        var parts = failed.map { "\($0.host) failed: \($0.error)" }
        if !unfinished.isEmpty {
            parts.append("\(unfinished.joined(separator: ", ")) did not answer in time; the statement waits in their queue")
        }
        if !done.isEmpty { parts.append("\(done.joined(separator: ", ")) did it") }
        return parts.joined(separator: "; ") + "; run the same command again once that is mended: it goes on with this statement"
    }
}
