/// What came of a request that brought neither success nor an error of ClickHouse.
enum Outcome: String, CaseIterable, Sendable {
    // No request reached a server.
    case refused, unresolved, url, tls, handshake
    // The connection broke, or what came was no whole answer.
    case closed, cut, timeout, misplaced, noHTTP, noEnd, overlong, compressed, unreadableBody
    // Success by its status, and yet none.
    case text200 = "200 with text"
    case other2xx = "2xx"
    // Statuses.
    case redirect = "3xx"
    case badRequest = "400"
    case unauthorized = "401"
    case forbidden = "403"
    case notFound = "404"
    case proxyLogin = "407"
    case requestTimeout = "408"
    case lengthRequired = "411"
    case tooLarge = "413"
    case tooManyRequests = "429"
    case other4xx = "4xx"
    case serverError = "500"
    case notImplemented = "501"
    case badGateway = "502"
    case unavailable = "503"
    case gatewayTimeout = "504"
    case noSpace = "507"
    case networkLogin = "511"
    case other5xx = "5xx"
    case noStatus = "other status"

    /// The outcome of an answer with this status.
    init(status: Int) {
        if let exact = Outcome(rawValue: String(status)) {
            self = exact
            return
        }
        switch status {
        case 200: self = .text200
        case 201..<300: self = .other2xx
        case 300..<400: self = .redirect
        // Too early, and a client that gave up waiting: both pass.
        case 425, 499: self = .requestTimeout
        case 400..<500: self = .other4xx
        // A version of HTTP that the server does not speak.
        case 505: self = .notImplemented
        case 500..<600: self = .other5xx
        default: self = .noStatus
        }
    }

    /// What the loader does.
    var reaction: Reaction {
        switch self {
        case .closed, .cut, .misplaced: .retryNow
        case .url, .tls, .redirect, .badRequest, .unauthorized, .forbidden, .notFound, .proxyLogin, .lengthRequired, .tooLarge,
            .other4xx, .notImplemented, .networkLogin:
            .configuration
        case .refused, .unresolved, .handshake, .timeout, .noHTTP, .noEnd, .overlong, .compressed, .unreadableBody, .text200, .other2xx,
            .requestTimeout, .tooManyRequests, .serverError, .badGateway, .unavailable, .gatewayTimeout, .noSpace, .other5xx, .noStatus:
            .backOff
        }
    }

    /// Whether a person should know at once, rather than when the lag grows.
    var alarms: Bool {
        switch self {
        case .unresolved, .handshake, .misplaced, .noHTTP, .noEnd, .overlong, .compressed, .unreadableBody, .text200, .other2xx, .noSpace,
            .noStatus:
            true
        default: reaction == .configuration
        }
    }

    /// What was seen.
    var meaning: String {
        switch self {
        case .refused: "nobody listens at the address, or it cannot be reached"
        case .unresolved: "the host's name is not known"
        case .url: "the address cannot be used"
        case .tls: "TLS does not come about, and will not by itself: a certificate, a version, the port"
        case .handshake: "the connection ended while TLS was set up"
        case .closed: "the connection ended before an answer came"
        case .cut: "the answer is cut short"
        case .timeout: "no whole answer within loader.timeout"
        case .misplaced: "an answer that came too early, or belongs to another request by its query id"
        case .noHTTP: "the answer is not HTTP, or HTTP/0.9"
        case .noEnd: "an answer that does not say where it ends, or ends elsewhere"
        case .overlong: "an answer or a head that is too long"
        case .compressed: "an answer that is compressed, which was not asked for"
        case .unreadableBody: "the request's body could not be read from the spool"
        case .text200: "status 200, and text where there should be none"
        case .other2xx: "a success that ClickHouse does not use"
        case .redirect: "a redirect: never followed, since rows are only sent where they are meant to go"
        case .badRequest: "the request is refused as malformed"
        case .unauthorized, .forbidden: "refused before ClickHouse, or by it"
        case .notFound: "something answers, but is no ClickHouse"
        case .proxyLogin: "a proxy wants credentials"
        case .requestTimeout: "the request took too long to arrive; also 425, 499"
        case .lengthRequired: "the request's length got lost"
        case .tooLarge: "the request is larger than a proxy takes"
        case .tooManyRequests: "too many requests for what stands before ClickHouse"
        case .other4xx: "refused by something before ClickHouse"
        case .serverError: "an error without ClickHouse's text"
        case .notImplemented: "a proxy that does not know this kind of request; also 505"
        case .badGateway: "a proxy that does not reach ClickHouse"
        case .unavailable: "busy, starting or in maintenance"
        case .gatewayTimeout: "a proxy that has waited too long for ClickHouse"
        case .noSpace: "a proxy without room for the request"
        case .networkLogin: "the network wants a login"
        case .other5xx: "an error of something before ClickHouse"
        case .noStatus: "a status that HTTP does not have"
        }
    }

    /// What a person can do.
    var advice: String {
        switch self {
        case .refused: "start ClickHouse; if it runs, mend loader.url or the firewall"
        case .unresolved: "mend the host in loader.url, or the name server"
        case .url: "set loader.url to http://HOST:PORT or https://HOST:PORT"
        case .tls: "do what the text says: certificate, loader.ca_file, the name or the port in loader.url"
        case .handshake: "see whether loader.url has the right port, and https only where TLS is spoken"
        case .closed, .cut: "nothing at first; if it lasts, look at ClickHouse's log and at the proxy between"
        case .timeout: "nothing at first; if it lasts, raise loader.timeout or lower loader.batch_rows"
        case .noHTTP: "set loader.url to ClickHouse's HTTP port, usually 8123"
        case .misplaced, .noEnd, .overlong, .compressed, .text200, .other2xx, .noStatus: "see what stands between the loader and ClickHouse"
        case .unreadableBody: "look at the spool's disk; run `spool-loader verify`"
        case .redirect: "set loader.url to the address that answers itself"
        case .badRequest: "see whether loader.url is ClickHouse's HTTP port, and what the proxy between refuses"
        case .unauthorized, .forbidden: "mend user and password (loader.user, loader.password_file), or the proxy between"
        case .notFound: "set loader.url to ClickHouse's http://HOST:PORT, without a path"
        case .proxyLogin: "set loader.proxy to \"none\", or reach ClickHouse without that proxy"
        case .requestTimeout, .tooManyRequests, .serverError, .badGateway, .unavailable, .gatewayTimeout, .other5xx:
            "nothing at first; if it lasts, look at ClickHouse and at the proxy between"
        case .lengthRequired, .notImplemented, .other4xx: "mend the proxy between"
        case .tooLarge: "raise the proxy's limit (nginx: client_max_body_size), or lower loader.batch_bytes"
        case .noSpace: "make room where the proxy keeps requests"
        case .networkLogin: "log in to the network"
        }
    }
}
