/* SPDX-License-Identifier: MIT */
/**
 * llfuse: low-level FUSE file systems in C.
 *
 * A file system fills one `struct llfuse_ops` with synchronous request handlers
 * and gives it to llfuse_run() (a whole program) or to llfuse_init(),
 * llfuse_main() and llfuse_close() (a part of one).  The library speaks to the
 * kernel; a handler only answers.
 *
 * What holds for every handler:
 *  - It returns 0 (or a count, where its comment says so) on success and a
 *    negative errno on failure: `return -ENOENT`.
 *  - Outputs are read by the library only after success.
 *  - It may run in several threads at once, also for the same inode, unless the
 *    session has one worker.
 *  - Strings and buffers that it is given are the library's and live until it
 *    returns.  Names are bytes without '/' and NUL, of any length up to what
 *    the kernel passes: 4095, before Linux 6.15 1024.  A file system checks
 *    against its own limit (-ENAMETOOLONG).
 *  - It never calls llfuse_notify_*(), unless that says otherwise, for an inode or directory of the request
 *    that it is answering: the kernel may hold that inode's lock until the answer.
 *  - A handler that is not set answers ENOSYS, which the kernel remembers for
 *    the operations where it can do without (see docs/design.md).  For the same
 *    reason a handler never returns -ENOSYS for a passing condition; see
 *    llfuse_conn.no_enosys.
 *
 * Lookup counts: every entry handed out by lookup, mknod, mkdir, symlink, link,
 * create, tmpfile, and every one that llfuse_dir_add() reports as counted, is one
 * reference that the kernel holds on `entry->ino`, until forget gives it back.
 * An inode number must not stand for another file before that.
 *
 * Sizes and offsets are bytes.  Times are seconds and nanoseconds since the Epoch.
 */
#ifndef LLFUSE_H
#define LLFUSE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LLFUSE_VERSION_MAJOR 0
#define LLFUSE_VERSION_MINOR 1
#define LLFUSE_VERSION_PATCH 0

/** The inode number of the root directory.  Its lookup count is never given back. */
#define LLFUSE_ROOT_INODE UINT64_C(1)

/** A time-out, in seconds, for what nobody but this mount can change. */
#define LLFUSE_FOREVER_S 4.0e9

#if defined(__GNUC__)
#define LLFUSE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LLFUSE_PRINTF(fmt, args)
#endif

/** The version of the library that runs, "0.1.0".  Static. */
const char *llfuse_version(void);

/* ------------------------------------------------------------------------ */
/* Data structures                                                           */

/**
 * The attributes of an inode and how long the kernel may remember them.
 * Where the kernel would refuse it, the caller gets EIO, the log the reason, and what the handler counted or opened is
 * given back: a mode without a type, a size below 0, and from what makes a name another type than that, or ino 0 or 1.
 */
struct llfuse_entry {
	/** The inode number that later requests carry.  From lookup, 0 means "no such
	 * name", and the kernel remembers that for entry_timeout_s. */
	uint64_t ino;
	/** Differs between two files that had the same ino one after the other, also
	 * across mounts, where the file system is exported over NFS. */
	uint64_t generation;
	/** How long, in seconds, the name stays valid in the kernel. */
	double entry_timeout_s;
	/** How long, in seconds, the attributes stay valid in the kernel. */
	double attr_timeout_s;
	/** As stat(2) shows them.  st_ino may differ from ino: it is what users see.  0: ino, or
	 * for getattr, setattr and statx the inode number of the request. */
	struct stat attr;
};

/**
 * Who asks.  Made by the library for each request; a test makes one up:
 * `struct llfuse_request req = { .userdata = fs, .uid = 1000 };`
 */
struct llfuse_request {
	/** What was given to llfuse_init(). */
	void *userdata;
	/** The calling thread, in the daemon's pid namespace; 0 if it is not in it. */
	pid_t pid;
	/** The caller's, as file systems see it (fsuid, fsgid). */
	uid_t uid;
	gid_t gid;
	/** Only in mknod, mkdir, create and tmpfile. */
	mode_t umask;
	/** The library's own; NULL in a made-up request. */
	void *internal;
};

/** The file system's own pointer.  Any thread. */
static inline void *llfuse_userdata(const struct llfuse_request *req)
{
	return req->userdata;
}

/**
 * The caller's supplementary groups, read from /proc when asked for.
 * Writes at most @n of them to @groups and returns how many there are, or
 * -ENOSYS for a made-up request, -ESRCH when the caller is gone, else what kept it from
 * reading (-EMFILE, -ENOMEM ...).  Any thread.
 */
int llfuse_groups(const struct llfuse_request *req, size_t n, gid_t *groups);

/**
 * From here @fd stands for /proc in all that the library reads there (who asks, and of ourselves), for a program that goes
 * where there is no /proc; -1: "/proc" again.  It stays the caller's, and open.  Before llfuse_main().
 */
void llfuse_use_proc(int fd);

/** Whether the caller is of the group @gid, by its fsgid or one of llfuse_groups().  Any thread. */
bool llfuse_in_group(const struct llfuse_request *req, gid_t gid);

/**
 * Whether the caller has the capability @capability (CAP_... of linux/capability.h) in effect, and in the
 * daemon's user namespace; read from /proc when asked for.  Where it cannot be read, and for a made-up request: whether
 * it is root.  Any thread.
 */
