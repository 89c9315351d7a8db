// All of it is in the header: what is called is found by dlsym at run time.
#include "CNVML.h"

_Static_assert(sizeof(cnvml_memory_v2) == 40, "the version field carries this size");
_Static_assert(sizeof(cnvml_pci_info) == 68, "as nvmlPciInfo_t");
_Static_assert(sizeof(cnvml_process) == 24, "as nvmlProcessInfo_t");
_Static_assert(sizeof(cnvml_event) == sizeof(void *) + 24, "as nvmlEventData_t");
