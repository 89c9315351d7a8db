// A stand-in for libnvidia-ml.so.1 in tests: cc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c
//
// It shows the GPUs that a file describes, read again at each change: $FAKE_NVML_STATE, or `nvml.state` beside the
// library. `_` stands for a space in values. A line each:
//   gpu uuid=GPU-a name=Fake_H100 bus=00000000:01:00.0 minor=0 total=85899345920 used=1073741824 util=7 temp=40
//   fail nvmlDeviceGetMemoryInfo_v2 15        that call returns that code, on every GPU
//   fail nvmlDeviceGetMemoryInfo_v2 15 gpu=1  on one GPU alone
//   reload 1                                  another number ends all sessions, as the driver's reload does
//   count 1000                                what nvmlDeviceGetCount_v2 says, whatever there is
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, VERSION_MISMATCH = 25 };
enum { MOST_GPUS = 64, MOST_FAILURES = 32 };

typedef struct Device {
  int index;
  unsigned minor, utilization, temperature;
  unsigned long long total, used;
  char uuid[96], name[96], bus[32];
} Device;

typedef struct {
  char function[64];
  int code, gpu;
} Failure;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device gpus[MOST_GPUS];
static Failure failures[MOST_FAILURES];
static int gpu_count, failure_count, initialized, reload;
static long long shown_count;
static struct stat read_state;

static const char *state_path(void) {
  static char beside[4096];
  const char *named = getenv("FAKE_NVML_STATE");
  if (named) return named;
  Dl_info info;
  if (!dladdr((void *)state_path, &info)) return "";
  const char *slash = strrchr(info.dli_fname, '/');
  int folder = slash ? (int)(slash - info.dli_fname) : 0;
  snprintf(beside, sizeof beside, "%.*s/nvml.state", folder, info.dli_fname);
  return beside;
}

static const char *field(const char *line, const char *key) {
  char pattern[40];
  snprintf(pattern, sizeof pattern, " %s=", key);
  const char *found = strstr(line, pattern);
  return found ? found + strlen(pattern) : NULL;
}

static unsigned long long number(const char *line, const char *key, unsigned long long otherwise) {
  const char *value = field(line, key);
  return value ? strtoull(value, NULL, 0) : otherwise;
}

static void text(const char *line, const char *key, char *out, size_t size, const char *otherwise) {
  const char *value = field(line, key);
  if (!value) value = otherwise;
  size_t length = strcspn(value, " \n");
  if (length >= size) length = size - 1;
  memcpy(out, value, length);
  out[length] = 0;
  for (char *c = out; *c; c++)
    if (*c == '_') *c = ' ';
}

static void read_line(const char *line) {
  Failure failure = {.gpu = -1};
  int new_reload;
  if (!strncmp(line, "gpu ", 4) && gpu_count < MOST_GPUS) {
    Device *gpu = &gpus[gpu_count];
    gpu->index = gpu_count++;
    gpu->minor = number(line, "minor", gpu->index);
    gpu->utilization = number(line, "util", 0);
    gpu->temperature = number(line, "temp", 40);
    gpu->total = number(line, "total", 24ULL << 30);
    gpu->used = number(line, "used", 0);
    text(line, "uuid", gpu->uuid, sizeof gpu->uuid, "GPU-0");
    text(line, "name", gpu->name, sizeof gpu->name, "Fake_GPU");
    text(line, "bus", gpu->bus, sizeof gpu->bus, "00000000:01:00.0");
  } else if (sscanf(line, "fail %63s %d", failure.function, &failure.code) == 2 && failure_count < MOST_FAILURES) {
    failure.gpu = (int)number(line, "gpu", -1);
    failures[failure_count++] = failure;
  } else if (sscanf(line, "reload %d", &new_reload) == 1) {
    if (new_reload != reload) initialized = 0;
    reload = new_reload;
  } else {
    sscanf(line, "count %lld", &shown_count);
  }
}

// Handles stay valid: a GPU keeps its place in the array.
static void read_state_if_changed(void) {
  struct stat now;
  const char *path = state_path();
  if (stat(path, &now)) {
    gpu_count = failure_count = 0;
    memset(&read_state, 0, sizeof read_state);
    return;
  }
  if (now.st_mtim.tv_sec == read_state.st_mtim.tv_sec && now.st_mtim.tv_nsec == read_state.st_mtim.tv_nsec &&
      now.st_size == read_state.st_size && now.st_ino == read_state.st_ino)
    return;
  FILE *file = fopen(path, "r");
  if (!file) return;
  read_state = now;
  gpu_count = failure_count = 0;
  shown_count = -1;
  char line[1024];
  while (fgets(line, sizeof line, file)) read_line(line);
  fclose(file);
}

