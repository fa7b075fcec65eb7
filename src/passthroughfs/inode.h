/* SPDX-License-Identifier: MIT */
/*
 * The inode table: from the numbers that the kernel knows to files of the source.
 *
 * An inode is one file of the source, known by its identity (mount, device, inode
 * number and, where there are handles, the handle, which tells a file from an
 * older one of the same number), never by a path.  So renames need no
 * care, and hard links are one inode.  The table hides how a file is found again: by
 * its file handle, without a descriptor; else by an O_PATH descriptor kept open, and
 * where these get too many, by the name that it was last found under, from which
 * nothing is taken that is not the same file.
 *
 * A file whose handle fits into 64 bits has it for its number, for ever; the numbers of others come from a counter and are
 * never used twice.
 * All functions may be called from any thread.
 */
#ifndef PASSTHROUGHFS_INODE_H
#define PASSTHROUGHFS_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/** What inode_learn() and inode_unnamed() need to know of a file: ask statx(2) for it. */
#define INODE_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

/** The number of the directory that the table was made with. */
#define INODE_ROOT UINT64_C(1)

struct handle;
struct inode;
struct inode_table;
struct number_list;
struct watch;

/**
 * A table whose root is @root_fd (O_PATH is enough), which stays the caller's, and open.  File
 * handles are opened where that works, unless not @use_handles.  With a @watch (NULL: none) the file systems
 * that are met are watched.
 * Returns 0, or -errno.
 */
int inode_table_new(int root_fd, bool use_handles, struct watch *watch, struct inode_table **table);

/** With the same secret generations are the same in the next life of the program.  Before there are inodes. */
void inode_table_set_secret(struct inode_table *table, const void *secret, size_t size);

/** Forgets all inodes.  NULL is nothing. */
void inode_table_free(struct inode_table *table);

/** How many descriptors may be kept for inodes that are not in use.  Preset: half of
 * RLIMIT_NOFILE.  Before there are threads. */
void inode_table_limit(struct inode_table *table, size_t descriptors);

/** What tells @ino from another file that has or had that number, also before this program was started; nobody who
 * does not know the secret can tell it.  32 bits of it count. */
uint64_t inode_generation(const struct inode_table *table, uint64_t ino);

/** How many inodes are known, the root included. */
size_t inode_table_count(struct inode_table *table);

/** An inode in use: its descriptor works until hold_drop(). */
struct hold {
	struct inode_table *table;
	struct inode *inode;
	/** O_PATH, never following: a symbolic link is the link itself. */
	int fd;
	bool fd_is_ours; /* opened for this hold */
	bool is_open; /* somebody has the file open */
	unsigned checked; /* as in struct inode, when it was held; 0: it was not checked */
};

/** 0 if changes that others make to it, and to the names in it, are told of; else -errno, why not. */
int hold_watch_error(const struct hold *hold);

#define HOLD_NONE ((struct hold){.fd = -1})
#define scoped_hold __attribute__((cleanup(hold_drop))) struct hold

/** Makes @hold (HOLD_NONE before) hold inode @ino.  Returns 0, -ESTALE if it is not
 * known, is no more, or is not open and not below the root any more, or -errno. */
int inode_hold(struct inode_table *table, uint64_t ino, struct hold *hold);

/** Lets go; nothing for HOLD_NONE. */
void hold_drop(struct hold *hold);

/**
 * Opens a regular file or directory with @flags of open(2).
 * Returns a descriptor, -ESTALE as above, -ENXIO for what must not be opened (a
 * FIFO, a device), or -errno.
 */
int inode_open(struct inode_table *table, uint64_t ino, int flags);

/** From here to inode_closed() the file is open: what is open is always found again,
 * wherever its names went.  @close_may_fail (or NULL): whether the file system may tell of errors as late as at close(2).
 * Returns as inode_hold(). */
int inode_opened(struct inode_table *table, uint64_t ino, bool *close_may_fail);

