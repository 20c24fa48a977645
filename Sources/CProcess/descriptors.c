// Calls that Swift's Glibc module leaves out.

#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

int dynamo_listen(const char *host, int port, int *descriptor) {
    // More are cut to what the system allows (net.core.somaxconn).
    enum { BACKLOG = 4096 };
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int result = getaddrinfo(host, service, &hints, &found);
    if (result != 0) return result == EAI_SYSTEM ? errno : result;
    int on = 1;
    int error = 0;
    int made = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(made, found->ai_addr, found->ai_addrlen) < 0 || listen(made, BACKLOG) < 0) {
        error = errno;
        if (made >= 0) close(made);
    } else {
        *descriptor = made;
    }
    freeaddrinfo(found);
    return error;
}

int dynamo_notify_socket(const char *path, int *descriptor) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int result = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (result < 0) return errno;
    int on = 1;
    unlink(path);
    if (setsockopt(result, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
        bind(result, (const struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0600) < 0) {
        int error = errno;
        close(result);
        return error;
    }
    *descriptor = result;
    return 0;
}

ssize_t dynamo_notify_receive(int descriptor, char *text, size_t capacity, pid_t *sender) {
    // The kernel allows no more descriptors in one message.
    enum { MOST = 253 };
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * MOST)];
        struct cmsghdr alignment;
    } control;
    struct iovec part = {.iov_base = text, .iov_len = capacity};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t size;
    while ((size = recvmsg(descriptor, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
    }
    if (size < 0) return -1;
    *sender = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET) continue;
        if (header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
            *sender = credentials.pid;
        } else if (header->cmsg_type == SCM_RIGHTS) {
            size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t index = 0; index < count; index++) {
                int received;
                memcpy(&received, CMSG_DATA(header) + index * sizeof received, sizeof received);
                close(received);
            }
        }
    }
    if (message.msg_flags & MSG_TRUNC) *sender = 0;
    return size;
}

// What is never written can be let go: the pages that are needed come back from the file.
static int let_file_go(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    (void)context;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[index];
        if (header->p_type != PT_LOAD || (header->p_flags & PF_W)) continue;
        uintptr_t start = (info->dlpi_addr + header->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + header->p_vaddr + header->p_memsz) & ~(page - 1);
        if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void dynamo_trim_memory(void) {
    malloc_trim(0);
    dl_iterate_phdr(let_file_go, NULL);
}