bool llfuse_has_capability(const struct llfuse_request *req, int capability);

/**
 * Whether nobody wants the answer any more: the caller was interrupted by a signal, or the session ends
 * (llfuse_stop(), an unmount, an aborted connection).  A handler may then return -EINTR, and one that waits for something
 * has to ask again and again, as llfuse_main() returns when all handlers have.  Of signals the kernel tells nothing
 * over io_uring.  Over /dev/fuse nothing but llfuse_stop() is noticed while all workers are in handlers, or, with one worker,
 * while another request waits for its turn.  False for a made-up request.  Any thread, until the handler returns.
 */
bool llfuse_interrupted(const struct llfuse_request *req);

/** An open file or directory: what the kernel told and what the handler decides. */
struct llfuse_file {
	/** in: the flags of open(2), without O_CREAT, O_EXCL and O_NOCTTY except that create
	 * has the first two.  Valid in open, create, tmpfile, opendir, read, write, release. */
	int flags;
	/** out of open, create, tmpfile, opendir; in of all that follow on the same
	 * open file.  Any value. */
	uint64_t fh;
	/** in, for locks, flush and release: who owns the locks. */
	uint64_t lock_owner;

	/* in */
	/** write: from the kernel's page cache; the request's pid, uid and gid are not
	 * those of a writer. */
	bool is_writepage;
	/** open, create, write: the caller may not keep setuid and setgid bits (only
	 * with LLFUSE_CAP_HANDLE_KILLPRIV_V2). */
	bool kill_suidgid;
	/** release: flock(2) locks of lock_owner are to be given up. */
	bool release_flock;

	/* out of open, create, tmpfile */
	/** Every read and write reaches the handlers, the page cache is not used. */
	bool direct_io;
	/** What the page cache holds of the file is still right. */
	bool keep_cache;
	/** lseek(2) gives ESPIPE. */
	bool nonseekable;
	/** No flush request on close(2). */
	bool noflush;
	/** Direct writes to the file may overlap in time. */
	bool parallel_direct_writes;
	/**
	 * Kernel passthrough: a descriptor that the kernel reads, writes and maps in
	 * the place of this file, or -1 (the preset value).  It stays the file
	 * system's, which may close it as soon as the handler has returned.  It counts
	 * only where LLFUSE_CAP_PASSTHROUGH is on.  The first open of an inode decides
	 * for all that overlap with it: later ones share its backing file, or stay
	 * without one (llfuse_file_passthrough() tells).
	 * Source: Linux Documentation/filesystems/fuse/fuse-passthrough.rst.
	 */
	int backing_fd;
	/**
	 * The same, with an id of llfuse_backing_open() in the place of a descriptor; 0 (the preset value): none.
	 * It stays the file system's, which must not close it before the release of the last open that uses it.
	 */
	int backing_id;

	/* out of opendir */
	/** The kernel may keep the listing and answer from it until it is invalidated
	 * or, without keep_cache, until the next opendir. */
	bool cache_readdir;
};

/** Which fields setattr is to change; a bit set of `fields`. */
enum llfuse_setattr_field {
	LLFUSE_SET_MODE = 1 << 0,
	LLFUSE_SET_UID = 1 << 1,
	LLFUSE_SET_GID = 1 << 2,
	LLFUSE_SET_SIZE = 1 << 3,
	LLFUSE_SET_ATIME = 1 << 4, /**< also set with ATIME_NOW: the time is filled in */
	LLFUSE_SET_MTIME = 1 << 5, /**< also set with MTIME_NOW: the time is filled in */
	LLFUSE_SET_ATIME_NOW = 1 << 6,
	LLFUSE_SET_MTIME_NOW = 1 << 7,
	LLFUSE_SET_CTIME = 1 << 8, /**< only with the writeback cache */
	LLFUSE_SET_KILL_SUIDGID = 1 << 9, /**< drop setuid and setgid (KILLPRIV_V2) */
};

/** A mounted file system. */
struct llfuse_session;

/** What the kernel and the file system can agree on; bits of llfuse_conn. */
enum llfuse_cap {
	/** The kernel collects writes and owns size and mtime.  Excludes PASSTHROUGH. */
	LLFUSE_CAP_WRITEBACK_CACHE = 1 << 0,
	/** llfuse_file.backing_fd works.  Offered only if the daemon holds
	 * CAP_SYS_ADMIN in the first user namespace, which the kernel asks for. */
	LLFUSE_CAP_PASSTHROUGH = 1 << 1,
	/** The file system drops setuid and setgid bits itself when told to, and the
	 * kernel need not ask for security.capability before each write. */
	LLFUSE_CAP_HANDLE_KILLPRIV_V2 = 1 << 2,
	/** ACLs in system.posix_acl_* are enforced by the kernel. */
	LLFUSE_CAP_POSIX_ACL = 1 << 3,
	/** lookup answers "." and ".." of any inode; file handles outlive a forget. */
	LLFUSE_CAP_EXPORT_SUPPORT = 1 << 4,
	/** mknod, mkdir, create get the mode as given, with umask beside it. */
	LLFUSE_CAP_DONT_MASK = 1 << 5,
	/** The kernel keeps the targets of symbolic links. */
	LLFUSE_CAP_CACHE_SYMLINKS = 1 << 6,
	/** lookup and readdir in one directory run at once. */
	LLFUSE_CAP_PARALLEL_DIROPS = 1 << 7,
	/** The page cache of a file is dropped only by llfuse_notify_inval_inode(),
	 * not when its mtime or size was seen to change. */
	LLFUSE_CAP_EXPLICIT_INVAL_DATA = 1 << 8,
	/** mmap(MAP_SHARED) on files opened with direct_io. */
	LLFUSE_CAP_DIRECT_IO_ALLOW_MMAP = 1 << 9,
	/** open with O_TRUNC truncates: else the kernel sends setattr.  On unless
	 * the open handler is missing. */
	LLFUSE_CAP_ATOMIC_O_TRUNC = 1 << 10,
	/** llfuse_notify_expire_entry() works. */
	LLFUSE_CAP_EXPIRE_ONLY = 1 << 11,
};

