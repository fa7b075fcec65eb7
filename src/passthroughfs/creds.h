/* SPDX-License-Identifier: MIT */
/*
 * Acting as the caller of a request while something is made in the source.
 *
 * Knows how one thread takes another identity (fsuid, fsgid, supplementary
 * groups) and gets its own back, and that only a privileged process can; the umask,
 * which means nothing elsewhere, stays as the last caller's.
 * Hides that glibc would change the whole process, and that a umask is shared.
 */
#ifndef PASSTHROUGHFS_CREDS_H
#define PASSTHROUGHFS_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** Who to be. */
struct caller {
	uid_t uid;
	gid_t gid;
	mode_t umask;
	/** Supplementary groups; NULL: none.  Only read by creds_enter(). */
	const gid_t *groups;
	size_t n_groups;
};

/** What creds_leave() puts back; { 0 } has nothing to put back. */
struct creds {
	bool uid_changed;
	bool gid_changed;
	bool groups_changed;
	bool setid_given_up;
};

/**
 * Learns who we are ourselves and whether we may be others; later changes of the
 * process's identity are not seen.  Where we may, gives up the process's own
 * supplementary groups, which would otherwise have to be put away for each
 * caller.  Once, before creds_enter() and before there are threads.
 */
void creds_init(void);

/** Whether creds_enter() changes identity: else it sets the umask only. */
bool creds_can_switch(void);

/**
 * Makes this thread act as @caller.  Returns 0, or -errno with nothing changed.
 * @saved must reach creds_leave() in this thread; scoped_creds does it.
 * While it lasts the thread has no privileges over files, so that file handles
 * cannot be opened.
 */
int creds_enter(const struct caller *caller, struct creds *saved);

/**
 * The same, but the user and all rights stay our own, except the one to keep set-id bits of what is changed (CAP_FSETID).
 * For what the caller may do by rights that we do not know.
 */
int creds_enter_without_setid(const struct caller *caller, struct creds *saved);

/** Makes the thread itself again, but for its umask; may be called twice. */
void creds_leave(struct creds *saved);

/** Leaves when its scope ends. */
#define scoped_creds __attribute__((cleanup(creds_leave))) struct creds

#endif
