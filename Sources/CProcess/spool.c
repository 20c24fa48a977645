// What programs have written and nobody has logged yet; see dynamo_spool.

#define _GNU_SOURCE
#include "CProcess.h"
#include "internal.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

// A line of the longest kind and what is read in one go have room several times over.
enum { LAUNCHER_BYTES = DYNAMO_SPOOL_DATA + (1 << 20) + 2 * DYNAMO_SPOOL_READ };
enum { WHOLE_BYTES = DYNAMO_SPOOL_DATA + DYNAMO_SPOOL_CAPACITY };

int dynamo_spool_make(void) {
    int file = memfd_create("spool", MFD_CLOEXEC);
    // Sparse: only what is written costs memory.
    if (file >= 0 && ftruncate(file, WHOLE_BYTES) < 0) {
        close(file);
        return -1;
    }
    return file;
}

struct dynamo_spool *dynamo_spool_map(int descriptor, int whole) {
    void *start = mmap(NULL, whole ? WHOLE_BYTES : LAUNCHER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    return start == MAP_FAILED ? NULL : start;
}

void dynamo_spool_unmap(struct dynamo_spool *spool, int whole) { munmap(spool, whole ? WHOLE_BYTES : LAUNCHER_BYTES); }

char *dynamo_spool_data(struct dynamo_spool *spool) { return (char *)spool + DYNAMO_SPOOL_DATA; }

uint32_t dynamo_spool_used(struct dynamo_spool *spool) {
    uint32_t used = (uint32_t)__atomic_load_n(&spool->position, __ATOMIC_SEQ_CST);
    return used < DYNAMO_SPOOL_CAPACITY ? used : DYNAMO_SPOOL_CAPACITY;
}

uint32_t dynamo_spool_logged(struct dynamo_spool *spool) {
    uint32_t logged = (uint32_t)(__atomic_load_n(&spool->position, __ATOMIC_SEQ_CST) >> 32);
    uint32_t used = dynamo_spool_used(spool);
    return logged < used ? logged : used;
}

uint64_t dynamo_spool_take_dropped(struct dynamo_spool *spool) { return __atomic_exchange_n(&spool->dropped, 0, __ATOMIC_SEQ_CST); }

void dynamo_spool_set(struct dynamo_spool *spool, uint32_t used, uint32_t logged) {
    __atomic_store_n(&spool->position, (uint64_t)logged << 32 | used, __ATOMIC_SEQ_CST);
}

uint32_t dynamo_spool_logging(struct dynamo_spool *spool) {
    return (uint32_t)__atomic_load_n(&spool->logging, __ATOMIC_SEQ_CST);
}

void dynamo_spool_set_logging(struct dynamo_spool *spool, uint32_t end) {
    __atomic_store_n(&spool->logging, end, __ATOMIC_SEQ_CST);
}

void dynamo_spool_trim(int descriptor) {
    fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LAUNCHER_BYTES, WHOLE_BYTES - LAUNCHER_BYTES);
}
