// The keeper process.

#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TERMINATE_MILLISECONDS = 2000, GIVE_UP_MILLISECONDS = 10000, SWEEP_MILLISECONDS = 50 };

struct leader *keeper_leaders;
size_t keeper_leader_count;
int keeper_is_orphaned;
int keeper_forgets;
uint64_t keeper_soft_limit;
int keeper_kept_file = -1;
int *keeper_leases;
size_t keeper_lease_count;
// So many of the leases are held; a launcher sends the next ones in parts.
static size_t held_leases;
int keeper_signals;
// Whether what runs outlives the launcher.
static int survives;

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void keeper_report(uint32_t kind, uint64_t id, pid_t pid, int status, int step) {
    // The next launcher is told what is kept.
    if (keeper_is_orphaned) return;
    struct dynamo_report message = {.kind = kind, .pid = pid, .status = status, .step = step, .id = id};
    // Blocking on purpose: no report may be lost. A launcher that is gone gives EPIPE, and the poll loop sees its end.
    while (send(CHANNEL, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

// MARK: Requests

void keeper_drop(struct leader *leader) {
    for (uint32_t index = 0; index < leader->kept_count; index++) close(leader->kept[index]);
    *leader = keeper_leaders[--keeper_leader_count];
}

static struct leader *find_leader(uint64_t id) {
    for (size_t index = 0; index < keeper_leader_count; index++) {
        if (keeper_leaders[index].id == id) return &keeper_leaders[index];
    }
    return NULL;
}

static void close_sockets(void) {
    for (size_t index = 0; index < keeper_leader_count; index++) {
        struct leader *leader = &keeper_leaders[index];
        while (leader->kept_count > DYNAMO_KEPT_SOCKETS) close(leader->kept[--leader->kept_count]);
    }
}

void keeper_settle_leases(void) { held_leases = keeper_lease_count; }

void keeper_drop_leases(void) {
    for (size_t index = 0; index < keeper_lease_count; index++) close(keeper_leases[index]);
    keeper_lease_count = 0;
    keeper_settle_leases();
}

// The old ones are let go only when all that take their place are there.
static void take_leases(int *received, uint32_t count, int more) {
    for (uint32_t index = 0; index < count && keeper_lease_count < LEASE_CAPACITY; index++) {
        keeper_leases[keeper_lease_count++] = received[index];
        received[index] = -1;
    }
    if (more) return;
    for (size_t index = 0; index < held_leases; index++) close(keeper_leases[index]);
    keeper_lease_count -= held_leases;
    memmove(keeper_leases, keeper_leases + held_leases, keeper_lease_count * sizeof *keeper_leases);
    keeper_settle_leases();
}

// What is asked of one process. Not reaped yet, so that the number cannot belong to another process.
static void handle_leader_request(const struct dynamo_request *request, struct leader *leader) {
    switch (request->kind) {
    case DYNAMO_REQUEST_SIGNAL:
        if (!leader->ended) kill(leader->pid, request->signal);
        break;
    case DYNAMO_REQUEST_KILL_TREE:
        if (leader->ended) break;
        // First what hangs on it: once it is gone, nothing tells that those in other sessions were its descendants. Until then it
        // must neither start more nor make something of their end.
        kill(leader->pid, SIGSTOP);
        dynamo_signal_below(leader->pid, SIGKILL, 0);
        kill(leader->pid, SIGKILL);
        break;
    case DYNAMO_REQUEST_NOTE:
        leader->note = request->note;
        break;
    case DYNAMO_REQUEST_FORGET:
        if (leader->ended) keeper_drop(leader);
        break;
    default:
        break;
    }
}

// Takes a packet with its descriptors, without waiting for one. Returns its size, 0 at the end, or a negated errno.
static ssize_t receive_request(int socket, struct dynamo_request *request, int *received, uint32_t *count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * DYNAMO_MAXIMUM_DESCRIPTORS)];
        struct cmsghdr alignment;
    } control;
    struct iovec part = {.iov_base = request, .iov_len = sizeof *request};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *count = 0;
    ssize_t size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0) return -errno;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        *count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(received, CMSG_DATA(header), *count * sizeof(int));
    }
    return size;
}

enum outcome { GO_ON, NOTHING_THERE, LAUNCHER_GONE, FINISH };

static enum outcome handle_request(void) {
    struct dynamo_request request;
    int received[DYNAMO_MAXIMUM_DESCRIPTORS];
    uint32_t count;
    ssize_t size = receive_request(CHANNEL, &request, received, &count);
    // A launcher that died with reports unread; said once, before what it had asked for until then.
    if (size == -EINTR || size == -ECONNRESET) return GO_ON;
    if (size == -EAGAIN) return NOTHING_THERE;
    if (size <= 0) return LAUNCHER_GONE;
    enum outcome outcome = GO_ON;
    if (size == (ssize_t)sizeof request) {
        struct leader *leader = find_leader(request.id);
        switch (request.kind) {
        case DYNAMO_REQUEST_SPAWN:
            keeper_spawn(&request, received, count);
            break;
        case DYNAMO_REQUEST_FINISH:
            outcome = FINISH;
            break;
        case DYNAMO_REQUEST_SURVIVE:
            survives = request.signal != 0;
            keeper_forgets = request.signal == 2;
            break;
        case DYNAMO_REQUEST_CLOSE_SOCKETS:
            close_sockets();
            break;
        case DYNAMO_REQUEST_LEASES:
            take_leases(received, count, request.signal != 0);
            break;
        case DYNAMO_REQUEST_KEEP:
            if (count == 0) break;
            if (keeper_kept_file >= 0) close(keeper_kept_file);
            keeper_kept_file = received[0];
            received[0] = -1;
            break;
        default:
            if (leader != NULL) handle_leader_request(&request, leader);
        }
    }
    for (uint32_t index = 0; index < count; index++) {
        if (received[index] >= 0) close(received[index]);
    }
    return outcome;
}

