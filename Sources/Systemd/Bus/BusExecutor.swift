import Dispatch

/// Runs an actor's jobs on a serial queue, which dispatch sources can share with it.
final class BusExecutor: SerialExecutor {
  let queue = DispatchQueue(label: "ollama-pool.systemd-bus")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }

  func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
