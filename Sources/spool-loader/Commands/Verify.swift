import ArgumentParser
extension SpoolLoader { struct Verify: ParsableCommand {} }
