import ArgumentParser
extension SpoolLoader { struct Cat: ParsableCommand {} }
