// swift-tools-version: 6.2
import PackageDescription

// The targets by rank: an import goes to a lower rank only, never within one (docs/handbook.md shows the picture).

func nio(_ product: String) -> Target.Dependency { .product(name: product, package: "swift-nio") }
func collections(_ product: String) -> Target.Dependency { .product(name: product, package: "swift-collections") }
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let signals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")

let foundations: [Target] = [
  .target(name: "PoolCore", dependencies: [collections("DequeModule"), collections("OrderedCollections")]),
  .target(name: "Accepting", dependencies: [nio("NIOCore"), nio("NIOPosix")]),
  .target(name: "Addresses"),
  .target(name: "Credentials", dependencies: [crypto]),
  .systemLibrary(name: "CLinux"),
  .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
  .target(name: "CNVML"),
  // Shipped beside the simulator, and opened like NVIDIA's library, whose name it has: no toolchain's library may be
  // needed, and no symbol of Swift's be in it.
  .target(
    name: "SimulatedNVML",
    linkerSettings: [
      .unsafeFlags(
        ["-static-stdlib", "-nostartfiles", "-Xlinker", "-soname=libnvidia-ml.so.1"], .when(platforms: [.linux]))
    ]),
]

let vocabularies: [Target] = [
  .target(name: "Varlink", dependencies: ["Accepting", nio("NIOCore"), nio("NIOPosix")]),
  .target(name: "PoolConfiguration", dependencies: ["Addresses", "PoolCore", yams]),
  .target(
    name: "ControlInterface", dependencies: ["PoolCore", collections("OrderedCollections")],
    resources: [.embedInCode("ollamapool.Dispatcher.varlink"), .embedInCode("ollamapool.Supervisor.varlink")]),
  .target(name: "OllamaAPI", dependencies: ["Addresses", "PoolCore"]),
  .target(name: "Systemd", dependencies: ["CSystemd"]),
  .target(name: "GPUInventory", dependencies: ["PoolCore", "CNVML"]),
  .target(name: "QueueStore", dependencies: ["PoolCore", grdb, nio("NIOCore")]),
  .target(name: "Retrieval", dependencies: [crypto, grdb, nio("NIOCore")]),
]

let adapters: [Target] = [
  .target(name: "Launching", dependencies: ["CLinux", "PoolCore", "PoolConfiguration", "Systemd", "GPUInventory"]),
  .target(
    name: "Gateway",
    dependencies: [
      "Accepting", "Credentials", "PoolCore", "OllamaAPI", collections("DequeModule"), nio("NIOCore"),
      nio("NIOPosix"), nio("NIOHTTP1"), nio("NIOWebSocket"),
    ]),
]

let chatPage = [
  "account.js", "announcer.js", "blocks.js", "client.js", "conversation.js", "copying.js", "icon.svg", "inline.js",
  "markdown.js", "page.css", "page.html", "page.js", "place.js", "scrolling.js", "sources.js", "strings.js", "turn.js",
  "unsent.js",
]

