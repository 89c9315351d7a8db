// A stand-in for libnvidia-ml.so.1, so that GPUs can be tried out on a machine without any: it shows those that a text
// file beside it describes, `nvml.state`, read again at each change. `ollama-simulator gpus` makes both, and changes the
// file; so can an editor. Each line is a thing; `_` stands for a space in values; what is not understood is ignored.
//   driver 550.54.15
//   gpu uuid=GPU-a name=H100 bus=00000000:01:00.0 minor=0 total=80GiB used=1GiB util=7 temp=40
//                                             without minor= it has no device node
//                                             with plugged=1 hidden from a process that has had this library open
//                                             since before its line came: NVML counts GPUs when it is opened
//   gpu uuid=GPU-b mig=1                      in MIG mode; GPUs are counted from 0, as they come
//   mig gpu=1 index=3 uuid=MIG-a name=H100_MIG_1g.10gb total=10GiB used=0 gi=7 ci=0
//   proc gpu=0 pid=1234 used=1MiB             a process; on a slice with gi= and ci=, one that draws with graphics=1
//   xid gpu=0 code=79 seq=1                   an event; each seq is another one, of a slice with gi= and ci=
//   ecc gpu=0 seq=2                           a double bit ECC error
//   fail nvmlDeviceGetMemoryInfo_v2 15        that call returns that code, on every GPU and slice
//   fail nvmlDeviceGetMemoryInfo_v2 15 gpu=1  on one GPU and its slices; with mig=3 on one slice, with mig=-1 on none
//   fail any 15 gpu=1                         every call does
//   lingers 20                                what a program held is free only 20 s after its end, on every GPU and
//                                             slice, for whoever has seen it hold that; with gpu= and mig= as above
//   missing gpu=1                             as if its line were not there, while the others keep their numbers here
//   hang                                      no call returns while this line is there
//   reload 1                                  another number ends all sessions, as the driver's reload does
//   count 1000                                what nvmlDeviceGetCount_v2 says, whatever there is
//   processsize 32                            how long an element of the lists of processes is, if not 24
//
// Programs hold memory by their command line, for as long as they run: `--gpus FOLDER --holds UUID=BYTES`, with any
// number of --holds, is a process on that GPU or slice of the folder's, and what it holds is used on top of `used`.
//
// For tests: with -DOLD_SYMBOLS it has the functions of an older driver, with -DCOUNT_CALLS it counts calls.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef OLD_SYMBOLS
#define nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetComputeRunningProcesses_v2
#define nvmlDeviceGetGraphicsRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses_v2
#define nvmlEventSetWait_v2 nvmlEventSetWait
#endif

enum {
  SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
  TIMEOUT = 10, VERSION_MISMATCH = 25
};
enum { MOST_GPUS = 64, MOST_SLICES = 448, MOST_FAILURES = 32, MOST_PROCESSES = 8192, MOST_EVENTS = 64, MIG_ROOM = 7,
       MOST_OCCUPATIONS = 1024 };
enum { XID = 8, DOUBLE_BIT_ECC = 2, SINGLE_BIT_ECC = 1 };
static const unsigned NO_INSTANCE = ~0u;

// A GPU, or a slice of one: then `slice` is not -1, and `index` is the GPU's.
typedef struct Device {
  int index, slice, minor;
  bool divided, missing, plugged;
  unsigned utilization, temperature, gpu_instance, compute_instance;
  unsigned long long total, used;
  char uuid[96], name[96], bus[32];
} Device;

// What a line is about: every GPU where `gpu` is -1, and all of it where `slice` is -2.
typedef struct {
  int gpu, slice;
} Scope;

typedef struct {
  char function[64];
  int code;
  Scope scope;
} Failure;

typedef struct {
  int seconds;
  Scope scope;
} Lingering;

typedef struct {
  int gpu;
  bool graphics;
  unsigned pid, gpu_instance, compute_instance;
  unsigned long long used;
} Process;

typedef struct {
  int gpu;
  unsigned gpu_instance, compute_instance;
  unsigned long long type, data, sequence;
} Happening;

// What a running program holds.
typedef struct {
  unsigned pid;
  unsigned long long used;
  const Device *device;
} Occupation;

