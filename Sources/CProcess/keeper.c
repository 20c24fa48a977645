// The keeper process. It is forked from a program with many threads, so up to the end of this file only async-signal-safe calls
// and memory from mmap are used: no malloc, no stdio.

#define _GNU_SOURCE
#include "CProcess.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CHANNEL = 3,
    LOCK = 4,
    FIRST_FREE = 5,
    LEADER_CAPACITY = 1 << 16,
    TERMINATE_MILLISECONDS = 2000,
    GIVE_UP_MILLISECONDS = 10000,
    SWEEP_MILLISECONDS = 50,
};

struct leader {
    uint64_t id;
    pid_t pid;
};

static struct leader *leaders;
static size_t leader_count;

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void report(uint32_t kind, uint64_t id, pid_t pid, int status, int step) {
    struct dynamo_report message = {.kind = kind, .pid = pid, .status = status, .step = step, .id = id};
    // Blocking on purpose: no report may be lost. A launcher that is gone gives EPIPE, and the poll loop sees its end.
    while (send(CHANNEL, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

// MARK: Starting

struct failure {
    int step;
    int error;
};

static void fail_child(int pipe, int step) {
    struct failure failure = {.step = step, .error = errno};
    while (write(pipe, &failure, sizeof failure) < 0 && errno == EINTR) {
    }
    _exit(127);
}

// Gives a program that is passed listening sockets its own number, which nobody knew before.
static void fill_listen_pid(char **environment) {
    for (char **entry = environment; *entry != NULL; entry++) {
        if (strcmp(*entry, DYNAMO_LISTEN_PID) != 0) continue;
        char digits[16];
        int count = 0;
        for (pid_t rest = getpid(); rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
        char *cursor = strchr(*entry, '=') + 1;
        while (count > 0) *cursor++ = digits[--count];
        *cursor = 0;
    }
}

static int is_set(const struct dynamo_limits *limits, int step) { return (limits->set & (1U << step)) != 0; }

static void set_limit(int pipe, const struct dynamo_limits *limits, int step, int resource, uint64_t value) {
    if (!is_set(limits, step)) return;
    rlim_t amount = value == UINT64_MAX ? RLIM_INFINITY : (rlim_t)value;
    struct rlimit limit = {.rlim_cur = amount, .rlim_max = amount};
    if (setrlimit(resource, &limit) < 0) fail_child(pipe, step);
}

static void set_limits(int pipe, const struct dynamo_limits *limits) {
    set_limit(pipe, limits, DYNAMO_STEP_OPEN_FILES, RLIMIT_NOFILE, limits->open_files);
    set_limit(pipe, limits, DYNAMO_STEP_CORE_SIZE, RLIMIT_CORE, limits->core_size);
    set_limit(pipe, limits, DYNAMO_STEP_LOCKED_MEMORY, RLIMIT_MEMLOCK, limits->locked_memory);
    if (is_set(limits, DYNAMO_STEP_CPUS)) {
        if (sched_setaffinity(0, sizeof limits->cpus, (const cpu_set_t *)limits->cpus) < 0) fail_child(pipe, DYNAMO_STEP_CPUS);
        // The kernel leaves out those that it does not have, without a word.
        uint64_t given[DYNAMO_CPU_WORDS] = {0};
        if (sched_getaffinity(0, sizeof given, (cpu_set_t *)given) < 0) fail_child(pipe, DYNAMO_STEP_CPUS);
        errno = EINVAL;
        if (memcmp(given, limits->cpus, sizeof given) != 0) fail_child(pipe, DYNAMO_STEP_CPUS);
    }
    if (is_set(limits, DYNAMO_STEP_NICE) && setpriority(PRIO_PROCESS, 0, limits->nice) < 0) fail_child(pipe, DYNAMO_STEP_NICE);
}

static void run_child(pid_t keeper, int error_pipe, const char *executable, const char *directory, char **arguments,
                      char **environment, const int *descriptors, uint32_t descriptor_count,
                      const struct dynamo_limits *limits) {
    // First, so that all that it takes from here on counts; and while the descriptor is what was sent.
    if (is_set(limits, DYNAMO_STEP_GROUP)) {
        descriptor_count--;
        if (write(descriptors[descriptor_count], "0", 1) < 0) fail_child(error_pipe, DYNAMO_STEP_GROUP);
    }
    // Out of the way of the final numbers first, or one dup2 could close the source of the next.
    int lowest = 16 + (int)descriptor_count;
    int pipe = fcntl(error_pipe, F_DUPFD_CLOEXEC, lowest);
    if (pipe < 0) fail_child(error_pipe, DYNAMO_STEP_DESCRIPTORS);
    int moved[DYNAMO_MAXIMUM_DESCRIPTORS];
    for (uint32_t index = 0; index < descriptor_count; index++) {
        moved[index] = fcntl(descriptors[index], F_DUPFD, lowest);
        if (moved[index] < 0) fail_child(pipe, DYNAMO_STEP_DESCRIPTORS);
    }
    for (uint32_t index = 0; index < descriptor_count; index++) {
        if (dup2(moved[index], (int)index + 1) < 0) fail_child(pipe, DYNAMO_STEP_DESCRIPTORS);
    }
    unsigned first = descriptor_count < 2 ? 3 : descriptor_count + 1;
    if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) < 0) fail_child(pipe, DYNAMO_STEP_DESCRIPTORS);

    if (setsid() < 0) fail_child(pipe, DYNAMO_STEP_SESSION);
    // The parent-death signal belongs to the thread that forked; the keeper has only one.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) fail_child(pipe, DYNAMO_STEP_SESSION);
    if (getppid() != keeper) _exit(127);

    for (int number = 1; number < 65; number++) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    set_limits(pipe, limits);
    fill_listen_pid(environment);
    if (chdir(directory) < 0) fail_child(pipe, DYNAMO_STEP_DIRECTORY);
    execve(executable, arguments, environment);
    fail_child(pipe, DYNAMO_STEP_EXECUTE);
}

// Fills `list` with `count` strings from `cursor` on; returns the position behind them, or NULL when the text is too short.
static char *take_strings(char *cursor, char *end, char **list, uint32_t count) {
    for (uint32_t index = 0; index < count; index++) {
        char *stop = cursor < end ? memchr(cursor, 0, (size_t)(end - cursor)) : NULL;
        if (stop == NULL) return NULL;
        list[index] = cursor;
        cursor = stop + 1;
    }
    return cursor;
}

static void spawn_from(const struct dynamo_request *request, char *text, char **list, const int *descriptors, uint32_t count) {
    char *end = text + request->size;
    char *heads[2];
    char **arguments = list;
    char **environment = list + request->argument_count + 1;
    char *cursor = take_strings(text, end, heads, 2);
    if (cursor != NULL) cursor = take_strings(cursor, end, arguments, request->argument_count);
    if (cursor != NULL) cursor = take_strings(cursor, end, environment, request->environment_count);
    if (cursor == NULL || leader_count == LEADER_CAPACITY) {
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, cursor == NULL ? EINVAL : EAGAIN, DYNAMO_STEP_REQUEST);
        return;
    }
    if (is_set(&request->limits, DYNAMO_STEP_GROUP) && count == 0) {
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, EBADF, DYNAMO_STEP_GROUP);
        return;
    }
    int pipe[2];
    if (pipe2(pipe, O_CLOEXEC) < 0) {
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, errno, DYNAMO_STEP_DESCRIPTORS);
        return;
    }
    pid_t keeper = getpid();
    // The child borrows this process's memory until it executes: copying the page tables of a large launcher, whose memory the keeper
    // still has, would cost milliseconds for each start. It only writes to its own frames and to the environment that it is started
    // with, and ends or executes inside run_child().
    pid_t pid = vfork();
    if (pid == 0) run_child(keeper, pipe[1], heads[0], heads[1], arguments, environment, descriptors, count, &request->limits);
    int error = errno;
    close(pipe[1]);
    if (pid < 0) {
        close(pipe[0]);
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, error, DYNAMO_STEP_FORK);
        return;
    }
    // Ends with exec (the pipe closes) or with the reason why there was none.
    struct failure failure;
    ssize_t size;
    while ((size = read(pipe[0], &failure, sizeof failure)) < 0 && errno == EINTR) {
    }
    close(pipe[0]);
    if (size == (ssize_t)sizeof failure) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, failure.error, failure.step);
        return;
    }
    leaders[leader_count++] = (struct leader){.id = request->id, .pid = pid};
    report(DYNAMO_REPORT_SPAWNED, request->id, pid, 0, 0);
}