/** What init may look at and change. */
struct llfuse_conn {
	/** For threads that init starts, to notify the kernel with. */
	struct llfuse_session *session;
	/** What the kernel offers: bits of enum llfuse_cap. */
	uint32_t capable;
	/** What the file system wants; preset to what suits every file system.  Bits
	 * that are not in `capable` are dropped. */
	uint32_t want;
	/** Largest write request, in bytes; made whole pages, at least 8192, at most 256 pages. */
	uint32_t max_write;
	/** Largest readahead, in bytes. */
	uint32_t max_readahead;
	/** Requests under way at once that nobody waits for: reading ahead, writing back; 0: 512. */
	uint32_t max_background;
	/** 1 if a backing file may itself lie on a stacked file system. */
	uint32_t backing_stack_depth;
	/** Go on as if open and release were not set. */
	bool no_open;
	/** Answer -ENOSYS from a handler as -EOPNOTSUPP, which the kernel does not remember: for a file system that
	 * hands on the errors of another one, of which a part may lack what the rest has. */
	bool no_enosys;
	/** Set to -errno, it ends the session: llfuse_main() returns it.  The init handler has told the reason. */
	int error;
};

/* ------------------------------------------------------------------------ */
/* Replies of variable size                                                  */

/** Takes the bytes that read, readlink, getxattr and listxattr answer with. */
struct llfuse_data;

/**
 * Room for llfuse_data_size() bytes that the handler may fill; on io_uring it is
 * the memory that the kernel reads, so that this costs no copy.  The bytes count
 * from llfuse_data_filled() on.  Valid until the handler returns.  NULL if
 * there is no memory.  Not together with llfuse_data_mem() and _fd().
 */
void *llfuse_data_room(struct llfuse_data *data);

/** How many bytes the kernel asked for: more are not taken. */
size_t llfuse_data_size(const struct llfuse_data *data);

/** The first @n bytes of the room are the answer. */
void llfuse_data_filled(struct llfuse_data *data, size_t n);

/**
 * Appends @n bytes at @bytes, which must stay unchanged until the answer is sent:
 * static, or guarded by what llfuse_data_release() lets go.  @bytes NULL: zeros.
 * Returns 0, or -ENOMEM.
 */
int llfuse_data_mem(struct llfuse_data *data, const void *bytes, size_t n);

/**
 * Appends @n bytes of the file @fd from @off: read straight into the answer.
 * A shorter file gives a shorter answer.  If any of the bytes cannot be read, the
 * whole answer is that error; for its page cache the kernel then asks for each
 * page.  @fd must stay open until the answer is sent.  Returns 0, -ENOMEM, or
 * -EBADF for a negative @fd.
 */
int llfuse_data_fd(struct llfuse_data *data, int fd, off_t off, size_t n);

/** Calls @release(@arg) once the answer is sent, or could not be. */
void llfuse_data_release(struct llfuse_data *data, void (*release)(void *arg), void *arg);

/** Takes the entries that readdir answers with. */
struct llfuse_dir;

/**
 * Whether the kernel asked for the entries' attributes too.  If not, only ino,
 * attr.st_ino and the type in attr.st_mode of an entry count.
 */
bool llfuse_dir_wants_attr(const struct llfuse_dir *dir);

/**
 * Adds the entry @name.  @next_off is what readdir is called with to go on
 * behind this entry: not 0, and valid for as long as the directory is open,
 * whatever is added and removed meanwhile.
 * @entry->ino 0: attributes could not be had; the entry is listed without them.  With st_ino 0, too,
 * readdir(3) passes over it.
 * "." and ".." may be added, and never count.
 * Returns
 *   LLFUSE_DIR_FULL     not taken: stop and return 0,
 *   LLFUSE_DIR_ADDED    taken,
 *   LLFUSE_DIR_COUNTED  taken, and the kernel now holds a lookup of entry->ino,
 *   -EINVAL             for an empty name, one with '/', and one of more than 4095
 *                       bytes, which are not taken.
 * Linux before 6.15 refuses a listing with a name of more than 1024 bytes (EIO).
 */
int llfuse_dir_add(struct llfuse_dir *dir, const char *name, const struct llfuse_entry *entry, off_t next_off);

/** What llfuse_dir_add() returns. */
enum {
	LLFUSE_DIR_FULL = 0,
	LLFUSE_DIR_ADDED = 1,
	LLFUSE_DIR_COUNTED = 2,
};

