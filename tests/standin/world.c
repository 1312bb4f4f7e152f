/* Reads the folder that is the stand-in's world, and lets a worker hold memory in it, as CUDA would. */
#define _GNU_SOURCE
#include "world.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { CUDA_SUCCESS = 0, CUDA_OUT_OF_MEMORY = 2, CUDA_NO_DEVICE = 100, CUDA_UNKNOWN = 999 };

static int path_in(char *path, size_t size, const char *name) {
    const char *folder = getenv("FAKE_NVML_DIR");
    return folder != NULL && *folder != '\0' && snprintf(path, size, "%s/%s", folder, name) < (int)size;
}

FILE *open_in(const char *name) {
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

int read_cards(Card cards[MAX_CARDS]) {
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

int read_holders(const char *uuid, Holder holders[MAX_PROCESSES]) {
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

int await_health(int index, Card *card) {
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

int look_up(const Handle *place, Device *device) {
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

int find(const char *uuid, Handle *handle) {
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

/* --- a worker's appetite ------------------------------------------------------------------------------------------ */

CALL int standin_memory(const char *uuid, u64 *free_bytes, u64 *total_bytes) {
    Handle handle;
    Device device;
    if (!find(uuid, &handle)) return CUDA_NO_DEVICE;
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
