/// A file of the chat page, part of the program.
struct PageFile {
  let contentType: String
  let content: [UInt8]
  /// Whether it is the page itself, which speaks somebody's language.
  let isPage: Bool

  static func named(_ name: String) -> PageFile? { all[name] }

  private static let all: [String: PageFile] = [
    "page.html": PageFile("text/html", PackageResources.page_html, isPage: true),
    "page.css": PageFile("text/css", PackageResources.page_css),
    "icon.svg": PageFile("image/svg+xml", PackageResources.icon_svg),
    "account.js": script(PackageResources.account_js),
    "announcer.js": script(PackageResources.announcer_js),
    "blocks.js": script(PackageResources.blocks_js),
    "client.js": script(PackageResources.client_js),
    "conversation.js": script(PackageResources.conversation_js),
    "copying.js": script(PackageResources.copying_js),
    "inline.js": script(PackageResources.inline_js),
    "markdown.js": script(PackageResources.markdown_js),
    "page.js": script(PackageResources.page_js),
    "place.js": script(PackageResources.place_js),
    "scrolling.js": script(PackageResources.scrolling_js),
    "sources.js": script(PackageResources.sources_js),
    "strings.js": script(PackageResources.strings_js),
    "turn.js": script(PackageResources.turn_js),
    "unsent.js": script(PackageResources.unsent_js),
  ]

  private static func script(_ content: [UInt8]) -> PageFile { PageFile("text/javascript", content) }

  private init(_ contentType: String, _ content: [UInt8], isPage: Bool = false) {
    self.contentType = "\(contentType); charset=utf-8"
    self.content = content
    self.isPage = isPage
  }
}