/** Somebody who waits for a file to become ready: see the poll handler. */
struct llfuse_poll;

/**
 * Wakes the waiter, which then asks poll again.  Returns 0, -ENODEV once llfuse_main() ends, or another errno.
 * Any thread, also in a handler; not once llfuse_close() has called destroy.
 */
int llfuse_poll_notify(struct llfuse_poll *poll);

/** Frees what the poll handler was given; NULL is nothing.  Any thread, also later than that. */
void llfuse_poll_free(struct llfuse_poll *poll);

/** One inode of a forget request. */
struct llfuse_forget {
	uint64_t ino;
	/** How many lookups the kernel gives back. */
	uint64_t nlookup;
};

/* ------------------------------------------------------------------------ */
/* The handlers                                                              */

/* Of statx(2); <sys/stat.h> defines it with _GNU_SOURCE. */
struct statx;

/** The request handlers of a file system.  All may be NULL. */
struct llfuse_ops {
	/** Before the first request; may change @conn.  Never concurrent. */
	void (*init)(void *userdata, struct llfuse_conn *conn);

	/** After the last request.  The kernel has forgotten all inodes, also those
	 * that it did not name in a forget.  Never concurrent. */
	void (*destroy)(void *userdata);

	/** Finds @name in @parent.  -ENOENT, or 0 with entry->ino 0, if it is not there. */
	int (*lookup)(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry);

	/** The kernel gives back lookups of @n inodes. */
	void (*forget)(struct llfuse_request *req, size_t n, const struct llfuse_forget *forgets);

	/** @file is NULL or an open file of @ino.  entry_timeout_s is not used. */
	int (*getattr)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry);

	/** Changes what @fields says (LLFUSE_SET_*) to the values in @attr and answers
	 * with all attributes.  @file is NULL or an open file of @ino. */
	int (*setattr)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
		       unsigned fields, struct llfuse_entry *entry);

	/** Answers with the target, no NUL at its end. */
	int (*readlink)(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data);

	/** A regular file, device, FIFO or socket.  @mode has type and permissions. */
	int (*mknod)(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
		     struct llfuse_entry *entry);

	/** A directory.  @mode has the permissions.  -EEXIST if the name is there. */
	int (*mkdir)(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode,
		     struct llfuse_entry *entry);

	/** Removes a name that is not a directory's.  The inode stays until its lookup count is
	 * zero.  -ENOENT, or -EISDIR. */
	int (*unlink)(struct llfuse_request *req, uint64_t parent, const char *name);

	/** As unlink, for a directory.  -ENOTEMPTY, or -ENOTDIR. */
	int (*rmdir)(struct llfuse_request *req, uint64_t parent, const char *name);

	/** A symbolic link to @target, which is any bytes, at most 4095. */
	int (*symlink)(struct llfuse_request *req, uint64_t parent, const char *name, const char *target,
		       struct llfuse_entry *entry);

	/** @flags: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT of renameat2(2);
	 * -EINVAL for those that it does not do. */
	int (*rename)(struct llfuse_request *req, uint64_t parent, const char *name, uint64_t new_parent,
		      const char *new_name, unsigned flags);

	/** A further name for @ino. */
	int (*link)(struct llfuse_request *req, uint64_t ino, uint64_t new_parent, const char *new_name,
		    struct llfuse_entry *entry);

	/** Sets file->fh and the other outputs of @file.  If it is not set, every open
	 * succeeds without a request, with keep_cache, and there is no release: set it where create or
	 * tmpfile leave something to release. */
	int (*open)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);

	/** Answers with bytes of the file from @off, llfuse_data_size() of them except
	 * at the end of the file. */
	int (*read)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		    struct llfuse_data *data);

	/** Returns how many of the @size bytes were written. */
	ssize_t (*write)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf,
			 size_t size, off_t off);

	/** One close(2) of a descriptor of the file; there may be several, or none. */
	int (*flush)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);

	/** The last close: exactly one for each open, create and tmpfile, if only just
	 * before destroy, when the connection ended before the kernel said so. */
	int (*release)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);

	/** @datasync: the data only, as fdatasync(2). */
	int (*fsync)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync);

	/** If it is not set, every open succeeds without a request, with keep_cache and
	 * cache_readdir: set it where directories change behind the kernel's back. */
	int (*opendir)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);

	/** Adds entries with llfuse_dir_add() until it is full or there are no more,
	 * from the one behind the offset @off (0: the first).  Nothing added: the end. */
	int (*readdir)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		       struct llfuse_dir *dir);

	/** As release, for opendir. */
	int (*releasedir)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);

	/** As fsync, for a directory. */
	int (*fsyncdir)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync);

	/** @st is preset to zero. */
	int (*statfs)(struct llfuse_request *req, uint64_t ino, struct statvfs *st);

	/** @flags: XATTR_CREATE, XATTR_REPLACE of setxattr(2). */
	int (*setxattr)(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size,
			int flags);

	/** Answers with the whole value; the library turns it into the size, or into
	 * -ERANGE, as the caller's buffer asks.  -ENODATA if there is none. */
	int (*getxattr)(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data);

	/** Answers with the names, each with a NUL behind it.  Sizes as in getxattr. */
	int (*listxattr)(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data);

	/** -ENODATA if there is none. */
	int (*removexattr)(struct llfuse_request *req, uint64_t ino, const char *name);

	/** access(2), and chdir(2), without default_permissions only. */
	int (*access)(struct llfuse_request *req, uint64_t ino, int mask);

	/** mknod and open in one, for a name that the kernel did not find.  If it is there by now,
	 * -EEXIST where file->flags has O_EXCL, else the file is opened. */
	int (*create)(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode,
		      struct llfuse_file *file, struct llfuse_entry *entry);

	/* What Python-LLFUSE never had. */

	/** @mode: FALLOC_FL_* of fallocate(2); -EOPNOTSUPP for those it does not do. */
	int (*fallocate)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off,
			 off_t len);

	/** SEEK_DATA and SEEK_HOLE only.  Returns the offset, or -ENXIO. */
	off_t (*lseek)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence);

	/** Returns how many bytes were copied. */
	ssize_t (*copy_file_range)(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in,
				   off_t off_in, uint64_t ino_out, struct llfuse_file *file_out, off_t off_out,
				   size_t len, unsigned flags);

	/** A restricted ioctl: @in of @in_size bytes, as _IOC_SIZE(@cmd) says, for
	 * _IOC_WRITE; up to @out_size to @out for _IOC_READ.  Returns what ioctl(2)
	 * is to return, >= 0, or -errno; -ENOTTY for a command that it does not know. */
	int (*ioctl)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned cmd, const void *in,
		     size_t in_size, void *out, size_t out_size);

	/** Sets @revents to what of @events is ready.  @poll, if not NULL, is the handler's from
	 * here: it calls llfuse_poll_notify() once when that changes, then llfuse_poll_free(). */
	int (*poll)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned events,
		    unsigned *revents, struct llfuse_poll *poll);

	/** F_GETLK: changes @lock to a lock in the way, or its type to F_UNLCK.
	 * Without getlk and setlk the kernel keeps the locks itself. */
	int (*getlk)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct flock *lock);

	/** F_SETLK, or F_SETLKW if @sleep.  Sleeping holds up a worker, or a CPU's
	 * whole queue on io_uring; once llfuse_interrupted(), -EINTR. */
	int (*setlk)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct flock *lock,
		     bool sleep);

	/** @op: LOCK_* of flock(2).  Without it the kernel keeps the locks itself. */
	int (*flock)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int op);

	/** O_TMPFILE: a file in @parent without a name. */
	int (*tmpfile)(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
		       struct llfuse_entry *entry);

	/** As getattr, with what statx(2) adds: @mask and @flags are the caller's,
	 * @stx is preset to zero, @attr_timeout_s to 0.  Asked only where getattr
	 * would not do (the birth time). */
	int (*statx)(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned flags, unsigned mask,
		     struct statx *stx, double *attr_timeout_s);
};

