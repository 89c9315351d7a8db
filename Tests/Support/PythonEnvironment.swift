import Foundation

/// The Python interpreter that has the packages which tests of the protocols use: programs that others wrote.
///
/// `$OLLAMA_POOL_PYTHON` names it; without that it is `.venv/bin/python` in the package's folder, as
/// `python3 -m venv .venv && .venv/bin/pip install varlink` makes it.
package enum PythonEnvironment {
  private static let named = ProcessInfo.processInfo.environment["OLLAMA_POOL_PYTHON"]

  package static let interpreter = named ?? PackageRoot.path(to: ".venv/bin/python")

  /// Whether tests that import `module` should run: false only if no interpreter was named and the default one, or
  /// the module, is missing. One that was named is expected to be complete, and fails the test otherwise.
  package static func isReady(for module: String) async -> Bool {
    if named != nil { return true }
    guard FileManager.default.isExecutableFile(atPath: interpreter) else { return false }
    let attempt = try? await run(interpreter, ["-c", "import \(module)"], within: .seconds(60))
    return attempt?.end == .exited(0)
  }
}
