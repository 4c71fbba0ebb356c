import ArgumentParser
extension SpoolLoader { struct Audit: ParsableCommand {} }