static void spawn(const struct dynamo_request *request, const int *received, uint32_t received_count) {
    if (received_count < 1) {
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, EINVAL, DYNAMO_STEP_REQUEST);
        return;
    }
    size_t list_size = ((size_t)request->argument_count + request->environment_count + 2) * sizeof(char *);
    char *text = mmap(NULL, request->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, received[0], 0);
    char **list = mmap(NULL, list_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED || list == (void *)MAP_FAILED) {
        report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, errno, DYNAMO_STEP_REQUEST);
    } else {
        spawn_from(request, text, list, received + 1, received_count - 1);
    }
    if (text != MAP_FAILED) munmap(text, request->size);
    if (list != (void *)MAP_FAILED) munmap(list, list_size);
}

// MARK: Requests

// Returns 0 when the launcher has closed its end.
static int handle_request(void) {
    struct dynamo_request request;
    union {
        char bytes[CMSG_SPACE(sizeof(int) * DYNAMO_MAXIMUM_DESCRIPTORS)];
        struct cmsghdr alignment;
    } control;
    struct iovec part = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t size = recvmsg(CHANNEL, &message, MSG_CMSG_CLOEXEC);
    if (size < 0) return errno == EINTR || errno == EAGAIN;
    if (size == 0) return 0;

    int received[DYNAMO_MAXIMUM_DESCRIPTORS];
    uint32_t count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(received, CMSG_DATA(header), count * sizeof(int));
    }
    if (size == (ssize_t)sizeof request && request.kind == DYNAMO_REQUEST_SPAWN) spawn(&request, received, count);
    if (size == (ssize_t)sizeof request && request.kind != DYNAMO_REQUEST_SPAWN) {
        for (size_t index = 0; index < leader_count; index++) {
            // Not reaped yet, so the number cannot belong to another process.
            if (leaders[index].id != request.id) continue;
            if (request.kind == DYNAMO_REQUEST_SIGNAL) kill(leaders[index].pid, request.signal);
            if (request.kind != DYNAMO_REQUEST_KILL_TREE) continue;
            // First what hangs on it: once it is gone, nothing tells that those in other sessions were its descendants. Until
            // then it must neither start more nor make something of their end.
            kill(leaders[index].pid, SIGSTOP);
            dynamo_signal_below(leaders[index].pid, SIGKILL, 0);
            kill(leaders[index].pid, SIGKILL);
        }
    }
    for (uint32_t index = 0; index < count; index++) close(received[index]);
    return 1;
}

