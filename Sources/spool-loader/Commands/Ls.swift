import ArgumentParser
extension SpoolLoader { struct Ls: ParsableCommand {} }
