/* A small stand-in for NVIDIA's management library: as many GPUs as FAKE_NVML says.
 *
 *   FAKE_NVML="GPU-aaa GPU-bbb!lost GPU-ccc"   three GPUs, the second of which is lost
 *   FAKE_NVML="GPU-aaa GPU-bbb!mute"           the second tells neither its use nor its temperature, as a MIG slice
 *   FAKE_NVML="GPU-aaa!hangs"                  asked for its use it never answers
 *   FAKE_NVML="!no-driver"                     the library is there, the driver is not loaded
 *   FAKE_NVML="!mismatch"                      driver and library are of different versions
 *
 * Return codes are those of nvml.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, MISMATCH = 18 };
enum { MOST = 8, LONGEST = 80 };

static char uuids[MOST][LONGEST];
static int lost[MOST], mute[MOST], hangs[MOST];
static unsigned int count;

static int init(void) {
    const char *wanted = getenv("FAKE_NVML");
    if (wanted == NULL || strcmp(wanted, "!no-driver") == 0) return DRIVER_NOT_LOADED;
    if (strcmp(wanted, "!mismatch") == 0) return MISMATCH;
    char copy[MOST * LONGEST];
    snprintf(copy, sizeof copy, "%s", wanted);
    count = 0;
    for (char *word = strtok(copy, " "); word != NULL && count < MOST; word = strtok(NULL, " ")) {
        char *mark = strchr(word, '!');
        lost[count] = mark != NULL && strcmp(mark, "!lost") == 0;
        mute[count] = mark != NULL && strcmp(mark, "!mute") == 0;
        hangs[count] = mark != NULL && strcmp(mark, "!hangs") == 0;
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
        case NOT_SUPPORTED: return "Not Supported";
        case NOT_FOUND: return "Not Found";
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

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (unsigned int index = 0; index < count; index++)
        if (strcmp(uuids[index], uuid) == 0) return nvmlDeviceGetHandleByIndex_v2(index, handle);
    return NOT_FOUND;
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
    memory->used = memory->total / 4;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

struct utilization { unsigned int gpu, memory; };

int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *use) {
    unsigned long index = (unsigned long)handle - 1;
    if (mute[index]) return NOT_SUPPORTED;
    while (hangs[index]) sleep(60);
    use->gpu = 37;
    use->memory = 5;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *handle, unsigned int sensor, unsigned int *celsius) {
    if (sensor != 0) return INVALID_ARGUMENT;
    if (mute[(unsigned long)handle - 1]) return NOT_SUPPORTED;
    *celsius = 61;
    return SUCCESS;
}
