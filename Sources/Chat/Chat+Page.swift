import Gateway
import NIOCore
import OllamaAPI

/// The chat page, and the description of the API.
extension Chat {
  /// Nothing but what the page brings itself: no script of a message's, no outside request, no frame around it.
  private static let policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  func answerPage(_ exchange: Exchange) {
    guard let file = PageFile.named(exchange.pathVariable ?? "page.html") else { return exchange.refuse(.notFound) }
    var content = file.content
    if file.isPage {
      let language = ChatLanguage(accepting: exchange.header("Accept-Language"))
      content = Array(String(decoding: content, as: UTF8.self).replacing("{{language}}", with: language.rawValue).utf8)
    }
    exchange.respond(
      status: 200,
      headers: [
        // Small, and of this very version: looked for again each time.
        ("Content-Type", file.contentType), ("Cache-Control", "no-cache"), ("Content-Security-Policy", Self.policy),
        ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Vary", "Accept-Language"),
      ], body: content)
  }

  /// `docs/openapi.yaml`.
  func answerDocument(_ exchange: Exchange) {
    // RFC 9512.
    exchange.respond(
      status: 200, headers: [("Content-Type", "application/yaml"), ("Cache-Control", "no-cache")],
      body: PackageResources.openapi_yaml)
  }
}
