import Addresses
import Testing

@Suite struct IPAddressTests {
  @Test(arguments: [
    ("10.1.2.3", "10.1.2.3"), ("::1", "::1"), ("2001:DB8::0:1", "2001:db8::1"), ("::ffff:10.0.0.1", "10.0.0.1"),
    ("fe80::1%eth0", "fe80::1"),
  ])
  func `reads and writes`(text: String, written: String) {
    #expect(IPAddress(text)?.description == written)
  }

  @Test(arguments: ["", "10.1.2", "10.1.2.256", "010.1.2.3", "1.2.3.4/8", "::1::", "localhost", " 1.2.3.4"])
  func `is no address`(text: String) { #expect(IPAddress(text) == nil) }

  @Test func `a socket's bytes are the same address as the text`() throws {
    let text = try #require(IPAddress("10.1.2.3"))
    #expect(IPAddress(ofSocket: [10, 1, 2, 3]) == text)
    #expect(IPAddress(ofSocket: Array(repeating: 0, count: 10) + [255, 255, 10, 1, 2, 3]) == text, "mapped into IPv6")
    let six = IPAddress(ofSocket: [0x20, 0x01, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [1])
    #expect(six == IPAddress("2001:db8::1") && six != nil)
    #expect(IPAddress(ofSocket: []) == nil && IPAddress(ofSocket: [1, 2, 3]) == nil)
  }

  @Test func `kinds`() throws {
    for loopback in ["127.0.0.1", "127.255.1.1", "::1", "::ffff:127.0.0.1"] {
      #expect(try #require(IPAddress(loopback)).isLoopback)
    }
    for other in ["128.0.0.1", "::2", "::", "0.0.0.0", "::ffff:1.2.3.4"] {
      #expect(try #require(IPAddress(other)).isLoopback == false)
    }
    for inner in ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.9.9", "fd00::1"] {
      #expect(try #require(IPAddress(inner)).isPrivate)
    }
    for outer in ["11.0.0.1", "172.32.0.1", "192.169.0.1", "2001:db8::1"] {
      #expect(try #require(IPAddress(outer)).isPrivate == false)
    }
  }
}

@Suite struct IPNetworkTests {
  @Test(arguments: [
    ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.1.1"], ["11.0.0.0", "9.255.255.255", "::1"]),
    ("192.168.4.16/28", ["192.168.4.16", "192.168.4.31"], ["192.168.4.15", "192.168.4.32"]),
    ("127.0.0.1", ["127.0.0.1"], ["127.0.0.2"]),
    ("0.0.0.0/0", ["1.2.3.4"], ["::1"]),
    ("2001:db8:8000::/33", ["2001:db8:ffff::1"], ["2001:db8:7fff::1"]),
  ])
  func `contains`(text: String, inside: [String], outside: [String]) throws {
    let network = try #require(IPNetwork(text))
    #expect(network.description == text)
    for address in inside { #expect(network.contains(try #require(IPAddress(address)))) }
    for address in outside { #expect(!network.contains(try #require(IPAddress(address)))) }
  }

  @Test(arguments: [
    "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "/8", "::/129", "10.0.0.0/+8", "proxy", "",
  ])
  func `is no network`(text: String) { #expect(IPNetwork(text) == nil) }

  @Test func `one of an address`() throws {
    let address = try #require(IPAddress("2001:db8:1:2:3:4:5:6"))
    #expect("\(IPNetwork(address, prefix: 64))" == "2001:db8:1:2::/64")
  }
}
