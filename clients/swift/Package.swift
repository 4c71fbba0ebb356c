// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "coldpath-example",
    // Elsewhere: .package(url: "https://HOST/coldpath", branch: "main"), or the path of a clone.
    dependencies: [.package(name: "coldpath", path: "../..")],
    targets: [
        .executableTarget(name: "example", dependencies: [.product(name: "SpoolClient", package: "coldpath")])
    ],
    swiftLanguageModes: [.v6]
)
