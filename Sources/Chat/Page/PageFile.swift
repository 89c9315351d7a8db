/// A file of the chat page.
struct PageFile {
  let contentType: String
  let content: [UInt8]
  /// Whether it is the page itself, which speaks somebody's language.
  let isPage: Bool

  static func named(_ name: String) -> PageFile? { nil }
}
