// The launcher's side: starting the keeper and talking to it, and signals that cannot hit a stranger.

#define _GNU_SOURCE
#include "CProcess.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int dynamo_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? errno : 0; }

int dynamo_keeper_start(int lock_descriptor, int door, uint64_t soft_limit, int *socket, pid_t *pid) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return errno;
    pid_t launcher = getpid();
    // No signal handler of the launcher may run in the keeper before it has its own mask.
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    pid_t child = _Fork();
    if (child == 0) dynamo_keeper_main(pair[1], lock_descriptor, door, soft_limit, launcher);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    close(pair[1]);
    if (child < 0) {
        close(pair[0]);
        return error;
    }
    struct dynamo_report hello;
    int result = dynamo_keeper_receive(pair[0], &hello);
    if (result == 1 && hello.kind == DYNAMO_REPORT_HELLO && hello.status == 0) {
        *socket = pair[0];
        *pid = child;
        return 0;
    }
    close(pair[0]);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return result == 1 && hello.status != 0 ? hello.status : ECHILD;
}

static int send_request(int socket, const struct dynamo_request *request, const int *descriptors, uint32_t count) {
    return dynamo_send_packet(socket, request, sizeof *request, descriptors, count);
}

int dynamo_keeper_spawn(int socket, uint64_t id, const char *text, size_t size, uint32_t argument_count,
                        uint32_t environment_count, const int *descriptors, uint32_t descriptor_count, uint32_t kept_count,
                        const struct dynamo_limits *limits) {
    descriptor_count += kept_count;
    if (descriptor_count + 1 > DYNAMO_MAXIMUM_DESCRIPTORS || kept_count > DYNAMO_MAXIMUM_KEPT) return EINVAL;
    // A file in memory, because arguments and environment may be larger than a packet.
    int file = memfd_create("spawn", MFD_CLOEXEC);
    if (file < 0) return errno;
    for (size_t written = 0; written < size;) {
        ssize_t count = write(file, text + written, size - written);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            int error = errno;
            close(file);
            return error;
        }
        written += (size_t)count;
    }
    int all[DYNAMO_MAXIMUM_DESCRIPTORS];
    all[0] = file;
    if (descriptor_count > 0) memcpy(all + 1, descriptors, sizeof(int) * descriptor_count);
    struct dynamo_request request = {
        .kind = DYNAMO_REQUEST_SPAWN,
        .id = id,
        .argument_count = argument_count,
        .environment_count = environment_count,
        .size = size,
        .kept_count = kept_count,
        .limits = *limits,
    };
    int error = send_request(socket, &request, all, descriptor_count + 1);
    close(file);
    return error;
}

int dynamo_usable_cpus(uint64_t *words) {
    memset(words, 0, sizeof(uint64_t) * DYNAMO_CPU_WORDS);
    return sched_getaffinity(0, sizeof(uint64_t) * DYNAMO_CPU_WORDS, (cpu_set_t *)words) < 0 ? errno : 0;
}

int dynamo_keeper_signal(int socket, uint64_t id, int signal) {
    struct dynamo_request request = {.kind = DYNAMO_REQUEST_SIGNAL, .id = id, .signal = signal};
    return send_request(socket, &request, NULL, 0);
}

int dynamo_keeper_kill_tree(int socket, uint64_t id) {
    struct dynamo_request request = {.kind = DYNAMO_REQUEST_KILL_TREE, .id = id};
    return send_request(socket, &request, NULL, 0);
}

int dynamo_keeper_ask(int socket, uint32_t kind, uint64_t id, int signal, uint64_t note, int descriptor) {
    struct dynamo_request request = {.kind = kind, .id = id, .signal = signal, .note = note};
    return send_request(socket, &request, &descriptor, descriptor < 0 ? 0 : 1);
}

int dynamo_keeper_lease(int socket, const int *descriptors, size_t count) {
    do {
        uint32_t part = count < DYNAMO_MAXIMUM_DESCRIPTORS ? (uint32_t)count : DYNAMO_MAXIMUM_DESCRIPTORS;
        struct dynamo_request request = {.kind = DYNAMO_REQUEST_LEASES, .signal = count > part};
        int error = send_request(socket, &request, descriptors, part);
        if (error != 0) return error;
        descriptors += part;
        count -= part;
    } while (count > 0);
    return 0;
}

