/* SPDX-License-Identifier: MIT */
/*
 * The request handlers of passthroughfs, by family, and what they share.
 *
 * A handler translates: numbers to descriptors, results to entries.  It decides
 * nothing about the source.
 */
#ifndef PASSTHROUGHFS_OPS_H
#define PASSTHROUGHFS_OPS_H

#include "llfuse.h"

#include "inode.h"
#include "source.h"

/** All handlers; their userdata is a struct source. */
extern const struct llfuse_ops passthroughfs_ops;

/** How long, in seconds, the kernel may remember names and attributes of what is watched: not for ever, as mappings are
 * written to, and files read, without a word. */
#define OPS_WATCHED_S 60.0
/** And of what is not. */
#define OPS_UNWATCHED_S 0.05
/** And attributes that others may have changed before the kernel gets them: with what its clock is coarse by, less than
 * the 50 ms within which it must show. */
#define OPS_UNSURE_S 0.03

/** Who moves the bytes of open files. */
enum ops_plane {
	OPS_PLANE_AUTO, /* the kernel, if it may */
	OPS_PLANE_KERNEL, /* the kernel, or there is no mount */
	OPS_PLANE_DAEMON, /* we do */
};

/** One choice for the process, before the mount; preset: OPS_PLANE_AUTO. */
void ops_choose_plane(enum ops_plane plane);

/** Agrees with the kernel on the plane. */
void ops_agree_on_plane(struct llfuse_conn *conn);

/** Whether the kernel moves the bytes.  Then open(2) with O_TRUNC is an open and a setattr. */
bool ops_kernel_moves_bytes(void);

/** How long the kernel may remember what is looked at now, if it hears of changes that come later; @hold is the file
 * or, for a name, the directory. */
double ops_timeout_s(const struct source *source, const struct hold *hold);

/** And attributes of @hold; asked before they are looked at. */
double ops_attr_timeout_s(const struct source *source, const struct hold *hold);

/** Fills @entry with what @hold stands for, without a lookup. */
int ops_attr(struct source *source, const struct hold *hold, struct llfuse_entry *entry);

/**
 * What is looked at between ops_look() and ops_entry().  The kernel can be told that attributes have changed only once it
 * has them: if others changed something meanwhile, these are not to be remembered.
 */
struct ops_look {
	struct source *source;
	const struct hold *dir; /* where it is looked for */
	unsigned serial;
};

struct ops_look ops_look(struct source *source, const struct hold *dir);

/** Counts a lookup of what @fd stands for and @stx describes, and fills @entry.  It was
 * found as @name in the directory; NULL if not. */
int ops_entry(const struct ops_look *look, const char *name, int fd, const struct statx *stx,
	      struct llfuse_entry *entry);

/** That there is no such name. */
void ops_no_entry(struct source *source, const struct hold *dir, struct llfuse_entry *entry);

/** Looks @name up in @dir, counts it and fills @entry. */
int ops_child(struct source *source, const struct hold *dir, const char *name, struct llfuse_entry *entry);

/** Those of the flags of open(2) that are for the source's file too. */
int ops_open_flags(int flags);

/** A file to open again. */
struct ops_opening {
	int fd; /* O_PATH is enough */
	int flags; /* of open(2) */
};

/** Opens what a struct ops_opening says.  Returns a descriptor or -errno. */
int ops_open_again(const void *opening);

/**
 * Makes @fd, an open file of the source, inode @ino and a regular file, the open file that @file describes.  @has_setid
 * counts only for a writer.  Returns 0, or as inode_opened().
 */
int ops_opened(struct source *source, uint64_t ino, struct llfuse_file *file, int *fd, bool has_setid);

/**
 * Runs @act as the caller of @req, and returns its result.
 * The kernel has checked the caller's rights already, mostly without need of its
 * supplementary groups, which cost a look into /proc: so @act is tried without
 * them first, and with them if it gives -EACCES; with @needs_groups at once.
 * File handles cannot be opened in @act.
 */
int ops_as_caller(const struct llfuse_request *req, bool needs_groups, int (*act)(const void *what), const void *what);

/**
 * Runs @act with our rights, but the caller's groups and without CAP_FSETID, and returns its result: the source takes the
 * set-id bits that somebody without that capability may not keep.
 */
int ops_without_setid(const struct llfuse_request *req, int (*act)(const void *what), const void *what);

/** Lets the kernel ask for the attributes of @ino before it goes by them again. */
void ops_forget_attributes(const struct llfuse_request *req, uint64_t ino);

/**
 * Runs @act, which changes the bytes or the owner of the file @fd (O_PATH is enough), inode @ino, and returns
 * its result.  With @drops the caller may not keep all setuid and setgid bits.  Which go is for the
 * source to say: see ops_without_setid().  The kernel forgets those that it knew, as execve(2) goes by them and most answers
 * do not tell.
 */
int ops_change(const struct llfuse_request *req, uint64_t ino, int fd, bool drops, int (*act)(const void *what),
	       const void *what);

/** Whether @fd has a setuid or setgid bit that this caller may not keep.  For what changes a file
 * without being a write: the kernel says nothing about the bits then. */
bool ops_may_not_keep_setid(const struct llfuse_request *req, int fd);

/** The descriptor of an open file. */
static inline int file_fd(const struct llfuse_file *file)
{
	return (int)file->fh;
}

/* ops_watch.c: a thread that tells the kernel what others change in the source. */

/** Once per mount, in init.  Returns 0; else nobody will tell, and the reason has been logged. */
int ops_watch_start(struct source *source, struct llfuse_session *session);

/** Whether the kernel is told. */
bool ops_watch_works(const struct source *source);

/** Nothing if it was not started.  Once there are no requests any more. */
void ops_watch_stop(struct source *source);

/* ops_names.c */
int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry);
void op_forget(struct llfuse_request *req, size_t n, const struct llfuse_forget *forgets);
int op_readlink(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data);
int op_unlink(struct llfuse_request *req, uint64_t parent, const char *name);
int op_rmdir(struct llfuse_request *req, uint64_t parent, const char *name);
int op_rename(struct llfuse_request *req, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
	      unsigned flags);
int op_link(struct llfuse_request *req, uint64_t ino, uint64_t new_parent, const char *new_name,
	    struct llfuse_entry *entry);

/* ops_create.c */
int op_mknod(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     struct llfuse_entry *entry);
int op_mkdir(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_entry *entry);
int op_symlink(struct llfuse_request *req, uint64_t parent, const char *name, const char *target,
	       struct llfuse_entry *entry);
int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_file *file,
	      struct llfuse_entry *entry);
int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
	       struct llfuse_entry *entry);

/* ops_dir.c */
int op_opendir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_dir *dir);
int op_releasedir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_fsyncdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync);

/* ops_data.c */
int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_data *data);
ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf, size_t size,
		 off_t off);
int op_flush(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_fsync(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync);
int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off, off_t len);
off_t op_lseek(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence);
ssize_t op_copy_file_range(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in, off_t off_in,
			   uint64_t ino_out, struct llfuse_file *file_out, off_t off_out, size_t len, unsigned flags);

/* ops_attr.c */
int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry);
int op_setattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
	       unsigned fields, struct llfuse_entry *entry);
int op_statx(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned flags, unsigned mask,
	     struct statx *stx, double *attr_timeout_s);
int op_statfs(struct llfuse_request *req, uint64_t ino, struct statvfs *st);
int op_setxattr(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size, int flags);
int op_getxattr(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data);
int op_listxattr(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data);
int op_removexattr(struct llfuse_request *req, uint64_t ino, const char *name);

#endif
