/* SPDX-License-Identifier: MIT */
/*
 * Acting as somebody else for one step, with no more rights than they have: so that what is
 * forbidden, and what a change takes away (set-user-id ...), is compared too.
 */
#ifndef MODEL_USER_H
#define MODEL_USER_H

#include "model_random.h"

#include <stddef.h>
#include <sys/types.h>

struct user {
	const char *name; /* NULL: the one that we are */
	uid_t uid;
	gid_t gid;
	size_t n_groups;
	gid_t groups[2];
};

/* Makes sure that we are root, of no further group. */
void user_init(void);

const struct user *user_self(void);

/* Somebody who owns nothing that we make. */
const struct user *user_ordinary(void);

/* The one that we are, mostly. */
const struct user *user_choose(struct random *random);

/* From here to user_leave() the calling process is @user to file systems. */
void user_enter(const struct user *user);
void user_leave(const struct user *user);

/* Somebody's ids, or (rarely) the one that means "leave it". */
uid_t user_any_uid(struct random *random);
gid_t user_any_gid(struct random *random);

#endif