/* ------------------------------------------------------------------------ */
/* Life cycle                                                                */

/** How requests come from the kernel. */
enum llfuse_transport {
	LLFUSE_TRANSPORT_AUTO, /**< io_uring where the kernel offers it */
	LLFUSE_TRANSPORT_DEV_FUSE, /**< read(2) and write(2) on /dev/fuse */
	LLFUSE_TRANSPORT_IO_URING, /**< falls back to /dev/fuse, with a warning */
};

/** How to mount and run.  Zero is the default of every field but the mount point. */
struct llfuse_config {
	/** The program, in messages and as the subtype of the mount; NULL: "llfuse". */
	const char *name;
	/** Where to mount: an existing directory, or /dev/fd/N for a descriptor of
	 * /dev/fuse that somebody else has mounted. */
	const char *mountpoint;
	/** The source that `mount` and /proc/mounts show; NULL: name. */
	const char *fsname;
	/** Comma-separated options of mount(8) and mount.fuse3(8), of which those without meaning
	 * to FUSE (defaults, nofail, relatime, user ...) are ignored; NULL: none.
	 * default_permissions is always added. */
	const char *mount_options;
	/** How many threads may answer requests on /dev/fuse; they are made as they are needed.
	 * 1: handlers never run concurrently, on either transport.  0: 10.  On io_uring
	 * there is one thread for each CPU, and the number counts only if it is 1. */
	unsigned workers;
	enum llfuse_transport transport;
	/** Requests under way at once on each CPU's ring; each costs up to 1 MiB of
	 * memory.  0: 8. */
	unsigned ring_depth;
	/** Leave the scheduling of the threads on io_uring alone.  Else, where the process has CAP_SYS_NICE, they run under
	 * SCHED_IDLE while requests come one right after the other, and as before as soon as they would starve.  A thread
	 * or a process that a handler starts inherits that, and on io_uring the one CPU of the handler's thread: give it its
	 * own policy and affinity (pthread_attr_setinheritsched(3)). */
	bool no_yield;
	/** Log each request (libfuse's own trace). */
	bool debug_fuse;
	/** Log at debug level. */
	bool debug;
	/** llfuse_run() only: go to the background once mounted.  This forks: start threads in
	 * the init handler, not before. */
	bool daemon;
	/** Leave signals alone: no SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2.  Else those that have their
	 * default action are taken, and SIGPIPE and SIGXFSZ are ignored, from the first llfuse_init() of the process to its
	 * last llfuse_close().  What the program sets meanwhile stays as it is. */
	bool no_signals;
	/**
	 * Called by llfuse_init() once it is mounted, before the first request is answered and before the library has
	 * threads; in the background, before the caller is told that it is mounted.  The time to give up rights and to go to
	 * another root directory (then see llfuse_use_proc(), and unmount_from_outside).  -errno unmounts, and
	 * llfuse_init() returns it; the function has told the reason.  NULL: nothing.
	 */
	int (*mounted)(void *userdata);
	/**
	 * Where `mounted` goes, the mount point cannot be reached, or not unmounted.  A process that is forked before it is called
	 * stays behind with the rights of that moment, and unmounts when the session is closed; it ends with this process,
	 * however that ends, and llfuse_close() waits for it.
	 */
	bool unmount_from_outside;
	/** llfuse_syncfs() will be called again and again: the process that it takes is forked once, when it is mounted, and not
	 * each time. */
	bool syncs_often;
};

