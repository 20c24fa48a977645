// Reading /proc without malloc or stdio, for the keeper.

#define _GNU_SOURCE
#include "internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TABLE_CAPACITY = 1 << 17, DIRECTORY_BUFFER = 1 << 15 };

struct entry {
    pid_t pid;
    pid_t parent;
    pid_t session;
    int below;
};

struct directory_record {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

static pid_t parse_number(const char *text) {
    if (*text == 0) return -1;
    long value = 0;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') return -1;
        value = value * 10 + (*text - '0');
    }
    return (pid_t)value;
}

// Reads a small file of /proc; returns its length, with a NUL behind it, or -1.
static ssize_t read_small(int directory, const char *path, char *buffer, size_t size) {
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = read(file, buffer, size - 1);
    close(file);
    if (length >= 0) buffer[length] = 0;
    return length;
}

// Returns the text of field `number` (3 or later) of a stat line; the name before it may hold anything, even parentheses.
static const char *stat_field(const char *line, int number) {
    const char *cursor = strrchr(line, ')');
    if (cursor == NULL) return NULL;
    cursor += 1;
    for (int field = 2; cursor != NULL && field < number; field++) {
        cursor = strchr(cursor, ' ');
        if (cursor != NULL) cursor += 1;
    }
    return cursor;
}

static uint64_t parse_prefix(const char *text) {
    uint64_t value = 0;
    while (text != NULL && *text >= '0' && *text <= '9') value = value * 10 + (uint64_t)(*text++ - '0');
    return value;
}

static uint64_t stat_number(pid_t pid, int field) {
    char path[32] = "/proc/";
    char digits[16];
    int count = 0;
    for (pid_t rest = pid; rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
    char *cursor = path + 6;
    while (count > 0) *cursor++ = digits[--count];
    memcpy(cursor, "/stat", 6);
    char line[512];
    return read_small(AT_FDCWD, path, line, sizeof line) <= 0 ? 0 : parse_prefix(stat_field(line, field));
}

static size_t read_table(struct entry *table) {
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0) return 0;
    size_t count = 0;
    static char buffer[DIRECTORY_BUFFER] __attribute__((aligned(8)));
    long size;
    while ((size = syscall(SYS_getdents64, proc, buffer, sizeof buffer)) > 0) {
        for (long position = 0; position < size;) {
            struct directory_record *record = (struct directory_record *)(buffer + position);
            position += record->size;
            pid_t pid = parse_number(record->name);
            if (pid <= 0 || count == TABLE_CAPACITY) continue;
            char path[32];
            size_t length = strlen(record->name);
            if (length > 16) continue;
            memcpy(path, record->name, length);
            memcpy(path + length, "/stat", 6);
            char line[512];
            if (read_small(proc, path, line, sizeof line) <= 0) continue;
            table[count++] = (struct entry){
                .pid = pid,
                .parent = (pid_t)parse_prefix(stat_field(line, 4)),
                .session = (pid_t)parse_prefix(stat_field(line, 6)),
            };
        }
    }
    close(proc);
    return count;
}

void dynamo_signal_below(pid_t root, int signal, int children_only) {
    size_t bytes = TABLE_CAPACITY * sizeof(struct entry);
    struct entry *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED) return;
    size_t count = read_table(table);
    for (size_t index = 0; index < count; index++) {
        if (table[index].pid == root) continue;
        table[index].below = table[index].parent == root || table[index].session == root;
    }
    int changed = !children_only;
    while (changed) {
        changed = 0;
        for (size_t index = 0; index < count; index++) {
            if (table[index].below || table[index].pid == root) continue;
            for (size_t parent = 0; parent < count; parent++) {
                if (!table[parent].below || table[parent].pid != table[index].parent) continue;
                table[index].below = 1;
                changed = 1;
                break;
            }
        }
    }
    for (size_t index = 0; index < count; index++) {
        if (table[index].below && table[index].pid > 1) kill(table[index].pid, signal);
    }
    munmap(table, bytes);
}

uint64_t dynamo_start_time(pid_t pid) { return stat_number(pid, 22); }

int dynamo_is_in_session(pid_t pid, pid_t leader) { return pid > 0 && (pid_t)stat_number(pid, 6) == leader; }

void dynamo_rename_self(const char *name) {
    prctl(PR_SET_NAME, name, 0, 0, 0);
    // The command line is the memory between these two addresses; this copy of it is the keeper's own.
    char line[1024];
    if (read_small(AT_FDCWD, "/proc/self/stat", line, sizeof line) <= 0) return;
    char *start = (char *)(uintptr_t)parse_prefix(stat_field(line, 48));
    char *end = (char *)(uintptr_t)parse_prefix(stat_field(line, 49));
    size_t length = strlen(name);
    if (start == NULL || end <= start || (size_t)(end - start) <= length) return;
    memset(start, 0, (size_t)(end - start));
    memcpy(start, name, length);
}
