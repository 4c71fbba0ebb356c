// swift-tools-version: 6.1
import PackageDescription

// What `make bench` runs, apart from the product: nothing of it is built for anybody who does not measure. bench.py makes the generated
// sources first; see there.
let package = Package(
    name: "coldpath-benchmarks",
    dependencies: [.package(name: "coldpath", path: "..")],
    targets: [
        // The rows, the clock and the histogram that all programs share, and lz4 and memcpy as they are.
        .target(name: "CBench", linkerSettings: [.linkedLibrary("lz4")]),
        .executableTarget(
            name: "publish-c", dependencies: ["CBench", .product(name: "SpoolClient", package: "coldpath")],
            cSettings: [.unsafeFlags(["-O2"])]),
        .executableTarget(name: "publish-swift", dependencies: ["CBench", .product(name: "SpoolClient", package: "coldpath")]),
        .executableTarget(
            name: "publish-spdlog", dependencies: ["CBench"],
            cxxSettings: [.define("FMT_HEADER_ONLY"), .unsafeFlags(["-O2"])],
            linkerSettings: [.linkedLibrary("pthread"), .linkedLibrary("m")]),
        .executableTarget(name: "lz4-floor", dependencies: ["CBench", .product(name: "SpoolFormat", package: "coldpath")]),
        .executableTarget(name: "socket-load", dependencies: ["CBench"], cSettings: [.unsafeFlags(["-O2"])]),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)