// What one held that has ended.
typedef struct {
  Occupation occupation;
  long long ended_at; // in milliseconds
} Remainder;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device gpus[MOST_GPUS], slices[MOST_SLICES];
static Failure failures[MOST_FAILURES];
static Lingering lingerings[MOST_FAILURES];
static Process processes[MOST_PROCESSES];
static Happening happenings[MOST_EVENTS];
static bool hangs;
static int gpu_count, slice_count, failure_count, lingering_count, process_count, happening_count;
static int initialized, count_when_opened, reload, process_size;
static Occupation occupations[MOST_OCCUPATIONS];
static Remainder remainders[MOST_OCCUPATIONS];
static int occupation_count, remainder_count;
static long long occupations_read_at; // in milliseconds; 0: never
static char driver[80];
static long long shown_count;
static struct stat read_state;

// Where this library is, with a path that programs name too.
static const char *folder(void) {
  static char path[PATH_MAX];
  Dl_info info;
  if (*path || !dladdr((void *)folder, &info)) return path;
  char beside[PATH_MAX];
  const char *slash = strrchr(info.dli_fname, '/');
  snprintf(beside, sizeof beside, "%.*s/.", slash ? (int)(slash - info.dli_fname) : 0, info.dli_fname);
  if (!realpath(beside, path)) *path = 0;
  return path;
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

static unsigned long long bytes(const char *line, const char *key, unsigned long long otherwise) {
  const char *value = field(line, key);
  if (!value) return otherwise;
  char *unit;
  unsigned long long amount = strtoull(value, &unit, 0);
  return amount << (!strncmp(unit, "GiB", 3) ? 30 : !strncmp(unit, "MiB", 3) ? 20 : !strncmp(unit, "KiB", 3) ? 10 : 0);
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

static Scope scope_of(const char *line) { return (Scope){(int)number(line, "gpu", -1), (int)number(line, "mig", -2)}; }

static void read_line(const char *line) {
  Failure failure = {.scope = scope_of(line)};
  int new_reload, seconds;
  if (!strncmp(line, "gpu ", 4) && gpu_count < MOST_GPUS) {
    Device *gpu = &gpus[gpu_count];
    gpu->index = gpu_count++;
    gpu->slice = -1;
    gpu->divided = number(line, "mig", 0);
    gpu->plugged = number(line, "plugged", 0);
    gpu->gpu_instance = gpu->compute_instance = NO_INSTANCE;
    gpu->minor = number(line, "minor", -1);
    gpu->utilization = number(line, "util", 0);
    gpu->temperature = number(line, "temp", 40);
    gpu->total = bytes(line, "total", 24ULL << 30);
    gpu->used = bytes(line, "used", 0);
    text(line, "uuid", gpu->uuid, sizeof gpu->uuid, "GPU-0");
    text(line, "name", gpu->name, sizeof gpu->name, "Simulated_GPU");
    text(line, "bus", gpu->bus, sizeof gpu->bus, "00000000:01:00.0");
  } else if (!strncmp(line, "mig ", 4) && slice_count < MOST_SLICES && number(line, "gpu", 0) < MOST_GPUS) {
    Device *slice = &slices[slice_count++];
    slice->index = number(line, "gpu", 0);
    slice->slice = number(line, "index", 0);
    slice->gpu_instance = number(line, "gi", 1);
    slice->compute_instance = number(line, "ci", 0);
    slice->total = bytes(line, "total", 10ULL << 30);
    slice->used = bytes(line, "used", 0);
    text(line, "uuid", slice->uuid, sizeof slice->uuid, "MIG-0");
    text(line, "name", slice->name, sizeof slice->name, "Simulated_MIG_slice");
    snprintf(slice->bus, sizeof slice->bus, "%s", gpus[slice->index].bus);
  } else if (!strncmp(line, "proc ", 5) && process_count < MOST_PROCESSES) {
    processes[process_count++] = (Process){
        .gpu = number(line, "gpu", 0), .graphics = number(line, "graphics", 0), .pid = number(line, "pid", 0),
        .gpu_instance = number(line, "gi", NO_INSTANCE), .compute_instance = number(line, "ci", NO_INSTANCE),
        .used = bytes(line, "used", ~0ULL)};
  } else if ((!strncmp(line, "xid ", 4) || !strncmp(line, "ecc ", 4)) && happening_count < MOST_EVENTS) {
    happenings[happening_count++] = (Happening){
        .gpu = number(line, "gpu", 0), .type = *line == 'x' ? XID : DOUBLE_BIT_ECC, .data = number(line, "code", 0),
        .gpu_instance = number(line, "gi", NO_INSTANCE), .compute_instance = number(line, "ci", NO_INSTANCE),
        .sequence = number(line, "seq", 1)};
  } else if (sscanf(line, "driver %79s", driver) == 1) {
  } else if (sscanf(line, "processsize %d", &process_size) == 1) {
    if (process_size != 32) process_size = 24;
  } else if (sscanf(line, "fail %63s %d", failure.function, &failure.code) == 2 && failure_count < MOST_FAILURES) {
    failures[failure_count++] = failure;
  } else if (sscanf(line, "lingers %d", &seconds) == 1 && lingering_count < MOST_FAILURES) {
    lingerings[lingering_count++] = (Lingering){seconds, scope_of(line)};
  } else if (!strncmp(line, "missing ", 8)) {
    unsigned long long gpu = number(line, "gpu", MOST_GPUS);
    if (gpu < MOST_GPUS) gpus[gpu].missing = true;
  } else if (!strncmp(line, "hang", 4)) {
    hangs = true;
  } else if (sscanf(line, "reload %d", &new_reload) == 1) {
    if (new_reload != reload) initialized = 0;
    reload = new_reload;
  } else {
    sscanf(line, "count %lld", &shown_count);
  }
}

static void forget(void) {
  gpu_count = slice_count = failure_count = lingering_count = process_count = happening_count = 0;
  occupations_read_at = 0;
  hangs = false;
  for (int i = 0; i < MOST_GPUS; i++) gpus[i].missing = false;
  shown_count = -1;
  process_size = 24;
  strcpy(driver, "550.54.15");
}

// Handles stay valid: a GPU keeps its place in the array.
static void read_state_if_changed(void) {
  struct stat now;
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/nvml.state", folder());
  if (stat(path, &now)) {
    forget();
    memset(&read_state, 0, sizeof read_state);
    return;
  }
  if (now.st_mtim.tv_sec == read_state.st_mtim.tv_sec && now.st_mtim.tv_nsec == read_state.st_mtim.tv_nsec &&
      now.st_size == read_state.st_size && now.st_ino == read_state.st_ino)
    return;
  FILE *file = fopen(path, "r");
  if (!file) return;
  read_state = now;
  forget();
  char line[1024];
  while (fgets(line, sizeof line, file)) read_line(line);
  fclose(file);
}

static bool is_of(const Failure *failure, const char *function) {
  return !strcmp(failure->function, "any") || !strcmp(failure->function, function);
}

static bool concerns(Scope scope, const Device *device) {
  if (scope.gpu >= 0 && !(device && scope.gpu == device->index)) return false;
  return scope.slice == -2 || (device && scope.slice == device->slice);
}

#ifdef COUNT_CALLS
// What has been called so far without failing, for tests to ask.
static struct {
  const char *function;
  int gpu, count;
} calls[1024];

static void note_call(const char *function, int gpu) {
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (!calls[i].count) calls[i].function = function, calls[i].gpu = gpu;
    if (calls[i].function == function && calls[i].gpu == gpu) {
      calls[i].count++;
      return;
    }
  }
}

// On one GPU, or with -1 on all.
int fakeCalls(const char *function, int gpu) {
  int count = 0;
  pthread_mutex_lock(&lock);
  for (unsigned i = 0; i < sizeof calls / sizeof *calls && calls[i].count; i++)
    if (!strcmp(calls[i].function, function) && (gpu < 0 || calls[i].gpu == gpu)) count += calls[i].count;
  pthread_mutex_unlock(&lock);
  return count;
}
#else
static void note_call(const char *function, int gpu) { (void)function, (void)gpu; }
#endif

// Begins each call: locks, reads the state, and finds out whether the call is to fail.
static int enter(const char *function, const Device *device) {
  pthread_mutex_lock(&lock);
  read_state_if_changed();
  while (hangs) {
    pthread_mutex_unlock(&lock);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    pthread_mutex_lock(&lock);
    read_state_if_changed();
  }
  for (int i = 0; i < failure_count; i++)
    if (is_of(&failures[i], function) && concerns(failures[i].scope, device)) return failures[i].code;
  if (!initialized && strncmp(function, "nvmlInit", 8)) return UNINITIALIZED;
  note_call(function, device ? device->index : -1);
  return SUCCESS;
}

static int leave(int code) {
  pthread_mutex_unlock(&lock);
  return code;
}

#define ENTER(gpu)                        \
  int code_ = enter(__func__, gpu);       \
  if (code_ != SUCCESS) return leave(code_)

static const Device *device_named(const char *uuid) {
  for (int i = 0; i < gpu_count; i++)
    if (!strcmp(gpus[i].uuid, uuid)) return &gpus[i];
  for (int i = 0; i < slice_count; i++)
    if (!strcmp(slices[i].uuid, uuid)) return &slices[i];
  return NULL;
}

// Reads the arguments of one process, each of which ends with a NUL.
static void read_arguments(unsigned pid, const char *word, const char *end) {
  bool is_here = false;
  for (const char *value; word < end; word = value) {
    value = word + strlen(word) + 1;
    if (value >= end) return;
    if (!strcmp(word, "--gpus")) is_here = !strcmp(value, folder());
    const char *equals = strchr(value, '=');
    if (strcmp(word, "--holds") || !is_here || !equals || occupation_count == MOST_OCCUPATIONS) continue;
    char uuid[96];
    snprintf(uuid, sizeof uuid, "%.*s", (int)(equals - value), value);
    const Device *device = device_named(uuid);
    if (!device) continue;
    occupations[occupation_count++] = (Occupation){pid, strtoull(equals + 1, NULL, 10), device};
  }
}

// How long what a program held of a device stays in use after its end, in milliseconds.
static long long lingers_for(const Device *device) {
  long long longest = 0;
  for (int i = 0; i < lingering_count; i++)
    if (concerns(lingerings[i].scope, device) && lingerings[i].seconds * 1000LL > longest)
      longest = lingerings[i].seconds * 1000LL;
  return longest;
}

static bool still_holds(const Occupation *held) {
  for (int i = 0; i < occupation_count; i++)
    if (occupations[i].pid == held->pid && occupations[i].device == held->device) return true;
  return false;
}

// Keeps what lingers: of what there was, and of what programs held `before` that have ended since.
static void read_remainders(const Occupation *before, int count, long long now) {
  int kept = 0;
  for (int i = 0; i < remainder_count; i++)
    if (now - remainders[i].ended_at < lingers_for(remainders[i].occupation.device)) remainders[kept++] = remainders[i];
  for (int i = 0; i < count && kept < MOST_OCCUPATIONS; i++)
    if (lingers_for(before[i].device) && !still_holds(&before[i])) remainders[kept++] = (Remainder){before[i], now};
  remainder_count = kept;
}

static long long milliseconds_now(void) {
  struct timespec clock;
  clock_gettime(CLOCK_MONOTONIC, &clock);
  return clock.tv_sec * 1000LL + clock.tv_nsec / 1000000;
}

// At most every 20 ms: one look at all GPUs asks many times.
static void read_occupations(void) {
  long long now = milliseconds_now();
  if (occupations_read_at && now - occupations_read_at < 20) return;
  DIR *entries = opendir("/proc");
  if (!entries) return;
  static Occupation before[MOST_OCCUPATIONS];
  int count = occupation_count;
  memcpy(before, occupations, count * sizeof *before);
  occupations_read_at = now;
  occupation_count = 0;
  for (struct dirent *entry; (entry = readdir(entries));) {
    char *end, path[64], words[8192];
    unsigned long pid = strtoul(entry->d_name, &end, 10);
    if (!pid || *end) continue;
    snprintf(path, sizeof path, "/proc/%lu/cmdline", pid);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) continue;
    ssize_t length = read(descriptor, words, sizeof words - 1);
    close(descriptor);
    if (length <= 0) continue;
    words[length] = 0;
    read_arguments(pid, words, words + length);
  }
  closedir(entries);
  read_remainders(before, count, now);
}

