// A driver so old that it can do little more than name its one GPU. With -DWITHOUT_UUID it can't do even that.
int nvmlInit_v2(void) { return 0; }

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = 1;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
  static int only;
  *gpu = &only;
  return index == 0 ? 0 : 2;
}

#ifndef WITHOUT_UUID
int nvmlDeviceGetUUID(void *gpu, char *buffer, unsigned size) {
  const char uuid[] = "GPU-old";
  (void)gpu;
  for (unsigned i = 0; i < sizeof uuid && i < size; i++) buffer[i] = uuid[i];
  return 0;
}
#endif

typedef struct {
  unsigned long long total, free, used;
} Memory;

int nvmlDeviceGetMemoryInfo(void *gpu, Memory *memory) {
  (void)gpu;
  *memory = (Memory){1000, 600, 400};
  return 0;
}
