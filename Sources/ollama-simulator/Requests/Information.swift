import NIOHTTP1
import OllamaAPI
import PoolCore

/// Requests that only ask.
enum Information {
  static func serve(_ exchange: Exchange, _ route: Route, _ server: Server) {
    switch route.pattern {
    case "/": exchange.answer(status: 200, contentType: "text/plain; charset=utf-8", Array("Ollama is running".utf8))
    case "/api/version": exchange.answer(["version": .string(OllamaSimulator.version)])
    case "/api/status": exchange.answer(["cloud": ["disabled": true, "source": "env"]])
    case "/api/tags": exchange.answer(["models": .array(server.store.all.map(\.listEntry))])
    case "/v1/models": exchange.answer(["object": "list", "data": .array(server.store.all.map(\.openAIEntry))])
    case "/v1/models/:model":
      let name = exchange.lastPathSegment
      if let model = server.store.find(name) {
        exchange.answer(model.openAIEntry(id: name))
      } else {
        exchange.fail(.modelNotFound(name))
      }
    case "/api/show": show(exchange, server)
    case "/api/ps": exchange.answer(["models": .array(server.scheduler.models.map(\.listEntry))])
    case "/api/experimental/model-recommendations": exchange.answer(["recommendations": []])
    default: exchange.fail(Refusal(status: 401, message: "unauthorized"))
    }
  }

  private static func show(_ exchange: Exchange, _ server: Server) {
    do throws(Refusal) {
      let request = try RequestBody.json(exchange)
      guard let name = (request["model"] ?? request["name"])?.string, !name.isEmpty else {
        throw .badRequest("model is required")
      }
      guard let model = server.store.find(name) else { throw .modelNotFound(name) }
      exchange.answer(model.description)
    } catch {
      exchange.fail(error)
    }
  }
}

extension LoadedModel {
  /// The entry in `/api/ps`.
  var listEntry: JSON {
    [
      "name": .string(model.name.description), "model": .string(model.name.description), "size": .integer(model.size),
      "digest": .string(model.digest), "details": model.details, "expires_at": .string(expiresAt.text),
      "size_vram": .integer(sizeVRAM), "context_length": .integer(contextLength),
    ]
  }
}

enum RequestBody {
  /// The object in a request's body.
  static func json(_ exchange: Exchange) throws(Refusal) -> JSON {
    if exchange.body.isEmpty { throw .badRequest("missing request body") }
    if let encoding = exchange.head.headers.first(name: "content-encoding"), encoding.lowercased() != "identity" {
      throw .badRequest("failed to decompress \(encoding) body")
    }
    guard let json = JSON.parse(exchange.body), json.isObject else {
      throw .badRequest("invalid character in request body: expected a JSON object")
    }
    return json
  }
}
