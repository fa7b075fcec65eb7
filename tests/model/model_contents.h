/* SPDX-License-Identifier: MIT */
/* Where in a file steps may write, so that all that they wrote can be compared. */
#ifndef MODEL_CONTENTS_H
#define MODEL_CONTENTS_H

#include <stddef.h>
#include <sys/types.h>

/* How many bytes may be written at @off, 0 if none. */
size_t contents_room(off_t off);

#endif