int dynamo_keeper_receive(int socket, struct dynamo_report *report) {
    for (;;) {
        ssize_t size = recv(socket, report, sizeof *report, 0);
        if (size == (ssize_t)sizeof *report) return 1;
        if (size == 0) return 0;
        if (size < 0 && errno != EINTR) return errno == ECONNRESET ? 0 : -errno;
    }
}

int dynamo_keeper_receive_with(int socket, struct dynamo_report *report, int *descriptors, uint32_t *count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * DYNAMO_MAXIMUM_KEPT)];
        struct cmsghdr alignment;
    } control;
    struct iovec part = {.iov_base = report, .iov_len = sizeof *report};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t size;
    while ((size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
    }
    if (size < 0) return errno == ECONNRESET ? 0 : errno == EAGAIN ? -ETIME : -errno;
    *count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); size > 0 && header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        *count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(descriptors, CMSG_DATA(header), *count * sizeof(int));
    }
    if (size == 0) return 0;
    if (size == (ssize_t)sizeof *report && !(message.msg_flags & MSG_CTRUNC)) return 1;
    for (uint32_t index = 0; index < *count; index++) close(descriptors[index]);
    return -EPROTO;
}

void dynamo_keeper_limit(int socket, int milliseconds) {
    struct timeval limit = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int address_of(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int dynamo_keeper_door(const char *path, int *descriptor) {
    struct sockaddr_un address;
    int error = address_of(path, &address);
    if (error != 0) return error;
    int door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door < 0) return errno;
    unlink(path);
    if (bind(door, (const struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0600) < 0 || listen(door, 16) < 0) {
        error = errno;
        close(door);
        return error;
    }
    *descriptor = door;
    return 0;
}

int dynamo_keeper_knock(const char *path, int milliseconds, int *descriptor) {
    struct sockaddr_un address;
    int error = address_of(path, &address);
    if (error != 0) return error;
    int made = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (made < 0) return errno;
    dynamo_keeper_limit(made, milliseconds);
    while (connect(made, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == EINTR) continue;
        error = errno;
        close(made);
        return error;
    }
    *descriptor = made;
    return 0;
}

int dynamo_replace_program(const char *path, char **arguments) {
    // Those that something has made without saying so would stay open, and be waited for by others.
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) return errno;
    execv(path, arguments);
    return errno;
}

void dynamo_keeper_finish(int socket) { dynamo_keeper_ask(socket, DYNAMO_REQUEST_FINISH, 0, 0, 0, -1); }

static uint64_t start_time_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char line[1024];
    ssize_t size = read(file, line, sizeof line - 1);
    close(file);
    if (size <= 0) return 0;
    line[size] = 0;
    char *cursor = strrchr(line, ')');
    for (int field = 2; cursor != NULL && field < 22; field++) {
        cursor = strchr(cursor + 1, ' ');
    }
    return cursor == NULL ? 0 : strtoull(cursor + 1, NULL, 10);
}

int dynamo_signal_process(pid_t pid, uint64_t start_time, int signal) {
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    if (descriptor < 0) return errno;
    int error = 0;
    // Read after the descriptor was taken: from here on it means this process and no later one of the same number.
    if (start_time_of(pid) != start_time) {
        error = ESRCH;
    } else if (syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0) < 0) {
        error = errno;
    }
    close(descriptor);
    return error;
}

int dynamo_reap(pid_t pid, int milliseconds, int *status) {
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    if (descriptor >= 0) {
        struct pollfd entry = {.fd = descriptor, .events = POLLIN};
        while (poll(&entry, 1, milliseconds) < 0 && errno == EINTR) {
        }
        close(descriptor);
    }
    pid_t result;
    while ((result = waitpid(pid, status, WNOHANG)) < 0 && errno == EINTR) {
    }
    return result < 0 ? -errno : result == pid;
}
