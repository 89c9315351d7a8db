extension XIDError {
  struct Entry: Sendable {
    var name: String
    var consequence: GPUFault.Consequence
    var explanation: String
  }

  static let catalog: [Int: Entry] = {
    var catalog: [Int: Entry] = [:]
    for (codes, entry) in applications + resets + warnings {
      for code in codes { catalog[code] = entry }
    }
    return catalog
  }()

  private typealias Lines = [(codes: [Int], entry: Entry)]

  private static func line(
    _ codes: Int..., name: String, _ consequence: GPUFault.Consequence, _ explanation: String
  ) -> (codes: [Int], entry: Entry) {
    (codes, Entry(name: name, consequence: consequence, explanation: explanation))
  }

  private static let applications: Lines = [
    line(
      8, 43, name: "GPU stopped processing", .application,
      "a program's work on the GPU failed and was taken off it; the GPU goes on for others"),
    line(
      11, 25, 32, name: "invalid commands from a program", .application,
      "the stream of commands to the GPU was damaged or not allowed; often a fault of the program or of the driver"),
    line(
      13, name: "graphics engine exception", .application,
      "a program on the GPU did something illegal, such as an access out of bounds; rarely a fault of the hardware"),
    line(
      31, name: "GPU memory page fault", .application,
      "a program on the GPU used an address that is not its own; rarely a fault of the hardware"),
    line(
      39, 40, 41, 70, 71, 72, 75, 76, 77, 85, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135,
      name: "copy engine exception", .application,
      "copying to or from the GPU's memory failed, and so did the program; if it happens again, ask NVIDIA's support"),
    line(
      42, 47, 60, 65, 68, 73, 82, 83, 84, 86, 88, 89, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 139, 142,
      name: "video engine exception", .application,
      "a program that decodes, encodes or compares pictures on the GPU failed"),
    line(
      44, 69, name: "graphics engine fault", .application, "a program gave the GPU work that it can't do"),
    line(
      45, name: "work taken off the GPU", .warning,
      "follows another error, or the end of a program with work under way: the error before it tells more"),
    line(
      66, 67, name: "illegal access by the driver", .application,
      "the driver's own code on the GPU did something illegal; the program that it worked for has failed"),
    line(
      74, name: "NVLink error", .application,
      "a link between GPUs failed, or the GPU at its other end: reset the GPUs that it connects at the next opportunity;"
        + " if it happens again, look at bridge and seat"),
    line(
      80, name: "corrupted data sent to the GPU", .application,
      "commands changed on their way to the GPU; if it happens again, look at its seat and its PCI slot"),
    line(
      94, name: "contained memory error", .application,
      "memory could not be corrected, and only the program that used it is lost; a reset at the next opportunity puts"
        + " spare memory in its place"),
    line(141, name: "CUDA fast path error", .application, "a program's shortcut to the GPU failed"),
  ]

  private static let resets: Lines = [
    line(46, name: "GPU stopped processing", .resetNeeded, "it no longer answers, and has to be reset"),
    line(
      48, 171, 172, name: "double bit ECC error", .resetNeeded,
      "memory could not be corrected: what was computed is not to be trusted. Reset the GPU; with XID 64, or again and"
        + " again, have it replaced"),
    line(
      54, name: "no auxiliary power", .resetNeeded, "connect the power cable of the GPU's board"),
    line(
      58, name: "video memory interface error", .resetNeeded, "reset the GPU; if it happens again, have it replaced"),
    line(
      59, 61, 62, 169, name: "internal microcontroller halt", .resetNeeded,
      "a part of the GPU that manages it has stopped; reset the GPU"),
    line(
      64, name: "memory remapping failure", .resetNeeded,
      "broken memory could not be replaced by spare memory: reset the GPU, and have it replaced if it happens again"),
    line(
      79, name: "GPU has fallen off the bus", .resetNeeded,
      "the machine can no longer reach it: restart the machine; if it happens again, look at seat, power and heat"),
    line(
      95, name: "uncontained memory error", .resetNeeded,
      "memory could not be corrected, and no program on the GPU is to be trusted; reset the GPU"),
    line(
      109, name: "context switch timeout", .resetNeeded, "the GPU can't change from one program to another; reset it"),
    line(110, name: "security fault", .resetNeeded, "reset the GPU; if it happens again, ask NVIDIA's support"),
    line(
      119, 120, name: "GPU system processor error", .resetNeeded,
      "the GPU's own processor (GSP), which runs a part of the driver, failed or gave no answer; reset the GPU"),
    line(136, name: "link training failed", .resetNeeded, "a link between GPUs does not come up; reset the GPUs"),
    line(140, name: "unrecovered ECC error", .resetNeeded, "memory could not be corrected; reset the GPU"),
    line(143, name: "GPU initialization error", .resetNeeded, "the GPU could not be started; reset it"),
    line(151, name: "key rotation error", .resetNeeded, "restart the machine, or the virtual machine"),
    line(155, name: "NVLink software error", .resetNeeded, "a link between GPUs failed; reset the GPUs"),
    line(156, name: "resource retirement", .resetNeeded, "a broken part of the GPU is left out after its next reset"),
    // CHECK_UVM: a reset where UVM is in use, which it is wherever CUDA is.
    line(159, name: "link to the CPU error", .resetNeeded, "an access over the link to the CPU failed; reset the GPU"),
    line(158, 167, name: "fatal timeout", .resetNeeded, "the GPU gave no answer in time; reset it"),
  ]

  private static let warnings: Lines = [
    line(14, 106, 107, name: "test message", .warning, "made on purpose, and no fault"),
    line(37, 38, name: "driver firmware error", .warning, "the driver has dealt with it"),
    line(
      63, name: "memory remapping", .warning,
      "spare memory takes the place of broken memory after the next reset, which can wait"),
    line(
      78, name: "vGPU start error", .warning, "a virtual GPU could not be started; the driver is too old or too new"),
    line(
      92, name: "many single bit ECC errors", .warning,
      "all were corrected; watch for XID 48 and 64, and ask NVIDIA's support if it goes on"),
    line(93, name: "board memory wears out", .warning, "the memory of the board's own records was written too often"),
    line(108, 137, 166, 170, name: "NVLink access error", .warning, "follows a fault of the GPU at the other end"),
    line(121, name: "link to the CPU error", .warning, "was corrected; ask NVIDIA's support if it goes on"),
    line(
      144, 145, 146, 147, 148, 149, 150, name: "NVLink event", .warning,
      "most are corrected; one that is not comes with XID 48, 45 or 154. The kernel's log tells which it was"),
    line(152, 153, name: "deep learning accelerator error", .warning, "of a part that Ollama does not use"),
    line(
      154, name: "recovery action changed", .warning,
      "the kernel's log tells what NVIDIA's driver recommends (a reset, say) after the XID before it"),
    line(
      157, name: "resource retirement failure", .warning, "a broken part could not be left out; ask NVIDIA's support"),
    line(160, 161, name: "channel retirement", .warning, "a memory channel is left out, or could not be"),
    line(162, 163, 164, 165, name: "power smoothing", .warning, "concerns the GPU's power, not its results"),
    line(168, name: "reduced memory", .warning, "the GPU has less memory than before, since some of it is broken"),
  ]
}