/**
 * Mounts.  @ops is copied; @userdata is passed to every handler.
 * Returns 0 and a session in @session, which llfuse_close() frees, or
 * -ENOENT, -ENOTDIR (mount point), -ENODEV (no /dev/fuse), -EACCES, -EPERM (not
 * allowed), -EINVAL (an option), -ENOMEM, or what mount(2) gave.  The reason has then been
 * written to stderr, one line.  Any thread.
 */
int llfuse_init(const struct llfuse_ops *ops, const struct llfuse_config *config, void *userdata,
		struct llfuse_session **session);

/**
 * Answers requests until llfuse_stop(), SIGINT, SIGTERM, SIGHUP, or an unmount from
 * outside.  Before a signal ends it the kernel writes back what it has of files, as with llfuse_syncfs(); another
 * SIGINT or SIGTERM, a second later or more, does not wait for that.  SIGUSR1 logs the counters, SIGUSR2 every thread's stack.  A
 * signal concerns all sessions of the process; those that the program ignores or handles are left to it.
 * Returns 0, or -errno, which has then been logged: -ENOMEM, -EAGAIN (there can be no thread
 * for it), or what the connection to the kernel failed with.  It waits for the handlers that run; see
 * llfuse_interrupted() for those that take long.  Once per session.
 */
int llfuse_main(struct llfuse_session *session);

/** Ends llfuse_main(), from any thread, also before it was called; not from a
 * signal handler.  Does not wait, nor for what the kernel has not written back yet. */
void llfuse_stop(struct llfuse_session *session);

/**
 * Frees @session, and unmounts unless @unmount is false: then the mount point
 * stays, and gives ENOTCONN (at first ECONNABORTED, over io_uring), as after a crash.  NULL is nothing.  Not while
 * llfuse_main() or a notify call runs.
 */
void llfuse_close(struct llfuse_session *session, bool unmount);

/** All of the above for a program: daemon, log, init, main, close.  Returns
 * the exit status: 0, or 1 with the reason on stderr. */
int llfuse_run(const struct llfuse_ops *ops, const struct llfuse_config *config, void *userdata);

/** The transport that really runs, known from the first request on; before, AUTO. */
enum llfuse_transport llfuse_session_transport(const struct llfuse_session *session);

/** The capabilities (enum llfuse_cap) that are on, known from init on.  Any thread. */
uint32_t llfuse_session_caps(const struct llfuse_session *session);

/**
 * Whether this process may register backing files at all, as far as that is known before the mount.  The kernel
 * asks for CAP_SYS_ADMIN in the first user namespace.
 */
bool llfuse_passthrough_is_permitted(void);

/**
 * Registers @fd, which the caller may then close, for kernel passthrough: for a file system that uses a backing file for
 * more than one open, as each registration costs.  Only in a handler, with LLFUSE_CAP_PASSTHROUGH on.
 * The kernel will read and write with the credentials that the thread has now, without CAP_FSETID.
 * Returns an id, > 0, or -ENOSYS without the capability, -ELOOP for a file on a stacked file system, -EPERM,
 * -ENOMEM, -EINVAL for what is no regular file.
 */
int llfuse_backing_open(struct llfuse_request *req, int fd);

/** Gives the id back.  Any thread. */
void llfuse_backing_close(struct llfuse_session *session, int backing_id);

/** Whether @ino is open with kernel passthrough now.  Any thread. */
bool llfuse_file_passthrough(const struct llfuse_session *session, uint64_t ino);

/** The session that @req came through; NULL for a made-up request. */
struct llfuse_session *llfuse_request_session(const struct llfuse_request *req);

/* ------------------------------------------------------------------------ */
/* Notify: tell the kernel what changed behind its back                      */

/*
 * From any thread, but unless said otherwise never from inside a handler for the same inode or its
 * directory, and with no lock held that a handler takes: the kernel waits for
 * requests under way on them, and an invalidation may itself send requests.
 * Each returns 0, -ENOENT if the kernel does not know the inode or name (which is
 * no error), -ENOSYS if it is too old, -ENODEV before llfuse_main() has seen
 * the first request and once it ends, or another errno.  llfuse_main() returns when no call is under way any more.
 */

/** Drops attributes and the cached data from @off, @len bytes; @len 0: to the end;
 * @off negative: the attributes only.  Those, and the listing of a directory, wait for nothing and may be dropped in any
 * handler. */
