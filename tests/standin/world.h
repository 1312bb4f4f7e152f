/* The world of the stand-in: which cards there are, and who holds what of them. `nvml.c` says how its folder looks. */
#ifndef STANDIN_WORLD_H
#define STANDIN_WORLD_H

#include <stddef.h>
#include <stdio.h>

#define CALL __attribute__((visibility("default")))
#define MAX_CARDS 16
#define MAX_SLICES 8
#define MAX_PROCESSES 256
#define POLL_US 10000

/* NVML's own numbers. */
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

typedef struct {
    u32 pid;
    u64 bytes;
} Holder;

/* What a card or slice has at all, what is held of it, and by name: the same questions for both. */
typedef struct {
    Card card;
    int is_slice;
    const char *uuid, *name;
    u64 total_bytes, reserved_bytes, held_bytes;
} Device;

FILE *open_in(const char *name);
/* How many cards there are; -1: there is no world, so no driver either. */
int read_cards(Card cards[MAX_CARDS]);
int read_holders(const char *uuid, Holder holders[MAX_PROCESSES]);
/* Whether there is a card or slice of that name, and where; a card that is cut does not count, its slices do. */
int find(const char *uuid, Handle *handle);
/* The card at this place as soon as it does not hang, or the error that it has. */
int await_health(int index, Card *card);
/* The card or slice behind a handle, or the error that it has. */
int look_up(const Handle *place, Device *device);

#endif
