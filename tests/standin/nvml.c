/*
 * Stands in for libnvidia-ml.so.1, the library of NVIDIA's driver, where there is neither a driver nor a card.
 *
 * Its world is the folder $FAKE_NVML_DIR, read afresh at every call:
 *
 *   cards        a line for each card, in PCI order, and below it one for each of its slices (MIG):
 *                  card  uuid=… total_mib=… reserved_mib=… health=… compute_mode=… ecc=… mig=0|1 utilization=…
 *                        capability=75 name=…
 *                  slice uuid=… total_mib=… name=…
 *                health: ok | lost | reset | hang (calls stay away until it says something else)
 *                compute_mode: NVML's own numbers; ecc: uncorrected errors, -1 for a card that does not count
 *                capability: major and minor in two digits; name: the rest of the line
 *   held/U.P     what process P holds on the card or slice with the UUID U, in bytes. Once the process is dead its memory
 *                is free, unless the word "stuck" stands behind the figure
 *   xids         lines "INDEX XID", appended; told once to each event set that was made before
 *   lock.U       taken by whoever allocates on U
 *
 * Beside NVML's calls there are standin_allocate, standin_free and standin_memory: CUDA's, as far as a worker's appetite
 * goes.
 */
#define _GNU_SOURCE
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_XID = 8, UNCORRECTED = 1 };

static Handle cards_handles[MAX_CARDS], slices_handles[MAX_CARDS][MAX_SLICES];
static int initialized;

#define LOOK_UP(handle)                                 \
    Device device;                                      \
    do {                                                \
        if (!initialized) return UNINITIALIZED;         \
        if ((handle) == NULL) return INVALID_ARGUMENT;  \
        int result_ = look_up((handle), &device);       \
        if (result_ != SUCCESS) return result_;         \
    } while (0)

static int copy_out(const char *text, char *buffer, u32 size) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(buffer, text);
    return SUCCESS;
}

/* --- the library and its cards ------------------------------------------------------------------------------------ */

CALL int nvmlInitWithFlags(u32 flags) {
    Card cards[MAX_CARDS];
    (void)flags;
    if (read_cards(cards) < 0) return DRIVER_NOT_LOADED;
    initialized = 1;
    return SUCCESS;
}

CALL int nvmlShutdown(void) {
    if (!initialized) return UNINITIALIZED;
    initialized = 0;
    return SUCCESS;
}

CALL const char *nvmlErrorString(int result) {
    switch (result) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case GPU_IS_LOST: return "GPU is lost";
    case RESET_REQUIRED: return "GPU requires reset";
    case VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

CALL int nvmlSystemGetDriverVersion(char *buffer, u32 size) {
    return initialized ? copy_out("575.51.03", buffer, size) : UNINITIALIZED;
}

CALL int nvmlDeviceGetCount_v2(u32 *count) {
    Card cards[MAX_CARDS];
    if (!initialized) return UNINITIALIZED;
    int found = read_cards(cards);
    if (found < 0) return DRIVER_NOT_LOADED;
    *count = (u32)found;
    return SUCCESS;
}

CALL int nvmlDeviceGetHandleByIndex_v2(u32 index, void **handle) {
    Card cards[MAX_CARDS];
    if (!initialized) return UNINITIALIZED;
    if ((int)index >= read_cards(cards)) return INVALID_ARGUMENT;
    int result = await_health((int)index, &cards[0]);
    if (result != SUCCESS) return result;
    cards_handles[index] = (Handle){(int)index, -1};
    *handle = &cards_handles[index];
    return SUCCESS;
}

CALL int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    Handle place;
    Card card;
    if (!initialized) return UNINITIALIZED;
    if (!find(uuid, &place)) return NOT_FOUND;
    int result = await_health(place.card, &card);
    if (result != SUCCESS) return result;
    Handle *kept = place.slice < 0 ? &cards_handles[place.card] : &slices_handles[place.card][place.slice];
    *kept = place;
    *handle = kept;
    return SUCCESS;
}

CALL int nvmlDeviceGetIndex(void *handle, u32 *index) {
    LOOK_UP(handle);
    *index = (u32)((Handle *)handle)->card;
    return SUCCESS;
}

CALL int nvmlDeviceGetName(void *handle, char *buffer, u32 size) {
    LOOK_UP(handle);
    return copy_out(device.name, buffer, size);
}

CALL int nvmlDeviceGetUUID(void *handle, char *buffer, u32 size) {
    LOOK_UP(handle);
    return copy_out(device.uuid, buffer, size);
}

CALL int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    LOOK_UP(handle);
    *major = (int)device.card.capability / 10;
    *minor = (int)device.card.capability % 10;
    return SUCCESS;
}

CALL int nvmlDeviceGetComputeMode(void *handle, u32 *mode) {
    LOOK_UP(handle);
    *mode = device.card.compute_mode;
    return SUCCESS;
}

/* --- slices (MIG) ------------------------------------------------------------------------------------------------- */

