import Testing

@testable import Systemd

struct ControlGroupOwnerTests {
  private static let id = String(repeating: "0123456789abcdef", count: 4)
  private static let manager = "/user.slice/user-1000.slice/user@1000.service"

  @Test(
    arguments: [
      ("/system.slice/ollama.service", .service("ollama.service")),
      ("/ollamapool.slice/ollama-instance-gpu0.service", .service("ollama-instance-gpu0.service")),
      ("\(manager)/app.slice/ollama.service", .service("ollama.service", user: 1000)),
      // What a service has below it.
      ("/system.slice/a.service/sub", .service("a.service")),
      (
        "/system.slice/systemd-nspawn@x.service/payload/system.slice/ollama.service",
        .service("systemd-nspawn@x.service")
      ),
      ("/system.slice/ollama.service/libpod-payload-\(id)", .service("ollama.service")),
      // Nobody's: from a terminal, over SSH, in a machine with a systemd of its own, systemd itself.
      ("\(manager)/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0b7e.scope", nil),
      ("\(manager)/tmux-spawn-0b7e.scope", nil), ("/user.slice/user-0.slice/session-1.scope", nil),
      ("\(manager)/init.scope", nil), ("/machine.slice/machine-x.scope/payload/system.slice/ollama.service", nil),
      ("/init.scope", nil), ("/", nil), ("\(manager)", nil),
      ("/system.slice/docker-\(id).scope", .container(.docker, id: id)),
      ("/system.slice/docker-\(id).scope/system.slice/ollama.service", .container(.docker, id: id)),
      ("\(manager)/user.slice/docker-\(id).scope", .container(.docker, id: id, user: 1000)),
      ("/docker/\(id)", .container(.docker, id: id)),
      ("/machine.slice/libpod-\(id).scope/container", .container(.podman, id: id)),
      ("\(manager)/user.slice/libpod-\(id).scope/container", .container(.podman, id: id, user: 1000)),
      (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-\(id).scope",
        .container(.kubernetes, id: id)
      ),
      ("/kubepods/burstable/pod1/\(id)", .container(.kubernetes, id: id)),
      ("/system.slice/docker-short.scope", nil), ("/docker/\(id)0", nil),
    ] as [(String, ControlGroupOwner?)])
  func `what keeps a process running is read from its control group`(_ path: String, _ owner: ControlGroupOwner?) {
    #expect(ControlGroupOwner(controlGroups: "0::\(path)\n") == owner)
  }

  @Test func `of several hierarchies systemd's counts, and a container in any`() {
    let session = "12:pids:/user.slice/user-0.slice\n1:name=systemd:/user.slice/user-0.slice/session-1.scope\n"
    #expect(ControlGroupOwner(controlGroups: session + "0::/\n") == nil)
    let service = "12:pids:/system.slice\n1:name=systemd:/system.slice/ollama.service\n"
    #expect(ControlGroupOwner(controlGroups: service) == .service("ollama.service"))
    let docker = "2:memory:/docker/\(Self.id)\n0::/system.slice/containerd.service\n"
    #expect(ControlGroupOwner(controlGroups: docker) == .container(.docker, id: Self.id))
    #expect(ControlGroupOwner(controlGroups: "") == nil && ControlGroupOwner(controlGroups: "nonsense\n0:\n") == nil)
  }

  @Test(
    arguments: [
      (nil, "`kill 7`"), (.service("a.service"), "`systemctl stop a.service`"),
      (.service("a.service", user: 5), "`systemctl --user stop a.service`"),
      (
        .service("a.service", user: 6),
        "`sudo -u '#6' XDG_RUNTIME_DIR=/run/user/6 systemctl --user stop a.service`"
      ),
      (.container(.docker, id: id), "`docker stop 0123456789ab`"),
      (.container(.docker, id: id, user: 5), "`docker --host unix:///run/user/5/docker.sock stop 0123456789ab`"),
      (.container(.podman, id: id), "`podman stop 0123456789ab`"),
      (
        .container(.podman, id: id, user: 6),
        "`sudo -u '#6' XDG_RUNTIME_DIR=/run/user/6 podman stop 0123456789ab`"
      ),
      (.container(.kubernetes, id: id), "`crictl ps --id 0123456789ab` names its pod: delete that"),
    ] as [(ControlGroupOwner?, String)])
  func `the remedy ends it through whoever runs it`(_ owner: ControlGroupOwner?, _ remedy: String) {
    #expect(ControlGroupOwner.remedy(against: 7, of: owner, for: 5) == remedy)
  }

  @Test func `it is told in a few words`() {
    #expect("\(ControlGroupOwner.service("a.service"))" == "a.service")
    #expect("\(ControlGroupOwner.service("a.service", user: 5))" == "a.service of user 5")
    #expect(
      "\(ControlGroupOwner.container(.podman, id: Self.id, user: 5))" == "container 0123456789ab of Podman of user 5")
  }
}
