import Foundation
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Systemd

extension SystemdLauncherTests {
  /// A program that connects to two addresses again and again, and writes what came of it to a file each.
  private static let connects = """
    exec python3 - "$HOME" <<'PROGRAM'
    import os, socket, sys, time
    while True:
        for name, address in (("loopback", "127.0.0.1"), ("outside", "198.51.100.7")):
            try:
                socket.create_connection((address, 28999), timeout=0.3).close()
                word = "through"
            except OSError as error:
                word = "refused"
            path = os.path.join(sys.argv[1], name)
            with open(path + ".new", "w") as file:
                file.write(word)
            os.rename(path + ".new", path)
        time.sleep(0.02)
    PROGRAM
    """

  private func becomes(_ word: String, _ name: String, line: Int = #line) async throws {
    try await eventually("\(name) is \(word) (line \(line))") {
      try String(contentsOfFile: "/var/lib/ollama-pool-instance/\(name)", encoding: .utf8) == word
    }
  }

  @Test func `an instance reaches loopback addresses only, unless its network is open, which may change while it runs`()
    async throws
  {
    // Of this machine, and none of the loopback addresses that are let through.
    try await succeed("ip", ["address", "add", "198.51.100.7/32", "dev", "lo"])
    let listener = try RunningProgram(
      "python3",
      [
        "-c",
        """
        import socket
        listener = socket.create_server(("", 28999))
        print("listening", flush=True)
        while True:
            listener.accept()[0].close()
        """,
      ])
    try await listener.line(containing: "listening")
    try await withLauncher { launcher, witness in
      let script = try await Script(Self.connects)
      let specification = InstanceSpecification.example("net", gpus: [], executable: script.path)
      let unit = try await launcher.start(specification, port: 11500)
      #expect(unit.hasNetwork == false)
      try await becomes("through", "loopback")
      try await becomes("refused", "outside")

      for _ in 0..<2 {
        try await launcher.setNetwork("net", unit.invocation, open: true)
        #expect(try await launcher.existing().map(\.unit.hasNetwork) == [true])
        try await becomes("through", "outside")
        // A reload of systemd must not bring the old rule back.
        try await succeed("systemctl", ["daemon-reload"])
        try await launcher.setNetwork("net", unit.invocation, open: true)
        #expect(try await launcher.existing().map(\.unit.hasNetwork) == [true])

        try await launcher.setNetwork("net", "0123456789abcdef0123456789abcdef", open: false)
        #expect(try await launcher.existing().map(\.unit.hasNetwork) == [true], "a stale order")
        try await launcher.setNetwork("net", unit.invocation, open: false)
        #expect(try await launcher.existing().map(\.unit.hasNetwork) == [false])
        try await becomes("refused", "outside")
        try await becomes("through", "loopback")
      }
      try await launcher.setNetwork("net", unit.invocation, open: true)
      try await launcher.stop("net", unit.invocation, kill: true)
      _ = try await witness.end(of: unit.invocation)
      try await launcher.setNetwork("net", unit.invocation, open: true)
      try await launcher.setNetwork("none", unit.invocation, open: true)

      // What was changed of an earlier one is no part of the next.
      let next = try await launcher.start(specification, port: 11500)
      #expect(next.hasNetwork == false)
      #expect(next.specification == unit.specification)
      try await becomes("refused", "outside")
    }
    listener.signal(SIGKILL)
    _ = try await run("ip", ["address", "delete", "198.51.100.7/32", "dev", "lo"])
  }

  @Test func `certificates can be read in the sandbox, and variables for the way out reach the instance`() async throws
  {
    try await withLauncher { launcher, _ in
      let script = try await Script(
        """
        for place in /etc/ssl /usr/share/ca-certificates "$SSL_CERT_FILE"; do
          [ ! -e "$place" ] || [ -r "$place" ] && echo "sees $place"
        done
        env | grep -i proxy | sort; \(Self.waits)
        """)
      let homeOfRoot = "/root"
      let home = homeOfRoot + "/launching-tests-\(getpid())"
      try await succeed("install", ["-d", "-m", "755", home])
      try await succeed("chmod", ["755", homeOfRoot])
      try await succeed("install", ["-m", "644", "/etc/hostname", "\(home)/ca.pem"])
      let specification = InstanceSpecification.example(
        "out", gpus: [], executable: script.path,
        inherited: [
          "HTTPS_PROXY": "http://proxy:3128", "no_proxy": "a,b", "HTTP_PROXY": "http://other", "SECRET": "x",
          "SSL_CERT_FILE": "\(home)/ca.pem",
        ]
      ) { $0.environment = ["http_proxy": "http://mine"] }
      _ = try await launcher.start(specification, port: 11500)
      let (shown, _, _) = try await run("systemctl", ["show", "ollama-instance-out", "-p", "Environment"])
      #expect(shown.contains("POOL_INSTANCE=out") && !shown.contains("proxy"), "every user of the machine reads it")
      var status = stat()
      #expect(stat("\(owner.privateFolder)/out.environment", &status) == 0 && status.st_mode & 0o777 == 0o600)
      try await eventually("it has told") {
        try await journal("POOL_INSTANCE=out").contains(
          """
          sees /etc/ssl
          sees /usr/share/ca-certificates
          sees \(home)/ca.pem
          HTTPS_PROXY=http://proxy:3128
          http_proxy=http://mine
          no_proxy=a,b

          """)
      }
      // Also what systemd reads again from its own file of the unit leads there.
      let files = ["show", "ollama-instance-out", "-p", "EnvironmentFiles"]
      let before = try await succeed("systemctl", files)
      try await succeed("systemctl", ["daemon-reload"])
      #expect(try await succeed("systemctl", files) == before)
      #expect(before.contains("/out.environment"))
    }
  }
}

@Suite struct InheritedVariablesTests {
  @Test func `proxies and certificates are passed on, unless they are configured in whatever case`() {
    let own = [
      "HTTP_PROXY": "1", "https_proxy": "2", "NO_PROXY": "3", "SSL_CERT_FILE": "4", "SSL_CERT_DIR": "5",
      "ssl_cert_dir": "no name", "Https_Proxy": "no name either", "PATH": "/bin", "OLLAMA_MODELS": "/m",
    ]
    #expect(
      InheritedVariables.of(own, besides: [:]) == [
        "HTTP_PROXY": "1", "https_proxy": "2", "NO_PROXY": "3", "SSL_CERT_FILE": "4", "SSL_CERT_DIR": "5",
      ])
    let rest = InheritedVariables.of(own, besides: ["no_proxy": "", "HTTPS_PROXY": "", "SSL_CERT_FILE": ""])
    #expect(rest.keys.sorted() == ["HTTP_PROXY", "SSL_CERT_DIR"])
    #expect(InheritedVariables.of(["HTTP_PROXY": "a\nB=c"], besides: [:]) == [:])
  }
}
