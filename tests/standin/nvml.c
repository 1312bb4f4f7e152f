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
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define CALL __attribute__((visibility("default")))
#define MAX_CARDS 16
#define MAX_SLICES 8
#define MAX_PROCESSES 256
#define POLL_US 10000

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    GPU_IS_LOST = 15,
    RESET_REQUIRED = 16,
    VERSION_MISMATCH = 25,
};
enum { CUDA_SUCCESS = 0, CUDA_OUT_OF_MEMORY = 2, CUDA_NO_DEVICE = 100, CUDA_UNKNOWN = 999 };
enum { EVENT_XID = 8, UNCORRECTED = 1 };

typedef unsigned int u32;
typedef unsigned long long u64;

typedef struct {
    char uuid[96], name[96];
    u64 total_bytes;
} Slice;

typedef struct {
    char uuid[96], name[96], health[16];
    u64 total_bytes, reserved_bytes;
    u32 compute_mode, mig, utilization, capability, slice_count;
    long long ecc;
    Slice slices[MAX_SLICES];
} Card;

/* What a handle points at: a place in PCI order, and of a slice its number on the card. */
typedef struct {
    int card, slice;
} Handle;

static Handle cards_handles[MAX_CARDS], slices_handles[MAX_CARDS][MAX_SLICES];
static int initialized;

/* --- the world ---------------------------------------------------------------------------------------------------- */

static int path_in(char *path, size_t size, const char *name) {
    const char *folder = getenv("FAKE_NVML_DIR");
    return folder != NULL && *folder != '\0' && snprintf(path, size, "%s/%s", folder, name) < (int)size;
}

static FILE *open_in(const char *name) {
    char path[1024];
    return path_in(path, sizeof path, name) ? fopen(path, "re") : NULL;
}

static void set_text(char *target, size_t size, const char *value) {
    snprintf(target, size, "%s", value);
}

static void set_field(Card *card, Slice *slice, const char *key, const char *value) {
    u64 number = strtoull(value, NULL, 10);
    if (!strcmp(key, "uuid")) set_text(slice ? slice->uuid : card->uuid, sizeof card->uuid, value);
    else if (!strcmp(key, "total_mib")) *(slice ? &slice->total_bytes : &card->total_bytes) = number << 20;
    else if (!strcmp(key, "reserved_mib")) card->reserved_bytes = number << 20;
    else if (!strcmp(key, "health")) set_text(card->health, sizeof card->health, value);
    else if (!strcmp(key, "compute_mode")) card->compute_mode = (u32)number;
    else if (!strcmp(key, "ecc")) card->ecc = strtoll(value, NULL, 10);
    else if (!strcmp(key, "mig")) card->mig = (u32)number;
    else if (!strcmp(key, "utilization")) card->utilization = (u32)number;
    else if (!strcmp(key, "capability")) card->capability = (u32)number;
}

/* How many cards there are; -1: there is no world, so no driver either. */
static int read_cards(Card cards[MAX_CARDS]) {
    FILE *file = open_in("cards");
    char line[1024];
    int count = 0;
    if (file == NULL) return -1;
    while (fgets(line, sizeof line, file) != NULL) {
        char *rest = NULL, *name = strstr(line, "name=");
        int is_slice = !strncmp(line, "slice ", 6);
        Card *card;
        Slice *slice = NULL;
        if (is_slice) {
            if (count == 0 || cards[count - 1].slice_count == MAX_SLICES) continue;
            card = &cards[count - 1];
            slice = &card->slices[card->slice_count++];
        } else {
            if (strncmp(line, "card ", 5) != 0 || count == MAX_CARDS) continue;
            card = &cards[count++];
            memset(card, 0, sizeof *card);
            card->ecc = -1;
        }
        if (name != NULL) {
            name[strcspn(name, "\n")] = '\0';
            set_text(slice ? slice->name : card->name, sizeof card->name, name + strlen("name="));
            *name = '\0';
        }
        for (char *word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
            char *value = strchr(word, '=');
            if (value == NULL) continue;
            *value++ = '\0';
            set_field(card, slice, word, value);
        }
    }
    fclose(file);
    return count;
}

/* The state in /proc/PID/stat; one that is a zombie holds no memory of a card any more. */
static int is_alive(int pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = '\0';
    char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] != 'Z' && name_end[2] != 'X';
}

typedef struct {
    u32 pid;
    u64 bytes;
} Holder;

static int read_holders(const char *uuid, Holder holders[MAX_PROCESSES]) {
    char folder[1024];
    size_t length = strlen(uuid);
    int count = 0;
    if (!path_in(folder, sizeof folder, "held")) return 0;
    DIR *directory = opendir(folder);
    if (directory == NULL) return 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && count < MAX_PROCESSES;) {
        char name[400], word[16] = "";
        u64 bytes = 0;
        if (strncmp(entry->d_name, uuid, length) != 0 || entry->d_name[length] != '.') continue;
        int pid = atoi(entry->d_name + length + 1);
        if (pid <= 0) continue;
        snprintf(name, sizeof name, "held/%s", entry->d_name);
        FILE *file = open_in(name);
        if (file == NULL) continue;
        int fields = fscanf(file, "%llu %15s", &bytes, word);
        fclose(file);
        if (fields < 1 || bytes == 0) continue;
        if (strcmp(word, "stuck") != 0 && !is_alive(pid)) continue;
        holders[count++] = (Holder){(u32)pid, bytes};
    }
    closedir(directory);
    return count;
}

