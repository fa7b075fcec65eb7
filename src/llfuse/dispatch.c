/* SPDX-License-Identifier: MIT */
/* The table for libfuse: a function for each request that the file system has a handler for. */
#include <string.h>

#include "call.h"

void ll_dispatch_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table)
{
	memset(table, 0, sizeof(*table));
	table->init = ll_conn_init;
	table->destroy = ll_conn_destroy;
	ll_names_table(ops, table);
	ll_attr_table(ops, table);
	ll_data_table(ops, table);
}