static bool is_on(const Device *device, int gpu, unsigned gpu_instance, unsigned compute_instance) {
  if (device->index != gpu) return false;
  return device->slice < 0 || (device->gpu_instance == gpu_instance && device->compute_instance == compute_instance);
}

static unsigned long long used_on(const Device *device) {
  unsigned long long used = device->used;
  read_occupations();
  for (int i = 0; i < occupation_count + remainder_count; i++) {
    const Occupation *one = i < occupation_count ? &occupations[i] : &remainders[i - occupation_count].occupation;
    if (is_on(device, one->device->index, one->device->gpu_instance, one->device->compute_instance)) used += one->used;
  }
  return used < device->total ? used : device->total;
}

static void open_session(void) {
  if (!initialized++) count_when_opened = gpu_count;
}

int nvmlInit_v2(void) {
  ENTER(NULL);
  open_session();
  return leave(SUCCESS);
}

// As NVIDIA's bindings for Python begin. No flag changes anything here.
int nvmlInitWithFlags(unsigned flags) {
  ENTER(NULL);
  (void)flags;
  open_session();
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
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
  }
}

int nvmlSystemGetDriverVersion(char *buffer, unsigned size) {
  ENTER(NULL);
  snprintf(buffer, size, "%s", driver);
  return leave(SUCCESS);
}

