// Calls that Swift's Glibc module leaves out.

#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAIT_CAPACITY = 64 };

int dynamo_pipe(int *reading, int *writing) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return errno;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *reading = ends[0];
    *writing = ends[1];
    return 0;
}

int dynamo_memory_file(void) { return memfd_create("output", MFD_CLOEXEC); }

int dynamo_poller_make(void) { return epoll_create1(EPOLL_CLOEXEC); }

int dynamo_poller_add(int poller, int descriptor, uint64_t id) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = id};
    return epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) < 0 ? errno : 0;
}

int dynamo_poller_wait(int poller, uint64_t *ids, int capacity, int milliseconds) {
    struct epoll_event events[WAIT_CAPACITY];
    int count = epoll_wait(poller, events, capacity < WAIT_CAPACITY ? capacity : WAIT_CAPACITY, milliseconds);
    for (int index = 0; index < count; index++) ids[index] = events[index].data.u64;
    return count < 0 ? 0 : count;
}

int dynamo_bell_make(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void dynamo_bell_ring(int bell) {
    uint64_t one = 1;
    // Full means that it rings already.
    if (write(bell, &one, sizeof one) < 0) return;
}

void dynamo_bell_silence(int bell) {
    uint64_t count;
    if (read(bell, &count, sizeof count) < 0) return;
}