int llfuse_notify_inval_inode(struct llfuse_session *session, uint64_t ino, off_t off, off_t len);

/** Forgets the name: the next use asks lookup. */
int llfuse_notify_inval_entry(struct llfuse_session *session, uint64_t parent, const char *name);

/** As inval_entry, for a name that was removed: who watches the file with inotify(7) is told.
 * -ENOTEMPTY, -EBUSY if @child is a directory in use. */
int llfuse_notify_delete(struct llfuse_session *session, uint64_t parent, uint64_t child, const char *name);

/** Lets the name's time-out end now, without dropping what is below it. */
int llfuse_notify_expire_entry(struct llfuse_session *session, uint64_t parent, const char *name);

/** Puts @size bytes into the page cache of @ino at @off. */
int llfuse_notify_store(struct llfuse_session *session, uint64_t ino, off_t off, const void *buf, size_t size);

/** Lets the time-outs of all names end now. */
int llfuse_notify_increment_epoch(struct llfuse_session *session);

/**
 * Lets the kernel write back what it has of files, and returns once that has come as write requests and those have been
 * answered: stores to mappings, and with LLFUSE_CAP_WRITEBACK_CACHE writes.  What is stored meanwhile may be left for later.
 * By way of the root directory, which for who is not root keeps the mount busy meanwhile.  -ENOENT if no path leads
 * to it (any more), -EACCES if this process may not read the root directory, -ETIMEDOUT if after half a minute there
 * is still more, -EPIPE if the process of unmount_from_outside was killed, -ENOSYS before Linux 5.8, -ENODEV as above, -ENOMEM,
 * -EAGAIN, or another errno.
 * From any thread, but never from inside a handler.  Forks a process, but with llfuse_config.syncs_often.
 */
int llfuse_syncfs(struct llfuse_session *session);

/* ------------------------------------------------------------------------ */
/* Command line                                                              */

/** What the value of an option is, and the type of the field that it goes to. */
enum llfuse_option_type {
	LLFUSE_OPTION_FLAG, /**< bool; takes no value */
	LLFUSE_OPTION_STRING, /**< char *; freed by llfuse_command_free() */
	LLFUSE_OPTION_UINT, /**< uint64_t, decimal */
	LLFUSE_OPTION_MODE, /**< mode_t, octal, at most 07777 */
	LLFUSE_OPTION_SECONDS /**< double, >= 0 */
};

/** One option of a program; a table of them ends with a NULL name. */
struct llfuse_option {
	/** "--file" for `--file VALUE` and `--file=VALUE`, else "mode" for `-o mode=VALUE`. */
	const char *name;
	enum llfuse_option_type type;
	/** Of the field in the program's own struct. */
	size_t offset;
	/** What --help calls the value, "PATH"; NULL for a flag. */
	const char *value_name;
	/** One line for --help. */
	const char *help;
};

/** What a program's command line looks like. */
struct llfuse_program {
	const char *name;
	/** One sentence for --help. */
	const char *summary;
	/** The arguments before the mount point, as --help shows them: { "SOURCE", NULL };
	 * NULL: none. */
	const char *const *arguments;
	const struct llfuse_option *options;
};

/** A parsed command line. */
struct llfuse_command {
	struct llfuse_config config;
	/** The program's arguments, as many as llfuse_program.arguments has. */
	char **arguments;
	/** The library's own. */
	void *internal;
};

/**
 * Parses @argv: the options that all programs have (--help lists them), those of
 * @program into the struct at @values (preset by the caller; strings that it
 * replaces are not freed), the arguments and the mount point.
 * Returns -1 to go on; else the exit status to return from main at once: 0 after
 * --help and --version, 1 if what they tell could not be written, 2 after a usage error; for
 * both the reason has been written to stderr.
 * Call llfuse_command_free() in any case.
 */
int llfuse_command_parse(struct llfuse_command *command, const struct llfuse_program *program, int argc, char **argv,
			 void *values);

/** Frees what llfuse_command_parse() made, option strings included. */
void llfuse_command_free(struct llfuse_command *command);

/* ------------------------------------------------------------------------ */
/* Log                                                                       */

/** How much a message matters. */
enum llfuse_log_level { LLFUSE_LOG_DEBUG, LLFUSE_LOG_INFO, LLFUSE_LOG_WARNING, LLFUSE_LOG_ERROR };

/**
 * Writes `2026-01-31 12:00:00.123 THREAD: [NAME] message` to stderr, or to syslog
 * once in the background.  Any thread; keeps errno.
 */
void llfuse_log(enum llfuse_log_level level, const char *name, const char *fmt, ...) LLFUSE_PRINTF(3, 4);

/** Whether a message of @level would be written: guards costly arguments. */
bool llfuse_log_enabled(enum llfuse_log_level level);

/** Messages below @level are dropped.  Preset: LLFUSE_LOG_INFO. */
void llfuse_log_set_level(enum llfuse_log_level level);

/** One line `program: message` on stderr: for errors before the mount. */
void llfuse_complain(const char *program, const char *fmt, ...) LLFUSE_PRINTF(2, 3);

/* ------------------------------------------------------------------------ */
/* Counters                                                                  */

