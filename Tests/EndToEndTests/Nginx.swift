import Foundation
import TestSupport

/// A real nginx, on a port of its own.
final class Nginx: Sendable {
  let port: Int
  private let folder: TemporaryDirectory
  private let program: RunningProgram

  /// With the configuration of `docs/flask`, on other ports.
  static func ofFlask(before applications: [FlaskApplication]) async throws -> Nginx {
    let port = try freePort()
    var configuration = try String(contentsOfFile: FlaskApplication.folder + "/nginx.conf", encoding: .utf8)
    for (documented, own) in zip(5000..., [port] + applications.map(\.port)) {
      let address = "127.0.0.1:\(documented)"
      guard configuration.contains(address) else { throw SystemCallFailed("nginx.conf names no \(address)", errno: 0) }
      configuration.replace(address, with: "127.0.0.1:\(own)")
    }
    return try await Nginx(port, configuration)
  }

  /// With nothing settled but where the pool is: everything else is as nginx has it by itself.
  static func plain(before pool: Pool) async throws -> Nginx {
    let port = try freePort()
    return try await Nginx(port, server(port, "location / { proxy_pass http://127.0.0.1:\(pool.port); }"))
  }

  /// With what `docs/users.md` has a reader write, and users who all have the password `secret`.
  static func ofUsers(_ users: [String], before pool: Pool) async throws -> Nginx {
    let (port, folder) = (try freePort(), try TemporaryDirectory())
    let passwords = try folder.write(users.map { "\($0):{PLAIN}secret\n" }.joined(), to: "users")
    // nginx reads it as a user of its own.
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: passwords)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
    let text = try String(contentsOfFile: PackageRoot.path(to: "docs/users.md"), encoding: .utf8)
    var blocks = text.matches(of: /```nginx\n(.*?)```/.dotMatchesNewlines()).map { String($0.1) }
    guard blocks.count == 2 else { throw SystemCallFailed("docs/users.md has no two blocks for nginx", errno: 0) }
    for (documented, own) in [
      ("http://127.0.0.1:11434;", "http://127.0.0.1:\(pool.port);"), ("/etc/nginx/ollama.users;", "\(passwords);"),
    ] {
      guard blocks[0].contains(documented) else { throw SystemCallFailed("no \(documented) there", errno: 0) }
      blocks[0].replace(documented, with: own)
    }
    return try await Nginx(port, server(port, blocks[0], beside: blocks[1]), in: folder)
  }

  private static func server(_ port: Int, _ location: String, beside other: String = "") -> String {
    """
    daemon off;
    pid nginx.pid;
    error_log stderr;
    events {}
    http {
      access_log access.log;
      client_body_temp_path body;
      proxy_temp_path proxy;
      fastcgi_temp_path fastcgi;
      uwsgi_temp_path uwsgi;
      scgi_temp_path scgi;
      \(other)
      server {
        listen 127.0.0.1:\(port);
        \(location)
      }
    }
    """
  }

  private init(_ port: Int, _ configuration: String, in folder: TemporaryDirectory? = nil) async throws {
    self.port = port
    let folder = try folder ?? TemporaryDirectory()
    self.folder = folder
    let file = try folder.write(configuration, to: "nginx.conf")
    program = try RunningProgram(Tool.path("nginx") ?? "nginx", ["-e", "stderr", "-p", folder.path, "-c", file])
    try await eventually("nginx answers") { [200, 401, 404].contains(try await get("/").status) }
  }

  private func get(_ path: String) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("GET", path, port: port)
  }

  func post(_ body: String) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("POST", "/chat/stream", port: port, body: body, within: .seconds(30))
  }

  /// The process that answered, for each question that has ended.
  var served: [String] {
    let log = (try? String(contentsOfFile: folder.path(to: "access.log"), encoding: .utf8)) ?? ""
    return log.split(separator: "\n").filter { $0.contains(#""POST "#) }.compactMap {
      $0.firstMatch(of: #/ by .*?([\d.:]+) in /#).map { String($0.1) }
    }
  }
}
