import CCurl
import SpoolConfig

/// How connections are made: TLS and proxies. Certificates and host names are always checked; there is no setting to turn that off.
struct Transport {
    private var files: TLSFiles?
    private var minVersion = Int(CURL_SSLVERSION_TLSv1_2)
    private var proxy = ProxySetting.none

    /// The system's authorities, TLS 1.2 and later, no proxy.
    init() {}

    /// - Throws: if a file is not there, or is not what it should be.
    init(_ configuration: Configuration) throws(ConfigFailure) {
        files = try TLSFiles(configuration)
        proxy = configuration.proxy
        if configuration.required("loader.tls_min_version") == "1.3" { minVersion = Int(CURL_SSLVERSION_TLSv1_3) }
    }

    /// Sets the options of a transfer.
    func apply(to handle: UnsafeMutableRawPointer, socketPath: String?) {
        _ = cp_curl_set_long(handle, CURLOPT_SSL_VERIFYPEER, 1)
        _ = cp_curl_set_long(handle, CURLOPT_SSL_VERIFYHOST, 2)
        _ = cp_curl_set_long(handle, CURLOPT_SSLVERSION, minVersion)
        if let path = files?.authorities {
            set(handle, CURLOPT_CAINFO, path)
            // Those authorities alone: libcurl would else trust the system's as well.
            _ = cp_curl_set_pointer(handle, CURLOPT_CAPATH, nil)
        }
        if let path = files?.certificate { set(handle, CURLOPT_SSLCERT, path) }
        if let path = files?.key { set(handle, CURLOPT_SSLKEY, path) }
        if let socketPath {
            set(handle, CURLOPT_UNIX_SOCKET_PATH, socketPath)
            set(handle, CURLOPT_PROXY, "")
            return
        }
        // libcurl would take the environment's proxies by itself.
        switch proxy {
        case .environment: break
        case .none: set(handle, CURLOPT_PROXY, "")
        case .url(let url):
            set(handle, CURLOPT_PROXY, url)
            set(handle, CURLOPT_NOPROXY, "")
        }
        // The proxy's answer to CONNECT is not the server's.
        _ = cp_curl_set_long(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    }

    private func set(_ handle: UnsafeMutableRawPointer, _ option: CURLoption, _ text: String) {
        // libcurl copies it.
        text.withCString { _ = cp_curl_set_pointer(handle, option, $0) }
    }
}

/// What kept a request from coming through, in a line, with what to do where that can be told.
struct ConnectionProblem: CustomStringConvertible {
    let description: String
    /// Whether it says what to do.
    let isAdvised: Bool

    /// - Parameters:
    ///   - detail: what libcurl says exactly; may be empty.
    ///   - verified: OpenSSL's result of checking the server's certificate, 0 if nothing was wrong.
    init(code: CURLcode, detail: String, verified: Int) {
        let general = String(cString: curl_easy_strerror(code))
        let text = detail.isEmpty ? general : String(detail.prefix { !$0.isNewline })
        let advice = Self.advice(code, text, verified)
        isAdvised = advice != nil
        description = advice.map { "\(text); \($0)" } ?? text
    }

    private static func advice(_ code: CURLcode, _ text: String, _ verified: Int) -> String? {
        if code == CURLE_PEER_FAILED_VERIFICATION {
            // libcurl compares names itself, after OpenSSL has found nothing wrong.
            if text.contains("target host name") { return "use a name in loader.url that the server's certificate has" }
            switch verified {
            case 9, 10: return "the server needs a certificate that is valid now, or this host's clock is wrong"
            case 2, 18, 19, 20, 21: return "if the server is right, put the certificate of its authority into loader.ca_file"
            case 62, 64: return "use a name in loader.url that the server's certificate has"
            default: return nil
            }
        }
        if code == CURLE_SSL_CACERT_BADFILE { return "see loader.ca_file" }
        if code == CURLE_SSL_CERTPROBLEM { return "see loader.client_certificate and loader.client_key: they must belong together" }
        if text.contains("wrong version number") || text.contains("packet length too long") {
            return "there seems to be no TLS at this port; is http:// meant?"
        }
        if text.contains("protocol version") || text.contains("unsupported protocol") {
            return "the server and loader.tls_min_version have no version of TLS in common"
        }
        if text.contains("certificate required") || text.contains("handshake failure") {
            return "the server may want a client certificate: loader.client_certificate"
        }
        if text.contains("unknown ca") || text.contains("bad certificate") || text.contains("certificate unknown") {
            return "the server does not trust loader.client_certificate"
        }
        return nil
    }
}