let pages: [Target] = [
  .target(
    name: "Chat",
    dependencies: [
      "Credentials", "PoolCore", "PoolConfiguration", "OllamaAPI", "QueueStore", "Retrieval", "Gateway",
      nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1"), collections("DequeModule"), collections("OrderedCollections"),
    ],
    resources: chatPage.map { .embedInCode("Page/\($0)") } + [.embedInCode("openapi.yaml")]),
  .target(
    name: "Console",
    dependencies: ["Accepting", "PoolCore", nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1")]),
]

let shells: [Target] = [
  .target(
    name: "Dispatcher",
    dependencies: [
      "Addresses", "Credentials", "PoolCore", "PoolConfiguration", "Varlink", "ControlInterface", "OllamaAPI",
      "QueueStore", "Systemd", "Gateway", "Chat", "Console", nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1"),
      collections("DequeModule"),
      collections("OrderedCollections"),
    ]),
  .target(
    name: "Supervisor",
    dependencies: [
      "PoolCore", "PoolConfiguration", "Varlink", "ControlInterface", "Systemd", "GPUInventory", "Launching",
      nio("NIOCore"), nio("NIOPosix"), collections("OrderedCollections"),
    ]),
  .target(
    name: "Simulation", dependencies: ["PoolCore", collections("HeapModule"), collections("OrderedCollections")]),
]

let executables: [Target] = [
  .executableTarget(
    name: "ollama-pool",
    dependencies: [
      "PoolCore", "PoolConfiguration", "Varlink", "ControlInterface", "Systemd", "GPUInventory", "Launching",
      "Dispatcher", "Gateway", "QueueStore", "Retrieval", "Simulation", "Supervisor", argumentParser, signals,
      nio("NIOCore"),
      nio("NIOPosix"),
    ]),
  .executableTarget(
    name: "ollama-simulator",
    dependencies: ["OllamaAPI", "PoolCore", argumentParser, signals, nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1")]),
]

let tests: [Target] = [
  .target(
    name: "TestSupport", dependencies: [nio("NIOCore"), nio("NIOPosix")], path: "Tests/Support"),
  .testTarget(name: "TestSupportTests", dependencies: ["TestSupport"]),
  .testTarget(name: "AddressesTests", dependencies: ["Addresses"]),
  .testTarget(name: "CredentialsTests", dependencies: ["Credentials"]),
  .testTarget(
    name: "AcceptingTests", dependencies: ["Accepting", nio("NIOCore"), nio("NIOEmbedded")]),
  .testTarget(name: "PoolCoreTests", dependencies: ["PoolCore", collections("OrderedCollections")]),
  .testTarget(name: "SimulationTests", dependencies: ["PoolCore", "Simulation"]),
  .testTarget(
    name: "VarlinkTests", dependencies: ["Varlink", "TestSupport", nio("NIOCore"), nio("NIOPosix")],
    exclude: ["interoperability.py"]),
  .testTarget(name: "PoolConfigurationTests", dependencies: ["PoolCore", "PoolConfiguration"]),
  .testTarget(name: "ControlInterfaceTests", dependencies: ["ControlInterface"]),
  .testTarget(name: "OllamaAPITests", dependencies: ["OllamaAPI", "PoolCore"]),
  .testTarget(
    name: "QueueStoreTests",
    dependencies: [
      "PoolCore", "QueueStore", "Simulation", "TestSupport", grdb, nio("NIOCore"), nio("NIOEmbedded"),
      nio("NIOPosix"),
    ]),
  .testTarget(
    name: "ChatTests",
    dependencies: ["Chat", "Gateway", "PoolCore", "Retrieval", nio("NIOCore"), nio("NIOPosix")]),
  .testTarget(
    name: "RetrievalTests", dependencies: ["Retrieval", "TestSupport", grdb, nio("NIOCore"), nio("NIOPosix")]),
  .testTarget(name: "SystemdTests", dependencies: ["CSystemd", "Systemd", "TestSupport"]),
  .testTarget(name: "GPUInventoryTests", dependencies: ["GPUInventory", "PoolCore", "TestSupport"]),
  .testTarget(
    name: "LaunchingTests",
    dependencies: [
      "CLinux", "Launching", "GPUInventory", "PoolCore", "PoolConfiguration", "Systemd", "TestSupport", "ollama-pool",
      "ollama-simulator",
    ]),
  .testTarget(
    name: "SupervisorTests",
    dependencies: [
      "Supervisor", "Launching", "ControlInterface", "Varlink", "PoolCore", "PoolConfiguration", "GPUInventory",
      "Systemd", "TestSupport", nio("NIOCore"), nio("NIOPosix"),
    ]),
  .testTarget(
    name: "GatewayTests",
    dependencies: [
      "Gateway", "OllamaAPI", "PoolCore", "TestSupport", nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1"),
    ]),
  .testTarget(name: "ConsoleTests", dependencies: ["Console", "TestSupport", nio("NIOCore"), nio("NIOPosix")]),
  .testTarget(
    name: "DispatcherTests",
    dependencies: [
      "Addresses", "Console", "ControlInterface", "Credentials", "Dispatcher", "Gateway", "OllamaAPI",
      "PoolConfiguration", "PoolCore", "QueueStore", "Systemd", "TestSupport", "Varlink", grdb, nio("NIOCore"),
      nio("NIOPosix"), nio("NIOHTTP1"),
    ]),
  .testTarget(name: "SimulatorTests", dependencies: ["ollama-simulator", "GPUInventory", "TestSupport"]),
  .testTarget(
    name: "CommandLineTests",
    dependencies: [
      "ollama-pool", "ControlInterface", "Dispatcher", "GPUInventory", "Launching", "PoolConfiguration", "PoolCore",
      "QueueStore", "Supervisor", "Systemd", "Varlink", "TestSupport", nio("NIOCore"), nio("NIOPosix"),
    ]),
  .testTarget(
    name: "SystemTests",
    dependencies: [
      "ControlInterface", "PoolConfiguration", "PoolCore", "QueueStore", "Simulation", "TestSupport", "Varlink",
      nio("NIOPosix"),
    ]),
  .testTarget(
    name: "EndToEndTests", dependencies: ["TestSupport"],
    exclude: [
      "browser.py", "browser_page.py", "browser_rendering.py", "chat_socket.py", "control_socket.py",
      "embedding_pool.py", "losing_proxy.py", "official_clients.py", "openapi.py", "schemathesis.toml",
      "source_service.py",
    ]),
  .testTarget(
    name: "ProjectTests",
    dependencies: ["Gateway", "OllamaAPI", "PoolConfiguration", "PoolCore", "TestSupport", yams],
    exclude: ["alert-timelines.yaml"]),
]

let benchmarks: [Target] = [
  .executableTarget(
    name: "scaling-comparison", dependencies: ["PoolCore", "Simulation", argumentParser, collections("DequeModule")],
    path: "Benchmarks/Scaling")
]

let package = Package(
  name: "ollama-pool",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "ollama-pool", targets: ["ollama-pool"]),
    .executable(name: "ollama-simulator", targets: ["ollama-simulator"]),
    .library(name: "SimulatedNVML", type: .dynamic, targets: ["SimulatedNVML"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: foundations + vocabularies + adapters + pages + shells + executables + tests + benchmarks
)

for target in package.targets where target.type != .system {
  target.swiftSettings = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
  ]
}

// Ten thousand simulated histories in each test run, and a hundred thousand vectors for each question, want optimised
// code, also where the rest is built for debugging.
for target in package.targets where ["PoolCore", "Retrieval", "Simulation"].contains(target.name) {
  target.swiftSettings?.append(.unsafeFlags(["-O"], .when(configuration: .debug)))
}