// NVML's index counts those that are there.
static Device *gpu_at(unsigned index) {
  for (int i = 0; i < gpu_count; i++)
    if (!gpus[i].missing && !(gpus[i].plugged && i >= count_when_opened) && index-- == 0) return &gpus[i];
  return NULL;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  ENTER(NULL);
  unsigned there = 0;
  while (gpu_at(there)) there++;
  *count = shown_count >= 0 ? (unsigned)shown_count : there;
  return leave(SUCCESS);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **gpu) {
  pthread_mutex_lock(&lock);
  read_state_if_changed();
  Device *found = gpu_at(index);
  pthread_mutex_unlock(&lock);
  ENTER(found);
  if (!found) return leave(INVALID_ARGUMENT);
  *gpu = found;
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
  if (gpu->slice >= 0 || gpu->minor < 0) return leave(NOT_SUPPORTED);
  *minor = (unsigned)gpu->minor;
  return leave(SUCCESS);
}

typedef struct {
  unsigned long long total, free, used;
} Memory;

int nvmlDeviceGetMemoryInfo(Device *gpu, Memory *memory) {
  ENTER(gpu);
  unsigned long long used = used_on(gpu);
  *memory = (Memory){gpu->total, gpu->total - used, used};
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
  memory->used = used_on(gpu);
  memory->free = gpu->total - memory->used;
  return leave(SUCCESS);
}

