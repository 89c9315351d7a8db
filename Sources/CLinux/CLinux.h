// What Linux offers and Swift's Glibc module leaves out: GNU extensions and variadic functions.
#pragma once
#include <sys/prctl.h>

// posix_spawn.h shows it to _GNU_SOURCE only: the program becomes the leader of a new session.
enum { CLINUX_POSIX_SPAWN_SETSID = 0x80 };

// Orphaned descendants become children of this process instead of init's. Returns 0, or -1 with errno.
static inline int clinux_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL); }
