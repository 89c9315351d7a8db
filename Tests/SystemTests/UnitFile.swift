import Foundation
import TestSupport

/// Runs `body` while systemd has a file of an operator's: a unit, or a drop-in such as `ollama.service.d/test.conf`.
func withUnitFile(_ name: String, _ text: String, _ body: () async throws -> Void) async throws {
  let path = "/etc/systemd/system/" + name
  let folder = (path as NSString).deletingLastPathComponent
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  try text.write(toFile: path, atomically: false, encoding: .utf8)
  func remove() async throws {
    if !name.contains("/") {
      _ = try await run("systemctl", ["disable", "--quiet", name])
      _ = try await run("systemctl", ["stop", name])
    }
    try FileManager.default.removeItem(atPath: path)
    try await systemctl("daemon-reload")
  }
  do {
    try await systemctl("daemon-reload")
    try await body()
  } catch {
    try? await remove()
    throw error
  }
  try await remove()
}

/// An `ollama.service` that serves, as Ollama's installer leaves it.
enum OllamaService {
  static let name = "ollama.service"

  /// - Parameters:
  ///   - host: with the port, apart from that of the pool.
  ///   - environment: "NAME=value" each.
  static func unit(user: String, host: String = "127.0.0.1:11700", environment: [String] = []) -> String {
    """
    [Unit]
    Description=Ollama Service

    [Service]
    ExecStart=/usr/local/bin/ollama serve
    User=\(user)
    Environment=OLLAMA_HOST=\(host) \(environment.joined(separator: " "))

    [Install]
    WantedBy=multi-user.target

    """
  }
}