// Begins each call: locks, reads the state, and finds out whether the call is to fail.
static int enter(const char *function, const Device *gpu) {
  pthread_mutex_lock(&lock);
  read_state_if_changed();
  for (int i = 0; i < failure_count; i++)
    if (!strcmp(failures[i].function, function) && (failures[i].gpu < 0 || (gpu && failures[i].gpu == gpu->index)))
      return failures[i].code;
  return initialized || !strcmp(function, "nvmlInit_v2") ? SUCCESS : UNINITIALIZED;
}

static int leave(int code) {
  pthread_mutex_unlock(&lock);
  return code;
}

#define ENTER(gpu)                        \
  int code_ = enter(__func__, gpu);       \
  if (code_ != SUCCESS) return leave(code_)

int nvmlInit_v2(void) {
  ENTER(NULL);
  initialized++;
  return leave(SUCCESS);
}

int nvmlShutdown(void) {
  ENTER(NULL);
  initialized--;
  return leave(SUCCESS);
}

const char *nvmlErrorString(int code) {
  switch (code) {
    case 0: return "Success";
    case 1: return "Uninitialized";
    case 3: return "Not Supported";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
  }
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  ENTER(NULL);
  *count = shown_count >= 0 ? (unsigned)shown_count : (unsigned)gpu_count;
  return leave(SUCCESS);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **gpu) {
  ENTER(index < MOST_GPUS ? &gpus[index] : NULL);
  if (index >= (unsigned)gpu_count) return leave(INVALID_ARGUMENT);
  *gpu = &gpus[index];
  return leave(SUCCESS);
}

int nvmlDeviceGetUUID(Device *gpu, char *buffer, unsigned size) {
  ENTER(gpu);
  snprintf(buffer, size, "%s", gpu->uuid);
  return leave(SUCCESS);
}

int nvmlDeviceGetName(Device *gpu, char *buffer, unsigned size) {
  ENTER(gpu);
  snprintf(buffer, size, "%s", gpu->name);
  return leave(SUCCESS);
}

int nvmlDeviceGetMinorNumber(Device *gpu, unsigned *minor) {
  ENTER(gpu);
  *minor = gpu->minor;
  return leave(SUCCESS);
}

typedef struct {
  unsigned long long total, free, used;
} Memory;

int nvmlDeviceGetMemoryInfo(Device *gpu, Memory *memory) {
  ENTER(gpu);
  *memory = (Memory){gpu->total, gpu->total - gpu->used, gpu->used};
  return leave(SUCCESS);
}

typedef struct {
  unsigned version;
  unsigned long long total, reserved, free, used;
} MemoryV2;

int nvmlDeviceGetMemoryInfo_v2(Device *gpu, MemoryV2 *memory) {
  ENTER(gpu);
  if (memory->version != (sizeof(MemoryV2) | 2u << 24)) return leave(VERSION_MISMATCH);
  memory->total = gpu->total;
  memory->reserved = 0;
  memory->free = gpu->total - gpu->used;
  memory->used = gpu->used;
  return leave(SUCCESS);
}

int nvmlDeviceGetUtilizationRates(Device *gpu, unsigned rates[2]) {
  ENTER(gpu);
  rates[0] = rates[1] = gpu->utilization;
  return leave(SUCCESS);
}

int nvmlDeviceGetTemperature(Device *gpu, int sensor, unsigned *temperature) {
  ENTER(gpu);
  if (sensor != 0) return leave(INVALID_ARGUMENT);
  *temperature = gpu->temperature;
  return leave(SUCCESS);
}

typedef struct {
  char legacy[16];
  unsigned domain, bus, device, id, subsystem;
  char bus_id[32];
} PCIInfo;

int nvmlDeviceGetPciInfo_v3(Device *gpu, PCIInfo *info) {
  ENTER(gpu);
  memset(info, 0, sizeof *info);
  snprintf(info->bus_id, sizeof info->bus_id, "%s", gpu->bus);
  sscanf(gpu->bus, "%x:%x:%x", &info->domain, &info->bus, &info->device);
  return leave(SUCCESS);
}
