import Glibc

/// A thread beside the loop that does the work. It ends when its body does, and nobody waits for it.
public enum DetachedThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Begins one that takes no signals: those that end the process are for the loop, which stops in order.
    ///
    /// - Parameter what: what it is for, as an error says it.
    public static func begin(for what: String, _ body: @escaping @Sendable () -> Void) throws(IOFailure) {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        // The new thread inherits the mask.
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Body(body))
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            throw IOFailure("start a thread for", what, code)
        }
        pthread_detach(thread)
    }
}
