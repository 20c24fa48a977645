// The keeper without a launcher.

#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static time_t orphaned_at;

// What epoll gives back for the descriptors that are no process's; those of processes have their index and the place in `kept`.
enum { SIGNAL_EVENT = 1, DOOR_EVENT = 2, VISITOR_EVENT = 3, LEADER_EVENT = 16 };

static int is_datagram(int descriptor) {
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

// Counts what a reader that died had read and not said.
static void settle_spool(struct dynamo_spool *spool) {
    uint32_t used = dynamo_spool_used(spool);
    const char *data = dynamo_spool_data(spool);
    uint32_t end = used + DYNAMO_SPOOL_READ;
    if (end > DYNAMO_SPOOL_CAPACITY) end = DYNAMO_SPOOL_CAPACITY;
    while (end > used && data[end - 1] == 0) end--;
    dynamo_spool_set(spool, end, dynamo_spool_logged(spool));
}

// Moves what a pipe holds into its spool. What has no room is counted and dropped, so that nobody waits in a full pipe for a launcher.
// Returns 0 at the end of the pipe.
static int drain(int pipe, struct dynamo_spool *spool) {
    static char scratch[DYNAMO_SPOOL_READ];
    for (int turn = 0; turn < 16; turn++) {
        uint32_t used = spool == NULL ? DYNAMO_SPOOL_CAPACITY : dynamo_spool_used(spool);
        uint32_t room = DYNAMO_SPOOL_CAPACITY - used;
        char *target = room == 0 ? scratch : dynamo_spool_data(spool) + used;
        ssize_t size = read(pipe, target, room > 0 && room < sizeof scratch ? room : sizeof scratch);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return 1;
        if (size == 0) return 0;
        if (room > 0) {
            dynamo_spool_set(spool, used + (uint32_t)size, dynamo_spool_logged(spool));
        } else if (spool != NULL) {
            spool->dropped += (uint64_t)size;
        }
    }
    return 1;
}

// Remembers that a process said READY=1; nobody else is listened to.
static void listen_to(struct leader *leader, int socket) {
    char text[4096];
    for (int turn = 0; turn < 16; turn++) {
        pid_t sender = 0;
        ssize_t size = dynamo_notify_receive(socket, text, sizeof text - 1, &sender);
        if (size < 0) return;
        if (sender != leader->pid && !dynamo_is_in_session(sender, leader->pid)) continue;
        text[size < (ssize_t)sizeof text ? size : (ssize_t)sizeof text - 1] = 0;
        for (char *line = text; line != NULL; line = strchr(line, '\n')) {
            if (*line == '\n') line++;
            if (strncmp(line, "READY=1", 7) == 0 && (line[7] == 0 || line[7] == '\n')) leader->note |= DYNAMO_NOTE_READY;
        }
    }
}

static void wait_for(int poller, int descriptor, uint64_t id) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = id};
    epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event);
}

static struct dynamo_spool *spool_of(const struct leader *leader, int place) {
    return dynamo_spool_map(leader->kept[place + DYNAMO_KEPT_OUTPUT_SPOOL - DYNAMO_KEPT_OUTPUT], 1);
}

static void hear_leader(int poller, size_t index, int place) {
    struct leader *leader = &keeper_leaders[index];
    if (place >= DYNAMO_KEPT_SOCKETS) return listen_to(leader, leader->kept[place]);
    // Mapped for the moment only: without a launcher there may be hundreds of them for days.
    struct dynamo_spool *spool = spool_of(leader, place);
    int goes_on = drain(leader->kept[place], spool);
    if (spool != NULL) dynamo_spool_unmap(spool, 1);
    if (!goes_on) epoll_ctl(poller, EPOLL_CTL_DEL, leader->kept[place], NULL);
}

static int begin_waiting(int door) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) return -1;
    wait_for(poller, keeper_signals, SIGNAL_EVENT);
    wait_for(poller, door, DOOR_EVENT);
    for (size_t index = 0; index < keeper_leader_count; index++) {
        const struct leader *leader = &keeper_leaders[index];
        if (leader->kept_count < DYNAMO_KEPT_SOCKETS) continue;
        for (int place = DYNAMO_KEPT_OUTPUT; place < (int)leader->kept_count; place++) {
            if (place == DYNAMO_KEPT_OUTPUT_SPOOL || place == DYNAMO_KEPT_ERRORS_SPOOL) continue;
            if (place >= DYNAMO_KEPT_SOCKETS && !is_datagram(leader->kept[place])) continue;
            if (place < DYNAMO_KEPT_SOCKETS) {
                struct dynamo_spool *spool = spool_of(leader, place);
                if (spool != NULL) {
                    settle_spool(spool);
                    dynamo_spool_unmap(spool, 1);
                }
            }
            wait_for(poller, leader->kept[place], LEADER_EVENT + index * DYNAMO_MAXIMUM_KEPT + (uint64_t)place);
        }
    }
    return poller;
}

static int tell(int visitor, const struct dynamo_report *answer, const int *descriptors, uint32_t count) {
    return dynamo_send_packet(visitor, answer, sizeof *answer, descriptors, count) == 0;
}

static uint32_t running(void) {
    uint32_t count = 0;
    for (size_t index = 0; index < keeper_leader_count; index++) count += !keeper_leaders[index].ended;
    return count;
}