int keeper_reap(void) {
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0) return 1;
        if (pid < 0) {
            if (errno == EINTR) continue;
            return 0;
        }
        uint64_t id = 0;
        for (size_t index = 0; index < keeper_leader_count; index++) {
            struct leader *leader = &keeper_leaders[index];
            if (leader->pid != pid || leader->ended) continue;
            id = leader->id;
            leader->ended = 1;
            leader->status = status;
            if (leader->kept_count == 0) keeper_drop(leader);
            break;
        }
        keeper_report(DYNAMO_REPORT_EXITED, id, pid, status, 0);
    }
}

void keeper_silence_signals(void) {
    struct signalfd_siginfo info;
    while (read(keeper_signals, &info, sizeof info) > 0) {
    }
}

// MARK: The end

// Ends everything below the keeper: a request first, then SIGKILL again and again, because a killed parent's children only then
// come into view as the keeper's own.
static void end_everything(void) {
    int64_t start = now_milliseconds();
    dynamo_signal_below(getpid(), SIGTERM, 1);
    while (keeper_reap()) {
        int64_t elapsed = now_milliseconds() - start;
        if (elapsed > GIVE_UP_MILLISECONDS) return;
        if (elapsed >= TERMINATE_MILLISECONDS) dynamo_signal_below(getpid(), SIGKILL, 0);
        struct pollfd entry = {.fd = keeper_signals, .events = POLLIN};
        poll(&entry, 1, SWEEP_MILLISECONDS);
        keeper_silence_signals();
    }
}

// MARK: With a launcher

// Serves a launcher until it wants the end, or is gone. `is_child` says whether this process is one of the launcher's.
static enum outcome serve(pid_t launcher, int is_child) {
    // A second way to see the launcher's end, should a copy of its socket live on in some other process.
    int parent = (int)syscall(SYS_pidfd_open, launcher, 0);
    enum outcome outcome = GO_ON;
    while (outcome == GO_ON || outcome == NOTHING_THERE) {
        struct pollfd entries[3] = {
            {.fd = CHANNEL, .events = POLLIN}, {.fd = keeper_signals, .events = POLLIN}, {.fd = parent, .events = POLLIN}};
        if (poll(entries, 3, -1) < 0 && errno != EINTR) {
            outcome = LAUNCHER_GONE;
            break;
        }
        if (entries[1].revents != 0) {
            keeper_silence_signals();
            keeper_reap();
        }
        if (entries[0].revents != 0) outcome = handle_request();
        if (outcome != GO_ON && outcome != NOTHING_THERE) break;
        if (entries[2].revents == 0 && !(is_child && getppid() != launcher)) continue;
        // What it had asked for before it died is done.
        while ((outcome = handle_request()) == GO_ON) {
        }
        if (outcome == NOTHING_THERE) outcome = LAUNCHER_GONE;
    }
    if (parent >= 0) close(parent);
    return outcome;
}

static void run_keeper(pid_t launcher) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);

    int null = open("/dev/null", O_RDWR);
    if (null < 0) _exit(1);
    for (int target = 0; target < 3; target++) dup2(null, target);
    syscall(SYS_close_range, (unsigned)FIRST_FREE, ~0U, 0);
    setsid();
    // No file system is kept busy by it; what it starts enters its own directory.
    if (chdir("/") < 0) _exit(1);
    dynamo_rename_self("dynamo-keeper");

    keeper_leaders = mmap(NULL, LEADER_CAPACITY * sizeof(struct leader), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    keeper_leases = mmap(NULL, LEASE_CAPACITY * sizeof *keeper_leases, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    keeper_signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    int error = 0;
    if (keeper_leaders == MAP_FAILED || keeper_leases == MAP_FAILED || keeper_signals < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
        error = errno;
    }
    keeper_report(DYNAMO_REPORT_HELLO, 0, getpid(), error, 0);
    if (error != 0) _exit(1);

    int is_child = 1;
    while (serve(launcher, is_child) == LAUNCHER_GONE && survives) {
        is_child = 0;
        launcher = keeper_keep_orphans();
        if (launcher == 0) break;
    }
    end_everything();
    // Before the lock is free: who waits for that may want what was leased.
    keeper_drop_leases();
    _exit(0);
}

// Moves a descriptor to the number that it is to have, or leaves that number free.
static void place(int descriptor, int number) {
    if (descriptor < 0) {
        close(number);
    } else if (dup3(descriptor, number, O_CLOEXEC) < 0) {
        _exit(1);
    }
}

void dynamo_keeper_main(int channel, int lock_descriptor, int door, uint64_t soft_limit, pid_t launcher) {
    keeper_soft_limit = soft_limit;
    // Each may lie on a number that another one is to get.
    int high_channel = fcntl(channel, F_DUPFD, 64);
    int high_lock = lock_descriptor < 0 ? -1 : fcntl(lock_descriptor, F_DUPFD, 64);
    int high_door = door < 0 ? -1 : fcntl(door, F_DUPFD, 64);
    if (high_channel < 0) _exit(1);
    place(high_channel, CHANNEL);
    place(high_lock, LOCK);
    place(high_door, DOOR);
    survives = high_door >= 0;
    run_keeper(launcher);
}
