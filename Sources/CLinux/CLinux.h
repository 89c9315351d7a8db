// What Linux offers and Swift's Glibc module leaves out: GNU extensions and variadic functions.
//
// It names no type of the C library's, and includes none of its headers that do: what Swift finds in two modules it takes
// from either.
#pragma once
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

extern long syscall(long number, ...);

#ifndef SYS_faccessat2
enum { SYS_faccessat2 = 439 };
#endif

// posix_spawn.h shows it to _GNU_SOURCE only: the program becomes the leader of a new session.
enum { CLINUX_POSIX_SPAWN_SETSID = 0x80 };

// What the kernel calls the calling thread, and of a process's first thread the process; 15 characters of it.
static inline void clinux_set_name(const char *name) { prctl(PR_SET_NAME, name, 0UL, 0UL, 0UL); }

// Orphaned descendants become children of this process instead of init's. Returns 0, or -1 with errno.
static inline int clinux_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL); }

// The calling thread, and what it starts, runs on these CPUs only: bit n % bits of a long of word n / bits of a long.
// Returns 0, or -1 with errno.
static inline int clinux_run_on_cpus(const unsigned long *mask, unsigned long words) {
  return syscall(SYS_sched_setaffinity, 0, words * sizeof(unsigned long), mask) < 0 ? -1 : 0;
}

// The calling thread, and what it starts, gets memory of this NUMA node while there is some, else of others.
// Returns 0, or -1 with errno.
static inline int clinux_prefer_memory_of_node(unsigned int node) {
  enum { preferred = 1, nodes = 1024, bits = 8 * sizeof(unsigned long) };
  unsigned long mask[nodes / bits] = {0};
  if (node >= nodes) {
    errno = EINVAL;
    return -1;
  }
  mask[node / bits] = 1UL << node % bits;
  // The kernel takes one bit less than it is told.
  return syscall(SYS_set_mempolicy, preferred, mask, nodes + 1UL) < 0 ? -1 : 0;
}

// An extended attribute of a file: its size in bytes, or -1 with errno.
static inline long clinux_getxattr(const char *path, const char *name, void *value, unsigned long size) {
  return syscall(SYS_getxattr, path, name, value, size);
}

// The calling thread's user and group for files; the others keep theirs. Returns the ones before, also where this
// process may not become them.
static inline unsigned int clinux_setfsuid(unsigned int user) { return (unsigned int)syscall(SYS_setfsuid, user); }
static inline unsigned int clinux_setfsgid(unsigned int group) { return (unsigned int)syscall(SYS_setfsgid, group); }

// A user's right to a file, asked of the file system by the calling thread as that user, so that lists of rights and an
// NFS server's own rules count. Returns 0 where the user has all of mode (R_OK, W_OK, X_OK), 1 with errno where not,
// and -1 where this process can't ask as somebody else.
static inline int clinux_access_as(
    unsigned int user, unsigned int group, const unsigned int *groups, unsigned long group_count, const char *path,
    int mode) {
  enum { at_fdcwd = -100, at_eaccess = 0x200, nobody = -1 };
  // The system calls themselves, which concern one thread, where the C library's functions change all.
  unsigned int own_groups[1024];
  long own_group_count = syscall(SYS_getgroups, 1024L, own_groups);
  if (own_group_count < 0 || syscall(SYS_setgroups, group_count, groups) < 0) return -1;
  unsigned int own_group = clinux_setfsgid(group);
  unsigned int own_user = clinux_setfsuid(user);
  // Neither tells of a failure, but an id that is none changes nothing and gives the one that holds.
  int is_other = clinux_setfsuid(nobody) == user && clinux_setfsgid(nobody) == group;
  long result = is_other ? syscall(SYS_faccessat2, at_fdcwd, path, mode, at_eaccess) : 0;
  int code = errno;
  clinux_setfsuid(own_user);
  clinux_setfsgid(own_group);
  syscall(SYS_setgroups, own_group_count, own_groups);
  errno = code;
  if (!is_other || (result < 0 && code == ENOSYS)) return -1;
  return result == 0 ? 0 : 1;
}

// Whether a byte of an open file is in the page cache, without having it read from the disk. Returns 1 if it is, 0 if it
// is not or the file system can't tell, and -1 with errno.
static inline int clinux_is_in_page_cache(int descriptor, unsigned long offset) {
  enum { read_what_is_there = 0x8 };
  char byte;
  struct {
    void *base;
    unsigned long length;
  } target = {&byte, 1};
  // The offset goes in two halves, of which a 64-bit kernel takes the first.
  long result = syscall(SYS_preadv2, (long)descriptor, &target, 1L, offset, 0L, (long)read_what_is_there);
  if (result >= 0) return 1;
  return errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -1;
}

// The calling process yields to all others: for the CPU, and at the disk where that has an order of its own.
static inline void clinux_yield_to_others(void) {
  enum { of_process = 1, best_effort = 2, last = 7, nicest = 19 };
  syscall(SYS_ioprio_set, (long)of_process, 0L, (long)(best_effort << 13 | last));
  syscall(SYS_setpriority, 0L, 0L, (long)nicest);
}