// Whether there is anything left of what was started, also of what has lost its leader.
static int has_children(void) {
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static int tell_kept(int visitor, int with_files) {
    struct dynamo_report answer = {
        .kind = DYNAMO_REPORT_KEPT,
        .pid = getpid(),
        .status = (int32_t)keeper_leader_count,
        .step = DYNAMO_KEEPER_VERSION,
        .id = running(),
        .note = (uint64_t)orphaned_at,
        .start_time = keeper_lease_count,
    };
    int files[2];
    uint32_t count = 0;
    if (with_files && fcntl(LOCK, F_GETFD) >= 0) files[count++] = LOCK;
    if (with_files && keeper_kept_file >= 0) files[count++] = keeper_kept_file;
    return tell(visitor, &answer, files, count);
}

// Hands everything over. Returns 0 when the visitor went away meanwhile: then nothing has changed.
static int hand_over(int visitor) {
    if (!tell_kept(visitor, 1)) return 0;
    for (size_t index = 0; index < keeper_leader_count; index++) {
        const struct leader *leader = &keeper_leaders[index];
        struct dynamo_report answer = {
            .kind = DYNAMO_REPORT_CHILD,
            .pid = leader->pid,
            .status = leader->status,
            .step = leader->ended,
            .id = leader->id,
            .note = leader->note,
            .start_time = leader->ended ? 0 : dynamo_start_time(leader->pid),
        };
        if (!tell(visitor, &answer, leader->kept, leader->kept_count)) return 0;
    }
    for (size_t index = 0; index < keeper_lease_count; index += DYNAMO_MAXIMUM_KEPT) {
        struct dynamo_report answer = {.kind = DYNAMO_REPORT_LEASES, .pid = getpid()};
        size_t rest = keeper_lease_count - index;
        uint32_t count = rest < DYNAMO_MAXIMUM_KEPT ? (uint32_t)rest : DYNAMO_MAXIMUM_KEPT;
        if (!tell(visitor, &answer, keeper_leases + index, count)) return 0;
    }
    return 1;
}

// The pid of who is behind a connection, or 0 when that is another user.
static pid_t visitor_of(int visitor) {
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(visitor, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) return 0;
    return who.uid == geteuid() || who.uid == 0 ? who.pid : 0;
}

// The launcher is gone: keeps what runs until another one takes it over, or until it is to end. Returns the new launcher, or 0.
pid_t keeper_keep_orphans(void) {
    keeper_is_orphaned = 1;
    orphaned_at = time(NULL);
    close(CHANNEL);
    keeper_settle_leases();
    // Who waits for these is gone.
    for (size_t index = keeper_leader_count; index-- > 0;) {
        if (keeper_leaders[index].kept_count >= DYNAMO_KEPT_SOCKETS) continue;
        kill(keeper_leaders[index].pid, SIGKILL);
        keeper_drop(&keeper_leaders[index]);
    }
    // Everything may have ended before, and no end of a process tells that any more.
    if (running() == 0 && !has_children()) keeper_drop_leases();
    int poller = begin_waiting(DOOR);
    if (poller < 0) return 0;
    int visitor = -1;
    pid_t launcher = 0;
    while (keeper_forgets ? running() > 0 : keeper_leader_count > 0) {
        struct epoll_event events[32];
        int count = epoll_wait(poller, events, 32, -1);
        if (count < 0 && errno != EINTR) break;
        for (int index = 0; index < count; index++) {
            uint64_t event = events[index].data.u64;
            if (event == SIGNAL_EVENT) {
                keeper_silence_signals();
                keeper_reap();
                // How they ended is kept for the next launcher; others may have what they had.
                if (running() == 0 && !has_children()) keeper_drop_leases();
            } else if (event >= LEADER_EVENT) {
                uint64_t place = event - LEADER_EVENT;
                hear_leader(poller, place / DYNAMO_MAXIMUM_KEPT, (int)(place % DYNAMO_MAXIMUM_KEPT));
            } else if (event == DOOR_EVENT && visitor < 0) {
                visitor = accept4(DOOR, NULL, NULL, SOCK_CLOEXEC);
                if (visitor < 0) continue;
                // One that asks nothing, or takes no answer, must not keep others out.
                struct timeval limit = {.tv_sec = 5};
                setsockopt(visitor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
                setsockopt(visitor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
                // One that gave up while there was a launcher has nothing to ask any more.
                struct pollfd left = {.fd = visitor, .events = POLLRDHUP};
                if (poll(&left, 1, 0) > 0) {
                    close(visitor);
                    visitor = -1;
                    continue;
                }
                struct dynamo_request request;
                ssize_t size = -1;
                pid_t who = visitor_of(visitor);
                if (who > 0) {
                    while ((size = recv(visitor, &request, sizeof request, 0)) < 0 && errno == EINTR) {
                    }
                }
                if (size == (ssize_t)sizeof request) {
                    if (request.kind == DYNAMO_REQUEST_LOOK) tell_kept(visitor, 0);
                    if (request.kind == DYNAMO_REQUEST_PEEK) hand_over(visitor);
                    if (request.kind == DYNAMO_REQUEST_ADOPT && hand_over(visitor)) launcher = who;
                    if (request.kind == DYNAMO_REQUEST_FINISH) {
                        close(poller);
                        close(visitor);
                        return 0;
                    }
                }
                if (launcher > 0) goto adopted;
                close(visitor);
                visitor = -1;
            }
        }
    }
    close(poller);
    return 0;

adopted:
    close(poller);
    struct timeval none = {0};
    setsockopt(visitor, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    setsockopt(visitor, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    if (dup3(visitor, CHANNEL, O_CLOEXEC) < 0) {
        close(visitor);
        return 0;
    }
    close(visitor);
    keeper_is_orphaned = 0;
    return launcher;
}