CALL int nvmlDeviceGetMigMode(void *handle, u32 *current, u32 *pending) {
    LOOK_UP(handle);
    if (!device.card.mig && device.card.slice_count == 0) return NOT_SUPPORTED;
    *current = *pending = device.card.mig;
    return SUCCESS;
}

CALL int nvmlDeviceGetMaxMigDeviceCount(void *handle, u32 *count) {
    LOOK_UP(handle);
    *count = MAX_SLICES;
    return SUCCESS;
}

CALL int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, u32 index, void **slice) {
    LOOK_UP(handle);
    if (!device.card.mig || index >= device.card.slice_count) return NOT_FOUND;
    int card = ((Handle *)handle)->card;
    slices_handles[card][index] = (Handle){card, (int)index};
    *slice = &slices_handles[card][index];
    return SUCCESS;
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

typedef struct {
    u64 total, free, used;
} Memory;

CALL int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    LOOK_UP(handle);
    memory->total = device.total_bytes;
    memory->used = device.reserved_bytes + device.held_bytes;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

typedef struct {
    u32 version;
    u64 total, reserved, free, used;
} MemoryV2;

CALL int nvmlDeviceGetMemoryInfo_v2(void *handle, MemoryV2 *memory) {
    LOOK_UP(handle);
    if (memory->version != (sizeof *memory | 2U << 24)) return VERSION_MISMATCH;
    memory->total = device.total_bytes;
    memory->reserved = device.reserved_bytes;
    memory->used = device.held_bytes;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

typedef struct {
    u32 gpu, memory;
} Utilization;

CALL int nvmlDeviceGetUtilizationRates(void *handle, Utilization *rates) {
    LOOK_UP(handle);
    if (device.is_slice) return NOT_SUPPORTED;
    *rates = (Utilization){device.card.utilization, 0};
    return SUCCESS;
}

CALL int nvmlDeviceGetTotalEccErrors(void *handle, u32 type, u32 counter, u64 *errors) {
    LOOK_UP(handle);
    (void)counter;
    if (device.is_slice || device.card.ecc < 0) return NOT_SUPPORTED;
    *errors = type == UNCORRECTED ? (u64)device.card.ecc : 0;
    return SUCCESS;
}

typedef struct {
    u32 pid;
    u64 used_bytes;
    u32 gpu_instance, compute_instance;
} Process;

CALL int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, u32 *count, Process *processes) {
    Holder holders[MAX_PROCESSES];
    LOOK_UP(handle);
    u32 room = *count, found = (u32)read_holders(device.uuid, holders);
    *count = found;
    if (found == 0) return SUCCESS;
    if (processes == NULL || room < found) return INSUFFICIENT_SIZE;
    for (u32 i = 0; i < found; i++) processes[i] = (Process){holders[i].pid, holders[i].bytes, ~0U, ~0U};
    return SUCCESS;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

typedef struct {
    void *handle;
    u64 type, data;
    u32 gpu_instance, compute_instance;
} Event;

typedef struct {
    long told_to;
    u32 cards;
} EventSet;

CALL int nvmlEventSetCreate(void **set) {
    EventSet *made = calloc(1, sizeof *made);
    FILE *file = open_in("xids");
    if (file != NULL) {
        fseek(file, 0, SEEK_END);
        made->told_to = ftell(file);
        fclose(file);
    }
    *set = made;
    return SUCCESS;
}

CALL int nvmlEventSetFree(void *set) {
    free(set);
    return SUCCESS;
}

CALL int nvmlDeviceRegisterEvents(void *handle, u64 types, void *set) {
    LOOK_UP(handle);
    if ((types & EVENT_XID) == 0) return NOT_SUPPORTED;
    __atomic_or_fetch(&((EventSet *)set)->cards, 1U << ((Handle *)handle)->card, __ATOMIC_SEQ_CST);
    return SUCCESS;
}

/* Whether a line after those told already speaks of a card of this set. */
static int next_xid(EventSet *set, Event *event) {
    FILE *file = open_in("xids");
    char line[80];
    int found = 0;
    if (file == NULL) return 0;
    fseek(file, set->told_to, SEEK_SET);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        u32 index;
        u64 xid;
        set->told_to = ftell(file);
        if (sscanf(line, "%u %llu", &index, &xid) != 2 || index >= MAX_CARDS) continue;
        if ((__atomic_load_n(&set->cards, __ATOMIC_SEQ_CST) >> index & 1U) == 0) continue;
        *event = (Event){&cards_handles[index], EVENT_XID, xid, ~0U, ~0U};
        found = 1;
    }
    fclose(file);
    return found;
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

CALL int nvmlEventSetWait_v2(void *set, Event *event, u32 timeout_ms) {
    for (long end_ms = now_ms() + (long)timeout_ms;;) {
        if (next_xid(set, event)) return SUCCESS;
        if (now_ms() >= end_ms) return TIMEOUT;
        usleep(POLL_US);
    }
}