int nvmlDeviceGetUtilizationRates(Device *gpu, unsigned rates[2]) {
  ENTER(gpu);
  if (gpu->slice >= 0 || gpu->divided) return leave(NOT_SUPPORTED);
  rates[0] = rates[1] = gpu->utilization;
  return leave(SUCCESS);
}

int nvmlDeviceGetTemperature(Device *gpu, int sensor, unsigned *temperature) {
  ENTER(gpu);
  if (sensor != 0) return leave(INVALID_ARGUMENT);
  if (gpu->slice >= 0) return leave(NOT_SUPPORTED);
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

typedef struct {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
  unsigned long long protected;
} ProcessInfo;

static int list_processes(const Device *device, bool graphics, unsigned *count, char *infos) {
  unsigned room = *count, found = 0;
  read_occupations();
  int occupied = graphics ? 0 : occupation_count;
  for (int i = 0; i < process_count + occupied; i++) {
    Process process;
    if (i < process_count) {
      process = processes[i];
    } else {
      const Occupation *one = &occupations[i - process_count];
      process = (Process){one->device->index, false, one->pid, one->device->gpu_instance,
                          one->device->compute_instance, one->used};
    }
    if (process.graphics != graphics || !is_on(device, process.gpu, process.gpu_instance, process.compute_instance))
      continue;
    if (found < room) {
      ProcessInfo info = {process.pid, process.used, process.gpu_instance, process.compute_instance, 0};
      memcpy(infos + (size_t)found * process_size, &info, process_size);
    }
    found++;
  }
  *count = found;
  return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *gpu, unsigned *count, char *infos) {
  ENTER(gpu);
  return leave(list_processes(gpu, false, count, infos));
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *gpu, unsigned *count, char *infos) {
  ENTER(gpu);
  return leave(list_processes(gpu, true, count, infos));
}

int nvmlDeviceGetMigMode(Device *gpu, unsigned *now, unsigned *after_reset) {
  ENTER(gpu);
  *now = *after_reset = gpu->divided;
  return leave(SUCCESS);
}

int nvmlDeviceGetMaxMigDeviceCount(Device *gpu, unsigned *count) {
  ENTER(gpu);
  *count = gpu->divided ? MIG_ROOM : 0;
  return leave(SUCCESS);
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *gpu, unsigned index, Device **slice) {
  ENTER(gpu);
  for (int i = 0; i < slice_count; i++)
    if (slices[i].index == gpu->index && slices[i].slice == (int)index) {
      *slice = &slices[i];
      return leave(SUCCESS);
    }
  return leave(NOT_FOUND);
}

int nvmlDeviceGetGpuInstanceId(Device *slice, unsigned *id) {
  ENTER(slice);
  *id = slice->gpu_instance;
  return leave(slice->slice < 0 ? NOT_SUPPORTED : SUCCESS);
}

int nvmlDeviceGetComputeInstanceId(Device *slice, unsigned *id) {
  ENTER(slice);
  *id = slice->compute_instance;
  return leave(slice->slice < 0 ? NOT_SUPPORTED : SUCCESS);
}

// What happens to a GPU before it is registered is not told.
typedef struct {
  unsigned long long types[MOST_GPUS], seen[MOST_GPUS];
} EventSet;

typedef struct {
  Device *device;
  unsigned long long type, data;
#ifndef OLD_SYMBOLS
  unsigned gpu_instance, compute_instance;
#endif
} Event;

int nvmlEventSetCreate(EventSet **set) {
  ENTER(NULL);
  *set = calloc(1, sizeof **set);
  return leave(SUCCESS);
}

int nvmlEventSetFree(EventSet *set) {
  ENTER(NULL);
  free(set);
  return leave(SUCCESS);
}

int nvmlDeviceGetSupportedEventTypes(Device *gpu, unsigned long long *types) {
  ENTER(gpu);
  *types = XID | DOUBLE_BIT_ECC | SINGLE_BIT_ECC;
  return leave(SUCCESS);
}

int nvmlDeviceRegisterEvents(Device *gpu, unsigned long long types, EventSet *set) {
  ENTER(gpu);
  if (gpu->slice >= 0) return leave(NOT_SUPPORTED);
  set->types[gpu->index] = types;
  for (int i = 0; i < happening_count; i++)
    if (happenings[i].gpu == gpu->index && happenings[i].sequence > set->seen[gpu->index])
      set->seen[gpu->index] = happenings[i].sequence;
  return leave(SUCCESS);
}

// The earliest that was not told yet.
static const Happening *next_happening(const EventSet *set) {
  const Happening *next = NULL;
  for (int i = 0; i < happening_count; i++) {
    const Happening *one = &happenings[i];
    if (one->gpu < 0 || one->gpu >= MOST_GPUS || !(set->types[one->gpu] & one->type)) continue;
    if (one->sequence > set->seen[one->gpu] && (!next || one->sequence < next->sequence)) next = one;
  }
  return next;
}

// Tells of changes in the folder; -1 where the system can't.
static int watch_folder(void) {
  int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (watch < 0) return -1;
  const unsigned changes = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM;
  if (inotify_add_watch(watch, folder(), changes) >= 0) return watch;
  close(watch);
  return -1;
}

static void await_change(int watch, long long most) {
  if (watch < 0) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return;
  }
  char told[4096];
  if (poll(&(struct pollfd){.fd = watch, .events = POLLIN}, 1, (int)most) > 0)
    while (read(watch, told, sizeof told) > 0) continue;
}

static int next_event(EventSet *set, Event *event) {
  const Happening *next = next_happening(set);
  if (!next) return TIMEOUT;
  set->seen[next->gpu] = next->sequence;
  event->device = &gpus[next->gpu];
  event->type = next->type;
  event->data = next->data;
#ifndef OLD_SYMBOLS
  event->gpu_instance = next->gpu_instance;
  event->compute_instance = next->compute_instance;
#endif
  return SUCCESS;
}

int nvmlEventSetWait_v2(EventSet *set, Event *event, unsigned milliseconds) {
  long long end = milliseconds_now() + milliseconds;
  int watch = watch_folder();
  int code;
  for (;;) {
    code = enter(__func__, NULL);
    if (code == SUCCESS) code = next_event(set, event);
    leave(code);
    long long left = end - milliseconds_now();
    if (code != TIMEOUT || left <= 0) break;
    await_change(watch, left);
  }
  if (watch >= 0) close(watch);
  return code;
}
