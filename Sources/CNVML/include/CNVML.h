// The part of NVIDIA's management library (libnvidia-ml.so.1) that the pool calls, so that nothing of NVIDIA's is
// needed to build it. Source: NVML API reference, docs.nvidia.com/deploy/nvml-api. The library's ABI is stable: a
// structure changes only together with the suffix of its function.
#ifndef CNVML_H
#define CNVML_H

typedef int cnvml_return;
enum {
  CNVML_SUCCESS = 0,
  CNVML_UNINITIALIZED = 1,
  CNVML_NOT_SUPPORTED = 3,
  CNVML_DRIVER_NOT_LOADED = 9,
  CNVML_FUNCTION_NOT_FOUND = 13,
  CNVML_GPU_IS_LOST = 15,
};

typedef struct cnvml_device_opaque *cnvml_device;

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

// Sensor 0 is the GPU's own.
enum { CNVML_TEMPERATURE_GPU = 0 };

typedef cnvml_return (*cnvml_init_function)(void);
typedef cnvml_return (*cnvml_shutdown_function)(void);
typedef const char *(*cnvml_error_string_function)(cnvml_return);
typedef cnvml_return (*cnvml_count_function)(unsigned int *);
typedef cnvml_return (*cnvml_handle_by_index_function)(unsigned int, cnvml_device *);
typedef cnvml_return (*cnvml_text_function)(cnvml_device, char *, unsigned int);
typedef cnvml_return (*cnvml_number_function)(cnvml_device, unsigned int *);
typedef cnvml_return (*cnvml_memory_function)(cnvml_device, cnvml_memory *);
typedef cnvml_return (*cnvml_memory_v2_function)(cnvml_device, cnvml_memory_v2 *);
typedef cnvml_return (*cnvml_utilization_function)(cnvml_device, cnvml_utilization *);
typedef cnvml_return (*cnvml_temperature_function)(cnvml_device, int, unsigned int *);
typedef cnvml_return (*cnvml_pci_info_function)(cnvml_device, cnvml_pci_info *);

#endif
