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
    return try await Nginx(
      port,
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
        server {
          listen 127.0.0.1:\(port);
          location / {
            proxy_pass http://127.0.0.1:\(pool.port);
          }
        }
      }
      """)
  }

  private init(_ port: Int, _ configuration: String) async throws {
    self.port = port
    folder = try TemporaryDirectory()
    let file = try folder.write(configuration, to: "nginx.conf")
    program = try RunningProgram(Tool.path("nginx") ?? "nginx", ["-e", "stderr", "-p", folder.path, "-c", file])
    try await eventually("nginx answers") { [200, 404].contains(try await get("/").status) }
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