// Returns 0 when no child is left.
static int reap_all(void) {
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0) return 1;
        if (pid < 0) {
            if (errno == EINTR) continue;
            return 0;
        }
        uint64_t id = 0;
        for (size_t index = 0; index < leader_count; index++) {
            if (leaders[index].pid != pid) continue;
            id = leaders[index].id;
            leaders[index] = leaders[--leader_count];
            break;
        }
        report(DYNAMO_REPORT_EXITED, id, pid, status, 0);
    }
}

// MARK: The end

// Ends everything below the keeper: a request first, then SIGKILL again and again, because a killed parent's children only then
// come into view as the keeper's own.
static void end_everything(int signals) {
    int64_t start = now_milliseconds();
    dynamo_signal_below(getpid(), SIGTERM, 1);
    while (reap_all()) {
        int64_t elapsed = now_milliseconds() - start;
        if (elapsed > GIVE_UP_MILLISECONDS) return;
        if (elapsed >= TERMINATE_MILLISECONDS) dynamo_signal_below(getpid(), SIGKILL, 0);
        struct pollfd entry = {.fd = signals, .events = POLLIN};
        poll(&entry, 1, SWEEP_MILLISECONDS);
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) > 0) {
        }
    }
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

    leaders = mmap(NULL, LEADER_CAPACITY * sizeof(struct leader), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    // A second way to see the launcher's end, should a copy of its socket live on in some other process.
    int parent = (int)syscall(SYS_pidfd_open, launcher, 0);
    int error = 0;
    if (leaders == MAP_FAILED || signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) error = errno;
    report(DYNAMO_REPORT_HELLO, 0, getpid(), error, 0);
    if (error != 0) _exit(1);

    for (;;) {
        struct pollfd entries[3] = {
            {.fd = CHANNEL, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = parent, .events = POLLIN}};
        if (poll(entries, 3, -1) < 0 && errno != EINTR) break;
        if (entries[1].revents != 0) {
            struct signalfd_siginfo info;
            while (read(signals, &info, sizeof info) > 0) {
            }
            reap_all();
        }
        if (entries[0].revents != 0 && !handle_request()) break;
        if (entries[2].revents != 0 || getppid() != launcher) break;
    }
    end_everything(signals);
    _exit(0);
}

void dynamo_keeper_main(int channel, int lock_descriptor, pid_t launcher) {
    // Both may lie on numbers that the other one is to get.
    int high_channel = fcntl(channel, F_DUPFD, 64);
    int high_lock = lock_descriptor < 0 ? -1 : fcntl(lock_descriptor, F_DUPFD, 64);
    if (high_channel < 0 || dup3(high_channel, CHANNEL, O_CLOEXEC) < 0) _exit(1);
    if (high_lock < 0) {
        close(LOCK);
    } else {
        dup3(high_lock, LOCK, O_CLOEXEC);
    }
    run_keeper(launcher);
}
