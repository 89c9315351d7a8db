/// `org.varlink.service`, by which a client learns what the server is and what it serves.
struct ServiceInterface: VarlinkInterface {
  let service: VarlinkService
  /// The descriptions of all interfaces but this one, by name.
  let descriptions: [String: String]

  let name = "org.varlink.service"

  let description = """
    # The Varlink service interface: every Varlink service answers it.
    interface org.varlink.service

    # What this service is, and the interfaces it has
    method GetInfo() -> (
      vendor: string,
      product: string,
      version: string,
      url: string,
      interfaces: []string
    )

    # The definition of one of the interfaces
    method GetInterfaceDescription(interface: string) -> (description: string)

    # The service has no such interface
    error InterfaceNotFound (interface: string)

    # The interface has no such method
    error MethodNotFound (method: string)

    # The interface names the method, and the service did not answer it
    error MethodNotImplemented (method: string)

    # A parameter is missing, of a wrong type, or out of range
    error InvalidParameter (parameter: string)

    # The user at the other end may not call the method
    error PermissionDenied ()

    # The method answers with a stream: call it with more
    error ExpectedMore ()

    """

  private struct Information: Encodable {
    let vendor: String
    let product: String
    let version: String
    let url: String
    let interfaces: [String]
  }

  private struct InterfaceName: Decodable { let interface: String }

  private struct Description: Encodable { let description: String }

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    switch call.method {
    case "GetInfo":
      call.reply(
        Information(
          vendor: service.vendor, product: service.product, version: service.version, url: service.url,
          interfaces: [name] + descriptions.keys.sorted()))
    case "GetInterfaceDescription":
      let wanted = try call.parameters(as: InterfaceName.self).interface
      guard let text = wanted == name ? description : descriptions[wanted] else {
        throw .interfaceNotFound(wanted)
      }
      call.reply(Description(description: text))
    default:
      throw .methodNotFound(call.name)
    }
  }
}
