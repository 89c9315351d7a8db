import CNVML
import Glibc

/// A list of processes as NVML writes it.
enum NVMLProcesses {
  /// A process, and the slice that it is on, if any.
  struct Entry {
    var process: GPUProcess
    var gpuInstance: Int?
    var computeInstance: Int?
  }

  /// More than a GPU has been seen to have: bounds what a broken library can make the pool do.
  private static let most = 4096
  /// What is made room for at first.
  private static let few = 64
  /// A value that no field ends with.
  private static let untouched: UInt8 = 0xA5

  static func read(_ device: cnvml_device, _ function: cnvml_processes_function?) -> Answer<[Entry]> {
    guard let function else { return .unknown }
    var room = few
    // Processes may start between two calls.
    for _ in 0..<4 {
      var count = UInt32(room)
      let (code, entries) = withUnsafeTemporaryAllocation(
        byteCount: room * CNVML_PROCESS_LONGEST_SIZE, alignment: MemoryLayout<cnvml_process>.alignment
      ) { buffer -> (cnvml_return, [Entry]) in
        if let start = buffer.baseAddress { memset(start, CInt(untouched), buffer.count) }
        let code = function(device, &count, buffer.baseAddress)
        return (code, code == CNVML_SUCCESS ? Self.entries(UnsafeRawBufferPointer(buffer), min(Int(count), room)) : [])
      }
      guard code == CNVML_INSUFFICIENT_SIZE, room < most else { return Answer(code, entries) }
      room = min(max(Int(count) + 16, room * 2), most)
    }
    return .unknown
  }

  private static func entries(_ buffer: UnsafeRawBufferPointer, _ count: Int) -> [Entry] {
    let size = elementSize(buffer, count)
    return (0..<count).compactMap { index in
      let element = UnsafeRawBufferPointer(rebasing: buffer[(index * size)..<(index * size + size)])
      let pid = element.loadUnaligned(as: UInt32.self)
      let memory = element.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      guard let pid = Int32(exactly: pid), pid > 0 else { return nil }
      var entry = Entry(process: GPUProcess(pid: pid, memory: memory == CNVML_NOT_AVAILABLE ? nil : memory))
      if size > CNVML_PROCESS_V1_SIZE {
        entry.gpuInstance = instance(element.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
        entry.computeInstance = instance(element.loadUnaligned(fromByteOffset: 20, as: UInt32.self))
      }
      return entry
    }
  }

  private static func instance(_ number: UInt32) -> Int? { number == CNVML_NO_INSTANCE ? nil : Int(number) }

  /// Of an element, as this driver writes it: see `cnvml_process`. All of it is written, and nothing behind the last.
  private static func elementSize(_ buffer: UnsafeRawBufferPointer, _ count: Int) -> Int {
    let usual = MemoryLayout<cnvml_process>.size
    guard count > 0 else { return usual }
    let sizes = [CNVML_PROCESS_LONGEST_SIZE, usual, CNVML_PROCESS_V1_SIZE]
    return sizes.first { buffer[$0 * count - 1] != untouched } ?? usual
  }
}

extension NVMLProcesses {
  static func merged(_ entries: [Entry]) -> [GPUProcess] { merged(entries.map(\.process)) }

  /// One of each process, by number. What computes and draws is in two lists, with all of its memory in each.
  static func merged(_ processes: [GPUProcess]) -> [GPUProcess] {
    var memory: [Int32: UInt64?] = [:]
    for process in processes {
      let known = memory[process.pid] ?? nil
      memory[process.pid] = .some([known, process.memory].compactMap(\.self).max())
    }
    return memory.map { GPUProcess(pid: $0, memory: $1) }.sorted { $0.pid < $1.pid }
  }
}
