import Glibc

/// What can be wrong with a simulated GPU, or with the driver of all of them: the words for it, and the line of the
/// state that they stand for.
enum SimulatedFault {
  static let help = """
    Of a GPU, or a slice of one (gpu1, gpu1.2, or its UUID):
      lost                fell off the bus: NVML says 15, what runs there fails
      reset-required      wants a reset: NVML says 16, what runs there fails
      missing             not there any more, as after a reboot without it
      xid CODE            an XID error, such as 31 or 79; told once
      ecc                 an ECC error that can't be corrected; told once
      lingers SECONDS     memory of programs that end is free only so much later
      call FUNCTION CODE  NVML's FUNCTION returns CODE, such as
                          nvmlDeviceGetTemperature 999

    Of the driver (in the place of a GPU: driver):
      gone                not loaded, or not yet: NVML says 9
      mismatch            upgraded under the running pool: NVML says 18
      restarted           loaded anew under the running pool: whoever has NVML
                          in use has to begin anew; over at once
      hangs               no call returns
      garbage             its library is none; who has it open notices nothing
      lingers SECONDS     as above, for all GPUs
      call FUNCTION CODE  NVML's FUNCTION returns CODE, for all GPUs
    """

  /// - Parameters:
  ///   - device: nil: the driver.
  ///   - sequence: tells an event from those before.
  static func line(
    _ words: [String], on device: NVMLState.Device?, sequence: Int, library: SimulatedLibrary
  ) throws(SimulatorError) -> String {
    guard let device else {
      switch (words.first, words.count) {
      case ("gone", 1): return "fail any 9"
      case ("mismatch", 1): return "fail any 18"
      // A number that fits an int.
      case ("restarted", 1): return "reload \(sequence % 1_000_000_000)"
      case ("hangs", 1): return "hang"
      case ("lingers", 2): return "lingers \(try number(words[1], most: mostSeconds))"
      case ("call", 3): return try call(words, library)
      default: throw unknown(words, of: "the driver")
      }
    }
    let whole = "gpu=\(device.gpu)"
    let place = whole + (device.slice.map { " mig=\($0.index)" } ?? "")
    let instance = whole + (device.slice.map { " gi=\($0.gpuInstance) ci=\($0.computeInstance)" } ?? "")
    switch (words.first, words.count) {
    case ("lost", 1): return "fail any 15 \(place)"
    case ("reset-required", 1): return "fail any 16 \(place)"
    case ("missing", 1):
      guard device.slice == nil else {
        throw SimulatorError("a slice goes away with its line `mig` in \(NVMLState.name); missing is for whole GPUs")
      }
      return "missing \(whole)"
    case ("xid", 2): return "xid \(instance) code=\(try number(words[1], most: 1000)) seq=\(sequence)"
    case ("ecc", 1): return "ecc \(instance) seq=\(sequence)"
    case ("lingers", 2): return "lingers \(try number(words[1], most: mostSeconds)) \(place)"
    case ("call", 3): return "\(try call(words, library)) \(place)"
    default: throw unknown(words, of: "a GPU")
    }
  }

  private static func call(_ words: [String], _ library: SimulatedLibrary) throws(SimulatorError) -> String {
    guard try library.has(words[1]) else {
      throw SimulatorError("the pool calls no function \(words[1]) of NVML's; nvmlDeviceGetTemperature is one")
    }
    return "fail \(words[1]) \(try number(words[2], most: 999))"
  }

  private static let mostSeconds = 3600

  private static func number(_ text: String, most: Int) throws(SimulatorError) -> Int {
    guard let number = Int(text), (1...most).contains(number) else {
      throw SimulatorError("\(text): expected a number from 1 to \(most)")
    }
    return number
  }

  private static func unknown(_ words: [String], of what: String) -> SimulatorError {
    SimulatorError(
      "`\(words.joined(separator: " "))` is no fault of \(what); see ollama-simulator gpus fault --help")
  }
}
