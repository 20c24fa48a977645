#ifndef CPROCESS_KEEPER_H
#define CPROCESS_KEEPER_H

// What the parts of the keeper process share. It is forked from a program with many threads, so only async-signal-safe calls and
// memory from mmap are used in all of them: no malloc, no stdio.

#include "CProcess.h"
#include "internal.h"

#include <stddef.h>
#include <time.h>

// The numbers of the keeper's own descriptors.
enum { CHANNEL = 3, LOCK = DYNAMO_KEEPER_LOCK, DOOR = 5, FIRST_FREE = 6 };

enum { LEADER_CAPACITY = 1 << 16, LEASE_CAPACITY = 1 << 16 };

// A process that the keeper was asked for.
struct leader {
    uint64_t id;
    pid_t pid;
    // Has ended, with `status`, and is remembered for what is kept of it.
    int ended;
    int status;
    uint32_t kept_count;
    uint64_t note;
    int kept[DYNAMO_MAXIMUM_KEPT];
};

extern struct leader *keeper_leaders;
extern size_t keeper_leader_count;
// There is no launcher.
extern int keeper_is_orphaned;
// Of what has ended, nobody will ask how.
extern int keeper_forgets;
// What the launcher wants to be kept beside the processes, or -1.
extern int keeper_kept_file;
// Sockets whose names are leases: those that are held, and behind them what has come so far of those that are to take their place.
extern int *keeper_leases;
extern size_t keeper_lease_count;
// Of open files, for what is started, which does not keep descriptors for others; 0: as many as the keeper.
extern uint64_t keeper_soft_limit;
// Becomes readable when a child has ended.
extern int keeper_signals;

// Says something to the launcher, if there is one.
void keeper_report(uint32_t kind, uint64_t id, pid_t pid, int status, int step);

// Starts what a request asks for; descriptors that are kept become -1.
void keeper_spawn(const struct dynamo_request *request, int *received, uint32_t received_count);

void keeper_drop(struct leader *leader);

// What has come of leases is held, and nothing of them follows.
void keeper_settle_leases(void);

// Nothing is left of what they were held for.
void keeper_drop_leases(void);

// Returns 0 when no child is left.
int keeper_reap(void);
void keeper_silence_signals(void);

// Keeps what runs until a launcher takes it over, or until it is to end. Returns the new launcher, or 0.
pid_t keeper_keep_orphans(void);

#endif
