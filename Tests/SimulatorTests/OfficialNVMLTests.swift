import TestSupport
import Testing

/// Simulated GPUs as NVIDIA's own bindings see them, which have the layouts of all structures from NVIDIA. The same
/// library is what the pool's reading of GPUs is tested with, so its layouts are held against NVIDIA's here.
@Suite struct OfficialNVMLTests {
  @Test(
    .enabled("needs the nvidia-ml-py package: see PythonEnvironment") {
      await PythonEnvironment.isReady(for: "pynvml")
    })
  func `the nvidia-ml-py package is content`() async throws {
    let folder = try TemporaryDirectory()
    let simulator = BuiltProduct.path("ollama-simulator")
    let gpus = folder.path(to: "gpus")
    let made = try await run(
      simulator,
      ["gpus", "make", gpus, "--count", "2", "--memory", "40GiB", "--name", "Big GPU", "--mig", "gpu1=10GiB,20GiB"])
    try #require(made.end == .exited(0), "\(made.errorOutput)")
    let script = try folder.write(Self.program, to: "script.py")
    let result = try await run(
      PythonEnvironment.interpreter, [script, simulator, gpus], environment: ["LD_LIBRARY_PATH": gpus])
    #expect(result.end == .exited(0), "\(result.errorOutput)")
  }

  private static let program = """
    import subprocess, sys
    import pynvml as nvml
    simulator, folder = sys.argv[1:]
    GiB = 1 << 30

    def fault(*words):
        subprocess.run([simulator, "gpus", "fault", folder, *words], check=True, stdout=subprocess.DEVNULL)

    def fails(error, call, *arguments):
        try:
            call(*arguments)
        except error:
            return
        raise AssertionError(f"{call.__name__}: no {error.__name__}")

    other = subprocess.Popen(
        [simulator, "gpus", "occupy", folder, "gpu0", "4GiB"], stdout=subprocess.PIPE, text=True)
    try:
        assert "holds 4 GiB" in other.stdout.readline()
        nvml.nvmlInit()
        assert nvml.nvmlSystemGetDriverVersion().count(".") == 2
        assert nvml.nvmlDeviceGetCount() == 2
        first, divided = (nvml.nvmlDeviceGetHandleByIndex(index) for index in range(2))
        for index, gpu in enumerate([first, divided]):
            assert nvml.nvmlDeviceGetUUID(gpu) == f"GPU-00000000-0000-4000-8000-00000000000{index}"
            assert nvml.nvmlDeviceGetName(gpu) == "Big GPU"
            place = nvml.nvmlDeviceGetPciInfo(gpu)
            assert (place.domain, place.bus, place.device) == (0xffff, index + 1, 0), place
            assert place.busId.lower() == f"0000ffff:{index + 1:02x}:00.0", place.busId
            assert nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU) == 40
            assert nvml.nvmlDeviceGetMigMode(gpu) == [index, index]
            fails(nvml.NVMLError_NotSupported, nvml.nvmlDeviceGetMinorNumber, gpu)
        assert nvml.nvmlDeviceGetUtilizationRates(first).gpu == 0

        memory = nvml.nvmlDeviceGetMemoryInfo(first, version=nvml.nvmlMemory_v2)
        assert (memory.total, memory.used, memory.free) == (40 * GiB, 4 * GiB, 36 * GiB), memory
        memory = nvml.nvmlDeviceGetMemoryInfo(first)
        assert (memory.total, memory.used, memory.free) == (40 * GiB, 4 * GiB, 36 * GiB), memory
        process, = nvml.nvmlDeviceGetComputeRunningProcesses(first)
        assert (process.pid, process.usedGpuMemory) == (other.pid, 4 * GiB), process
        assert process.gpuInstanceId == process.computeInstanceId == 0xffffffff, process
        assert nvml.nvmlDeviceGetGraphicsRunningProcesses(first) == []

        slices = []
        for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(divided)):
            try:
                slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(divided, index))
            except nvml.NVMLError_NotFound:
                pass
        assert [nvml.nvmlDeviceGetGpuInstanceId(slice) for slice in slices] == [1, 2]
        assert [nvml.nvmlDeviceGetComputeInstanceId(slice) for slice in slices] == [0, 0]
        assert all(nvml.nvmlDeviceGetUUID(slice).startswith("MIG-") for slice in slices)
        sizes = [nvml.nvmlDeviceGetMemoryInfo(slice, version=nvml.nvmlMemory_v2).total for slice in slices]
        assert sizes == [10 * GiB, 20 * GiB], sizes

        kinds = nvml.nvmlEventTypeXidCriticalError | nvml.nvmlEventTypeDoubleBitEccError
        assert nvml.nvmlDeviceGetSupportedEventTypes(first) & kinds == kinds
        events = nvml.nvmlEventSetCreate()
        nvml.nvmlDeviceRegisterEvents(first, kinds, events)
        fails(nvml.NVMLError_Timeout, nvml.nvmlEventSetWait_v2, events, 1)
        fault("gpu0", "xid", "79")
        event = nvml.nvmlEventSetWait_v2(events, 30_000)
        assert (event.eventType, event.eventData) == (nvml.nvmlEventTypeXidCriticalError, 79), event
        assert nvml.nvmlDeviceGetUUID(event.device) == nvml.nvmlDeviceGetUUID(first)
        assert event.gpuInstanceId == event.computeInstanceId == 0xffffffff, event
        nvml.nvmlEventSetFree(events)

        for words, error in [
            (["gpu0", "lost"], nvml.NVMLError_GpuIsLost),
            (["gpu1", "reset-required"], nvml.NVMLError_ResetRequired),
        ]:
            fault(*words)
            fails(error, nvml.nvmlDeviceGetTemperature, [first, divided][words[0] == "gpu1"], 0)
        nvml.nvmlShutdown()
        fault("driver", "mismatch")
        fails(nvml.NVMLError_LibRmVersionMismatch, nvml.nvmlInit)
    finally:
        other.kill()
    """
}
