// swift-tools-version: 6.1
import PackageDescription

// Warnings are errors in our own targets; dependencies keep their own settings.
let strict: [SwiftSetting] = [
    .unsafeFlags(["-warnings-as-errors"]),
    // Only what a file imports is seen in it: through a dependency's import `text.contains("@")` once was Foundation's, and brought 44 MB of ICU.
    .enableUpcomingFeature("MemberImportVisibility"),
    // Exclusivity is checked at compile time and, in debug builds and tests, at run time; the hot loops are too hot for it.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

// A release carries Swift's standard library: identical functions once, and no symbols for others to link against (half a megabyte).
let small: [LinkerSetting] = [
    .unsafeFlags(["-Xlinker", "--icf=safe", "-Xlinker", "--no-export-dynamic"], .when(configuration: .release))
]

// For scripts/fuzz alone: one program with libFuzzer's main, and the two programs as libraries beneath it.
let isFuzzing = Context.environment["COLDPATH_FUZZ"] != nil

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    guard isFuzzing else {
        return .executableTarget(name: name, dependencies: dependencies, swiftSettings: strict, linkerSettings: small)
    }
    let entry = "\(name.split(separator: "-").joined(separator: "_"))_main"
    return .target(
        name: name, dependencies: dependencies,
        swiftSettings: strict + [.unsafeFlags(["-Xfrontend", "-entry-point-function-name", "-Xfrontend", entry])])
}

let programs: [Product] = ["spool-writer", "spool-loader"].map { .executable(name: $0, targets: [$0]) }

let package = Package(
    name: "coldpath",
    products: (isFuzzing ? [] : programs) + [
        .library(name: "SpoolFormat", targets: ["SpoolFormat"]),
        .library(name: "SpoolClient", targets: ["SpoolClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: [
        // C libraries, as Debian ships them.
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        // What Swift cannot reach by itself: CRC-32C instructions, XXH32 (libxxhash's header, nothing to link) and a few Linux calls.
        .target(name: "CSystem"),
        // The shared-memory ring between a trading thread and the writer: its layout and the producer's side, one C header.
        .target(name: "CSpoolRing"),
        // For Swift producers. No unsafe flags: SwiftPM refuses packages that depend on a product that has them.
        .target(name: "SpoolClient", dependencies: ["CSpoolRing"]),

        // Arrows point only down: commands -> SpoolIO -> SpoolFormat.
        .target(name: "SpoolFormat", dependencies: ["CLZ4", "CSystem"], swiftSettings: strict),
        .target(name: "SpoolIO", dependencies: ["SpoolFormat", "CSystem"], swiftSettings: strict),
        // The writer's side of a ring: mapping it without trusting it, and its rows into columns.
        .target(name: "SpoolRing", dependencies: ["CSpoolRing", "CSystem", "SpoolFormat", "SpoolIO"], swiftSettings: strict),
        .target(
            name: "SpoolConfig",
            dependencies: [
                "SpoolFormat", "SpoolIO", .product(name: "TOMLKit", package: "TOMLKit"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        // What both processes say of themselves: metrics, health, alarms, signs of life.
        .target(
            name: "SpoolStatus",
            dependencies: ["CSystem", "SpoolFormat", "SpoolIO", "SpoolConfig", .product(name: "Logging", package: "swift-log")],
            swiftSettings: strict),
        program(
            "spool-writer",
            [
                "CSpoolRing", "CSystem", "SpoolFormat", "SpoolIO", "SpoolConfig", "SpoolRing", "SpoolStatus",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        program(
            "spool-loader",
            [
                "CSpoolRing", "CSystem", "SpoolFormat", "SpoolIO", "SpoolRing", "SpoolClient", "SpoolConfig", "SpoolStatus", "CCurl",
                "COpenSSL", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // What several test targets need: seeds, temporary directories, segments made of plain rows, producers of rings.
        .target(
            name: "SpoolTesting", dependencies: ["CSpoolRing", "SpoolFormat", "SpoolRing"], path: "Tests/SpoolTesting",
            swiftSettings: strict),
        .testTarget(
            name: "SpoolFormatTests", dependencies: ["SpoolFormat", "SpoolTesting", "CLZ4", "CSystem"],
            swiftSettings: strict),
        .testTarget(
            name: "SpoolRingTests", dependencies: ["SpoolRing", "SpoolFormat", "CSpoolRing", "SpoolTesting"], swiftSettings: strict),
        .testTarget(
            name: "SpoolStatusTests", dependencies: ["SpoolStatus", .product(name: "Logging", package: "swift-log")], swiftSettings: strict),
        .testTarget(
            name: "SpoolWriterTests",
            dependencies: [
                "spool-writer", "CSpoolRing", "SpoolIO", "SpoolFormat", "SpoolConfig", "SpoolRing", "SpoolStatus", "SpoolTesting",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "SpoolLoaderTests",
            dependencies: ["spool-loader", "spool-writer", "SpoolIO", "SpoolFormat", "SpoolStatus", "SpoolTesting"],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)

if isFuzzing {
    package.targets.append(
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "SpoolFormat", "SpoolIO", "SpoolConfig", "SpoolRing", "SpoolStatus", "SpoolTesting", "spool-writer", "spool-loader",
            ],
            path: "Tests/Fuzz", swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]))
}
