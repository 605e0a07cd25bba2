/* A small stand-in for NVIDIA's management library: as many GPUs as FAKE_NVML says.
 *
 *   FAKE_NVML="GPU-aaa GPU-bbb!lost GPU-ccc"   three GPUs, the second of which is lost
 *   FAKE_NVML="!no-driver"                     the library is there, the driver is not loaded
 *   FAKE_NVML="!mismatch"                      driver and library are of different versions
 *
 * Return codes are those of nvml.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, MISMATCH = 18 };
enum { MOST = 8, LONGEST = 80 };

static char uuids[MOST][LONGEST];
static int lost[MOST];
static unsigned int count;

static int init(void) {
    const char *wanted = getenv("FAKE_NVML");
    if (wanted == NULL || strcmp(wanted, "!no-driver") == 0) return DRIVER_NOT_LOADED;
    if (strcmp(wanted, "!mismatch") == 0) return MISMATCH;
    char copy[MOST * LONGEST];
    snprintf(copy, sizeof copy, "%s", wanted);
    count = 0;
    for (char *word = strtok(copy, " "); word != NULL && count < MOST; word = strtok(NULL, " ")) {
        char *mark = strstr(word, "!lost");
        lost[count] = mark != NULL;
        if (mark != NULL) *mark = '\0';
        snprintf(uuids[count++], LONGEST, "%s", word);
    }
    return SUCCESS;
}

int nvmlInit_v2(void) { return init(); }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return init(); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
        case SUCCESS: return "The operation was successful";
        case DRIVER_NOT_LOADED: return "Driver Not Loaded";
        case GPU_IS_LOST: return "GPU is lost";
        case MISMATCH: return "Driver/library version mismatch";
        default: return "Unknown Error";
    }
}

int nvmlDeviceGetCount_v2(unsigned int *found) {
    *found = count;
    return SUCCESS;
}

/* A handle is the index plus one, so that it is no null pointer. */
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if (index >= count) return INVALID_ARGUMENT;
    if (lost[index]) return GPU_IS_LOST;
    *handle = (void *)(unsigned long)(index + 1);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned int length) {
    snprintf(uuid, length, "%s", uuids[(unsigned long)handle - 1]);
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned int length) {
    snprintf(name, length, "Fake GPU %lu", (unsigned long)handle - 1);
    return SUCCESS;
}

struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) {
    memory->total = (unsigned long long)(unsigned long)handle << 34;
    memory->free = memory->total;
    memory->used = 0;
    return SUCCESS;
}
