/* SPDX-License-Identifier: MIT */
/*
 * A request under way: what every request needs before and after its handler.
 *
 * A reply that the kernel does not take (-ENOENT: the caller was interrupted meanwhile)
 * leaves it without the reference that the answer would have given it, so that whatever
 * the handler counted is given back.
 */
#ifndef LLFUSE_CALL_H
#define LLFUSE_CALL_H

#include "internal.h"

struct call {
	struct llfuse_request req;
	struct llfuse_session *session;
	fuse_req_t fuse;
	struct worker *worker;
	enum llfuse_op op;
	uint64_t start_ns;
};

/* With one worker, handlers take turns: these stand around each call of one (L2). */
void ll_turn_begin(struct llfuse_session *session);
void ll_turn_end(struct llfuse_session *session);

/* Returns false, with the request answered, if memory is too short for it. */
bool ll_call_begin(struct call *call, fuse_req_t req, enum llfuse_op op);
/* After the handler: counts, and lets the next one run where there is one worker. */
void ll_call_end(struct call *call, bool is_error);

/* Whether the kernel did not take the answer.  Either way the request is libfuse's again. */
bool ll_is_undelivered(struct call *call, int reply);
/* What a handler counted and the kernel never got. */
void ll_give_back(struct call *call, size_t n, const uint64_t *inos);

void ll_reply_status(struct call *call, ssize_t err);
/* Whether the kernel will refuse @entry as what was made with the type @type (of st_mode; 0: any); if so, it is logged.  The
 * kernel would give its caller EIO and count neither a lookup nor an open, and nobody would be told. */
bool ll_is_wrong_entry(const struct call *call, const struct llfuse_entry *entry, mode_t type);
/* To lookup, where no inode number means that there is no such name. */
void ll_reply_lookup(struct call *call, int err, const struct llfuse_entry *entry);
/* To what makes a name for something of the type @type (0: any). */
void ll_reply_entry(struct call *call, int err, const struct llfuse_entry *entry, mode_t type);
void ll_reply_attr(struct call *call, int err, uint64_t ino, const struct llfuse_entry *entry);
void ll_reply_count(struct call *call, ssize_t n);
/* Replies with what the handler collected in @data, and ends the call. */
void ll_reply_data(struct call *call, int err, struct llfuse_data *data);

/* @info NULL gives NULL back, as for a getattr without an open file. */
struct llfuse_file *ll_file_from_fuse(struct llfuse_file *file, const struct fuse_file_info *info);
void ll_file_to_fuse(const struct llfuse_file *file, struct fuse_file_info *info);

/* Each sets those of its requests in @table that @ops has a handler for. */
void ll_names_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table);
void ll_attr_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table);
void ll_data_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table);

#define PASS_ON(handler)                                                                                               \
	if (ops->handler)                                                                                              \
	table->handler = ll_##handler

#endif