/** The request types that are counted, one for each handler that answers. */
enum llfuse_op {
	LLFUSE_OP_LOOKUP,
	LLFUSE_OP_FORGET,
	LLFUSE_OP_GETATTR,
	LLFUSE_OP_SETATTR,
	LLFUSE_OP_READLINK,
	LLFUSE_OP_MKNOD,
	LLFUSE_OP_MKDIR,
	LLFUSE_OP_UNLINK,
	LLFUSE_OP_RMDIR,
	LLFUSE_OP_SYMLINK,
	LLFUSE_OP_RENAME,
	LLFUSE_OP_LINK,
	LLFUSE_OP_OPEN,
	LLFUSE_OP_READ,
	LLFUSE_OP_WRITE,
	LLFUSE_OP_FLUSH,
	LLFUSE_OP_RELEASE,
	LLFUSE_OP_FSYNC,
	LLFUSE_OP_OPENDIR,
	LLFUSE_OP_READDIR,
	LLFUSE_OP_READDIRPLUS,
	LLFUSE_OP_RELEASEDIR,
	LLFUSE_OP_FSYNCDIR,
	LLFUSE_OP_STATFS,
	LLFUSE_OP_SETXATTR,
	LLFUSE_OP_GETXATTR,
	LLFUSE_OP_LISTXATTR,
	LLFUSE_OP_REMOVEXATTR,
	LLFUSE_OP_ACCESS,
	LLFUSE_OP_CREATE,
	LLFUSE_OP_FALLOCATE,
	LLFUSE_OP_LSEEK,
	LLFUSE_OP_COPY_FILE_RANGE,
	LLFUSE_OP_IOCTL,
	LLFUSE_OP_POLL,
	LLFUSE_OP_GETLK,
	LLFUSE_OP_SETLK,
	LLFUSE_OP_FLOCK,
	LLFUSE_OP_TMPFILE,
	LLFUSE_OP_STATX,
	LLFUSE_OP_COUNT
};

/** Buckets of a latency histogram: [i] counts times of 2^i up to 2^(i+1) - 1 ns, [0] also 0. */
#define LLFUSE_LATENCY_BUCKETS 40

/** The counters of one request type. */
struct llfuse_op_stats {
	uint64_t count;
	/** Of them, how many gave an error. */
	uint64_t errors;
	/** Time from the handler's call to its return. */
	uint64_t latency[LLFUSE_LATENCY_BUCKETS];
};

/** All counters, by enum llfuse_op. */
struct llfuse_stats {
	struct llfuse_op_stats op[LLFUSE_OP_COUNT];
};

/** Sums the counters of all threads.  Any thread, while requests run. */
void llfuse_stats_read(const struct llfuse_session *session, struct llfuse_stats *stats);

/** "lookup" for LLFUSE_OP_LOOKUP ...  Static. */
const char *llfuse_op_name(enum llfuse_op op);

/** Writes the counters that are not zero to the log, as SIGUSR1 does. */
void llfuse_stats_log(const struct llfuse_session *session);

/* ------------------------------------------------------------------------ */
/* Utilities, as Python-LLFUSE has them                                      */

/** setxattr(2) on @path.  Returns 0 or -errno. */
int llfuse_setxattr(const char *path, const char *name, const void *value, size_t size);

/**
 * The value of an extended attribute, in memory that the caller frees, with a NUL
 * behind it that is not counted.  Returns its size, or -errno.
 */
ssize_t llfuse_getxattr(const char *path, const char *name, void **value);

/**
 * The names in the directory @path, without "." and "..", in a NULL-terminated
 * array that llfuse_listdir_free() frees.  Returns how many, or -errno.
 */
ssize_t llfuse_listdir(const char *path, char ***names);
/** Frees what llfuse_listdir() made; NULL is nothing. */
void llfuse_listdir_free(char **names);

/** The supplementary groups of process or thread @pid, in memory that the caller
 * frees.  Returns how many, or -ESRCH, or what kept it from reading (-EMFILE, -ENOMEM ...). */
ssize_t llfuse_get_sup_groups(pid_t pid, gid_t **groups);

/** Logs the stack of every thread of the process.  Any thread, one at a time. */
void llfuse_stacktrace(void);

/* ------------------------------------------------------------------------ */
/* Testing a file system without a mount: call the handlers directly         */

/** A made-up answer of at most @size bytes; NULL if there is no memory. */
struct llfuse_data *llfuse_data_new(size_t size);

/** Copies the answer to @buf, at most @size bytes, and returns its length, or -errno
 * if a descriptor could not be read. */
ssize_t llfuse_data_copy(const struct llfuse_data *data, void *buf, size_t size);

/** Calls the release function, and frees. */
void llfuse_data_free(struct llfuse_data *data);

/** A made-up listing of at most @size bytes, as the kernel counts them, with
 * attributes or without; NULL if there is no memory. */
struct llfuse_dir *llfuse_dir_new(size_t size, bool wants_attr);

/** The entries added, one at a time: the @i-th name, its ino and next offset (each may be NULL).
 * NULL behind the last. */
const char *llfuse_dir_get(const struct llfuse_dir *dir, size_t i, uint64_t *ino, off_t *next_off);

/** Frees; NULL is nothing. */
void llfuse_dir_free(struct llfuse_dir *dir);

#ifdef __cplusplus
}
#endif

#endif
