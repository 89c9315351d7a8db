import Foundation
import Glibc

/// Runs `body` on a machine where no Ollama is installed: those that there are are moved away meanwhile. For the
/// private systemd alone, whose file system is its own.
package func withoutOllama(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Void
) async throws {
  guard SystemdHost.isAvailable else { throw SystemCallFailed("hiding Ollama outside a private systemd", errno: EPERM) }
  let inPath = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
  let folders = Set(inPath + ["/usr/local/bin", "/usr/bin", "/opt/ollama/bin"])
  // Of several names of one folder, such as /bin and /usr/bin, one finds it.
  let hidden = folders.map { $0 + "/ollama" }.filter { rename($0, $0 + ".away") == 0 }
  defer { for path in hidden { rename(path + ".away", path) } }
  try await body()
}
