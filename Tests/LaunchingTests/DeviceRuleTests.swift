import GPUInventory
import Foundation
import PoolCore
import TestSupport
import Testing

@testable import Launching

extension SystemdLauncherTests {
  @Test func `an instance on a slice of a GPU may open the slice's own nodes and no other slice's`() async throws {
    // Stand-ins that can be opened, and that no other stand-in has the numbers of.
    try await succeed("mkdir", ["-p", "/dev/nvidia-caps"])
    for (name, minor) in [("nvidia-caps/nvidia-cap21", 235), ("nvidia-caps/nvidia-cap22", 232)] {
      _ = try await run("mknod", ["-m", "666", "/dev/\(name)", "c", "10", "\(minor)"])
      // That nobody may open them would look like a rule that holds.
      try await succeed("sh", ["-c", ": < /dev/\(name)"])
    }
    try await withLauncher { launcher, _ in
      let script = try await Script(
        """
        for node in nvidia0 nvidia-caps/nvidia-cap21 nvidia-caps/nvidia-cap22 nvidia1; do
          if (: < /dev/$node) 2>/dev/null; then echo "may open $node"; else echo "may not open $node"; fi
        done
        echo $CUDA_VISIBLE_DEVICES; \(Self.waits)
        """)
      var specification = InstanceSpecification.example("slice", executable: script.path)
      specification.gpus[0].uuid = "MIG-1b2c"
      specification.gpus[0].deviceNodes = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-caps/nvidia-cap21"]
      _ = try await launcher.start(specification, port: 11500)
      #expect(try await launcher.existing().first?.unit.gpus == ["MIG-1b2c"])
      try await eventually("it has told") {
        try await journal("POOL_INSTANCE=slice", "SYSLOG_IDENTIFIER=ollama-slice")
          == "may open nvidia0\nmay open nvidia-caps/nvidia-cap21\nmay not open nvidia-caps/nvidia-cap22\n"
          + "may not open nvidia1\nMIG-1b2c\n"
      }
      specification.gpus[0].deviceNodes.append("/dev/nvidia-caps/nvidia-cap99")
      specification.id = "slice2"
      let missing = try await launchError { try await launcher.start(specification, port: 11501) }
      #expect(missing.code == .missingDevice && missing.message.contains("nvidia-cap99"))
    }
  }
}