static u64 held_bytes(const char *uuid) {
    Holder holders[MAX_PROCESSES];
    u64 sum = 0;
    for (int count = read_holders(uuid, holders), i = 0; i < count; i++) sum += holders[i].bytes;
    return sum;
}

/* What a card or slice has at all, what is held of it, and by name: the same questions for both. */
typedef struct {
    Card card;
    int is_slice;
    const char *uuid, *name;
    u64 total_bytes, reserved_bytes, held_bytes;
} Device;

static int await_health(int index, Card *card) {
    Card cards[MAX_CARDS];
    for (;;) {
        int count = read_cards(cards);
        if (count < 0) return DRIVER_NOT_LOADED;
        if (index >= count) return GPU_IS_LOST;
        *card = cards[index];
        if (!strcmp(card->health, "lost")) return GPU_IS_LOST;
        if (!strcmp(card->health, "reset")) return RESET_REQUIRED;
        if (strcmp(card->health, "hang") != 0) return SUCCESS;
        usleep(POLL_US);
    }
}

static int look_up(void *handle, Device *device) {
    Handle *place = handle;
    if (!initialized) return UNINITIALIZED;
    if (place == NULL) return INVALID_ARGUMENT;
    int result = await_health(place->card, &device->card);
    if (result != SUCCESS) return result;
    Card *card = &device->card;
    device->is_slice = place->slice >= 0;
    if (device->is_slice && (!card->mig || (u32)place->slice >= card->slice_count)) return NOT_FOUND;
    Slice *slice = device->is_slice ? &card->slices[place->slice] : NULL;
    device->uuid = slice ? slice->uuid : card->uuid;
    device->name = slice ? slice->name : card->name;
    device->total_bytes = slice ? slice->total_bytes : card->total_bytes;
    device->reserved_bytes = slice ? 0 : card->reserved_bytes;
    u64 room = device->total_bytes - device->reserved_bytes;
    u64 held = held_bytes(device->uuid);
    device->held_bytes = held < room ? held : room;
    return SUCCESS;
}

#define LOOK_UP(handle)                             \
    Device device;                                  \
    do {                                            \
        int result_ = look_up((handle), &device);   \
        if (result_ != SUCCESS) return result_;     \
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

CALL int nvmlInit_v2(void) {
    return nvmlInitWithFlags(0);
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

/* --- a worker's appetite ------------------------------------------------------------------------------------------ */

static int find(const char *uuid, Handle *handle) {
    Card cards[MAX_CARDS];
    for (int count = read_cards(cards), i = 0; i < count; i++) {
        *handle = (Handle){i, -1};
        if (!cards[i].mig && !strcmp(cards[i].uuid, uuid)) return 1;
        for (u32 j = 0; cards[i].mig && j < cards[i].slice_count; j++) {
            *handle = (Handle){i, (int)j};
            if (!strcmp(cards[i].slices[j].uuid, uuid)) return 1;
        }
    }
    return 0;
}

CALL int standin_memory(const char *uuid, u64 *free_bytes, u64 *total_bytes) {
    Handle handle;
    Device device;
    if (!find(uuid, &handle)) return CUDA_NO_DEVICE;
    initialized = 1;
    if (look_up(&handle, &device) != SUCCESS) return CUDA_UNKNOWN;
    *total_bytes = device.total_bytes - device.reserved_bytes;
    *free_bytes = *total_bytes - device.held_bytes;
    return CUDA_SUCCESS;
}

static u64 own_bytes(const char *uuid) {
    char name[200];
    u64 bytes = 0;
    snprintf(name, sizeof name, "held/%s.%d", uuid, (int)getpid());
    FILE *file = open_in(name);
    if (file == NULL) return 0;
    if (fscanf(file, "%llu", &bytes) != 1) bytes = 0;
    fclose(file);
    return bytes;
}

static void set_own_bytes(const char *uuid, u64 bytes) {
    char name[200], path[1024], draft[1024];
    snprintf(name, sizeof name, "held/%s.%d", uuid, (int)getpid());
    if (!path_in(path, sizeof path, name)) return;
    snprintf(name, sizeof name, "draft.%d", (int)getpid());
    if (!path_in(draft, sizeof draft, name)) return;
    FILE *file = fopen(draft, "we");
    if (file == NULL) return;
    fprintf(file, "%llu\n", bytes);
    fclose(file);
    rename(draft, path);
}

static int take_lock(const char *uuid) {
    char name[200], path[1024];
    snprintf(name, sizeof name, "lock.%s", uuid);
    if (!path_in(path, sizeof path, name)) return -1;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file >= 0) flock(file, LOCK_EX);
    return file;
}

CALL int standin_allocate(const char *uuid, u64 bytes) {
    u64 free_bytes, total_bytes;
    int lock = take_lock(uuid);
    int result = standin_memory(uuid, &free_bytes, &total_bytes);
    if (result == CUDA_SUCCESS && bytes > free_bytes) result = CUDA_OUT_OF_MEMORY;
    if (result == CUDA_SUCCESS) set_own_bytes(uuid, own_bytes(uuid) + bytes);
    if (lock >= 0) close(lock);
    return result;
}

CALL int standin_free(const char *uuid, u64 bytes) {
    int lock = take_lock(uuid);
    u64 own = own_bytes(uuid);
    set_own_bytes(uuid, bytes < own ? own - bytes : 0);
    if (lock >= 0) close(lock);
    return CUDA_SUCCESS;
}