/** Once for each inode_opened() that succeeded. */
void inode_closed(struct inode_table *table, uint64_t ino);

/**
 * Until the file @ino is closed by all, the watch does not tell of writes to it any more: there is an event for each that
 * the kernel makes by itself, which costs it a third of the time of a small one.  Nothing if the file is not open, or where
 * it is not certain that it is no other inode too.
 */
void inode_ignore_writes(struct inode_table *table, uint64_t ino);

/** Whether writes to it may go unnoticed.  If not, and it is looked at afterwards and not before, then what is written later
 * is told of, or watch_serial() is another by now. */
bool inode_ignores_writes(struct inode_table *table, uint64_t ino);
bool hold_ignores_writes(const struct hold *hold);

/**
 * The number of the file that @fd (O_PATH is enough) stands for and @stx
 * describes, with one more lookup.  @fd stays the caller's.
 * It was found as @name in @dir; without a @name nothing else than its descriptor leads to it.
 * Returns 0, or -ENOMEM, -EMFILE and the like.
 */
int inode_learn(struct inode_table *table, const struct hold *dir, const char *name, int fd, const struct statx *stx,
		uint64_t *ino);

/**
 * Looks at @name in @dir, and does the same as inode_learn() if it can be told from its handle which file it is, without
 * opening it.  @stx becomes what INODE_STATX_MASK asks for.
 * Returns 0, -ENOENT if there is no such name, -ENOMEM, or -EOPNOTSUPP: the name has to be opened to say more.
 */
int inode_learn_name(struct inode_table *table, const struct hold *dir, const char *name, struct statx *stx,
		     uint64_t *ino);

/** Opens with O_PATH a file that is not known any more, by a number that it had.  Returns a descriptor, -ESTALE if the
 * number does not say, or the file is no more, or -errno.  Whether the file is one that was ever known is for
 * the generation to say. */
int inode_open_forgotten(struct inode_table *table, uint64_t ino);

/** Gives back @n lookups. */
void inode_forget(struct inode_table *table, uint64_t ino, uint64_t n);

/**
 * The file lost a name in @dir (NULL: nobody knows where), and if @is_last has none any more: from here a descriptor keeps
 * it, where nothing else leads to it: @fd, which is O_PATH, and taken if it is needed.  Of files that
 * are not open the limit's number is kept so; older ones become stale.  Nothing if it is not known.
 */
void inode_unnamed(struct inode_table *table, const struct hold *dir, int *fd, const struct statx *stx, bool is_last);

/** A name in a directory. */
struct inode_place {
	const struct hold *dir;
	const char *name;
};

/** The file that was found at @from is now found at @to.  Nothing if it is not known. */
void inode_moved(struct inode_table *table, struct inode_place from, struct inode_place to, int fd,
		 const struct statx *stx);

/** Whether the kernel knows it, or soon will. */
bool inode_is_looked_up(struct inode_table *table, uint64_t ino);

/** Makes @numbers those of the known inodes with this handle on the file system @fsid, one for each mount that it is known
 * on.  Returns false if some are missing for want of memory. */
bool inode_find_handle(struct inode_table *table, uint64_t fsid, const struct handle *handle,
		       struct number_list *numbers);

/** The same of what @fd (O_PATH is enough) stands for, if it is on a mount that is known, and watched. */
bool inode_find(struct inode_table *table, int fd, struct number_list *numbers);

/** Where a walk over all inodes is; { 0 } at the start. */
struct inode_walk {
	size_t bucket;
};

/** The next few numbers: no inode that stays is left out, some may come twice.  Returns how many, 0 at the end. */
size_t inode_table_walk(struct inode_table *table, struct inode_walk *walk, uint64_t *numbers, size_t max);

/** Whether inode_moved() could ever matter: there are files without handles. */
bool inode_table_needs_names(const struct inode_table *table);

#endif
