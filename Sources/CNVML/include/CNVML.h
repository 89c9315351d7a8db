// The part of NVIDIA's management library (libnvidia-ml.so.1) that the pool calls, so that nothing of NVIDIA's is
// needed to build it. Source: NVML API reference, docs.nvidia.com/deploy/nvml-api; the page is named where a structure
// has one of its own. The library's ABI is stable: a structure changes only together with the suffix of its function.
// (One did not: see cnvml_process.)
#ifndef CNVML_H
#define CNVML_H

// nvmlReturn_t, group__nvmlDeviceEnumvs.
typedef int cnvml_return;
enum {
  CNVML_SUCCESS = 0,
  CNVML_UNINITIALIZED = 1,
  CNVML_INVALID_ARGUMENT = 2,
  CNVML_NOT_SUPPORTED = 3,
  CNVML_NO_PERMISSION = 4,
  CNVML_NOT_FOUND = 6,
  CNVML_INSUFFICIENT_SIZE = 7,
  CNVML_DRIVER_NOT_LOADED = 9,
  CNVML_TIMEOUT = 10,
  CNVML_LIBRARY_NOT_FOUND = 12,
  CNVML_FUNCTION_NOT_FOUND = 13,
  CNVML_GPU_IS_LOST = 15,
  CNVML_RESET_REQUIRED = 16,
  CNVML_LIB_RM_VERSION_MISMATCH = 18,
  CNVML_UNKNOWN = 999,
};

typedef struct cnvml_device_opaque *cnvml_device;
typedef struct cnvml_event_set_opaque *cnvml_event_set;

// Bytes. nvmlMemory_t.
typedef struct {
  unsigned long long total, free, used;
} cnvml_memory;

// Bytes; `used` is without `reserved`. nvmlMemory_v2_t; `version` must be CNVML_MEMORY_V2 before the call.
typedef struct {
  unsigned int version;
  unsigned long long total, reserved, free, used;
} cnvml_memory_v2;
enum { CNVML_MEMORY_V2 = 40 | 2 << 24 };

// Percent of the last sample period. nvmlUtilization_t.
typedef struct {
  unsigned int gpu, memory;
} cnvml_utilization;

// nvmlPciInfo_t as nvmlDeviceGetPciInfo_v3 fills it.
typedef struct {
  char bus_id_legacy[16];
  unsigned int domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
} cnvml_pci_info;

// nvmlProcessInfo_t, structnvmlProcessInfo__t: what nvmlDeviceGetComputeRunningProcesses and its like write an array of,
// for the suffixes _v2 and _v3. `memory` in bytes, CNVML_NOT_AVAILABLE where the driver can't tell; the instances are
// CNVML_NO_INSTANCE outside MIG.
// From 535.43 to 535.86 _v3 wrote eight bytes more for each process (XuehaiPan/nvitop pull requests 79 and 89), and a
// driver was seen to write the sixteen bytes of the first version (226 there). So the array needs room for the longest,
// and the size of an element is to be found out.
typedef struct {
  unsigned int pid;
  unsigned long long memory;
  unsigned int gpu_instance, compute_instance;
} cnvml_process;
enum { CNVML_PROCESS_V1_SIZE = 16, CNVML_PROCESS_LONGEST_SIZE = 32 };
#define CNVML_NOT_AVAILABLE 0xFFFFFFFFFFFFFFFFull
#define CNVML_NO_INSTANCE 0xFFFFFFFFu

// nvmlEventData_t, structnvmlEventData__t. `data` is the XID of CNVML_EVENT_XID; the instances are CNVML_NO_INSTANCE
// where the event is not one MIG slice's. nvmlEventSetWait without a suffix writes only the first three.
typedef struct {
  cnvml_device device;
  unsigned long long type, data;
  unsigned int gpu_instance, compute_instance;
} cnvml_event;

// nvmlEventType…, group__nvmlEventType.
enum { CNVML_EVENT_SINGLE_BIT_ECC = 1, CNVML_EVENT_DOUBLE_BIT_ECC = 2, CNVML_EVENT_XID = 8 };

// NVML_DEVICE_MIG_ENABLE.
enum { CNVML_MIG_ENABLED = 1 };

// Sensor 0 is the GPU's own.
enum { CNVML_TEMPERATURE_GPU = 0 };

typedef cnvml_return (*cnvml_init_function)(void);
typedef cnvml_return (*cnvml_shutdown_function)(void);
typedef const char *(*cnvml_error_string_function)(cnvml_return);
typedef cnvml_return (*cnvml_system_text_function)(char *, unsigned int);
typedef cnvml_return (*cnvml_count_function)(unsigned int *);
typedef cnvml_return (*cnvml_handle_by_index_function)(unsigned int, cnvml_device *);
typedef cnvml_return (*cnvml_text_function)(cnvml_device, char *, unsigned int);
typedef cnvml_return (*cnvml_number_function)(cnvml_device, unsigned int *);
typedef cnvml_return (*cnvml_memory_function)(cnvml_device, cnvml_memory *);
typedef cnvml_return (*cnvml_memory_v2_function)(cnvml_device, cnvml_memory_v2 *);
typedef cnvml_return (*cnvml_utilization_function)(cnvml_device, cnvml_utilization *);
typedef cnvml_return (*cnvml_temperature_function)(cnvml_device, int, unsigned int *);
typedef cnvml_return (*cnvml_pci_info_function)(cnvml_device, cnvml_pci_info *);
// The count is how many there is room for, and then how many there are.
typedef cnvml_return (*cnvml_processes_function)(cnvml_device, unsigned int *, void *);
// The present mode and the one after the next reset.
typedef cnvml_return (*cnvml_mig_mode_function)(cnvml_device, unsigned int *, unsigned int *);
typedef cnvml_return (*cnvml_mig_handle_function)(cnvml_device, unsigned int, cnvml_device *);
typedef cnvml_return (*cnvml_event_set_create_function)(cnvml_event_set *);
typedef cnvml_return (*cnvml_event_set_free_function)(cnvml_event_set);
typedef cnvml_return (*cnvml_event_types_function)(cnvml_device, unsigned long long *);
typedef cnvml_return (*cnvml_register_events_function)(cnvml_device, unsigned long long, cnvml_event_set);
// Milliseconds.
typedef cnvml_return (*cnvml_event_wait_function)(cnvml_event_set, cnvml_event *, unsigned int);

#endif
