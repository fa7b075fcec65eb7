/* SPDX-License-Identifier: MIT */
/* What went wrong with a store, as -errno and in words.  See store_internal.h. */
#include "store_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char reason[STORE_REASON_SIZE];

const char *store_reason(void)
{
	return reason;
}

/* One line, whatever a name of a table has in it. */
static void set_reason(const char *text)
{
	size_t i;

	(void)snprintf(reason, sizeof(reason), "%s", text); /* cut to what there is room for */
	for (i = 0; reason[i]; i++)
		if ((unsigned char)reason[i] < ' ')
			reason[i] = ' ';
}

void store_take_reason(const char *text)
{
	if (text[0])
		set_reason(text);
}

static bool is_disk_full(const struct store_db *db)
{
	int number = db->handle ? sqlite3_system_errno(db->handle) : 0;

	return number == ENOSPC || number == EDQUOT;
}

static int errno_of_open(const struct store_db *db)
{
	int number = db->handle ? sqlite3_system_errno(db->handle) : 0;

	return number > 0 ? -number : -EIO;
}

static int errno_of(const struct store_db *db, int result)
{
	if (result == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	switch (result & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_NOTADB:
		return -EMEDIUMTYPE;
	case SQLITE_CANTOPEN:
		return errno_of_open(db);
	case SQLITE_IOERR:
		return is_disk_full(db) ? -ENOSPC : -EIO;
	default:
		return -EIO;
	}
}

int store_failure(const struct store_db *db, int result)
{
	/* The last error of the connection may be another one. */
	bool is_told = db->handle && sqlite3_errcode(db->handle) == (result & 0xff);

	if (is_told)
		result = sqlite3_extended_errcode(db->handle);
	if (result == SQLITE_READONLY_ROLLBACK || result == SQLITE_READONLY_RECOVERY)
		set_reason("a change was cut off, which who may write it (sqlite3) has to undo first");
	else
		set_reason(is_told ? sqlite3_errmsg(db->handle) : sqlite3_errstr(result));
	return errno_of(db, result);
}

static void format_reason(const char *format, va_list args)
{
	char text[sizeof(reason)];

	(void)vsnprintf(text, sizeof(text), format, args); /* cut to what there is room for */
	set_reason(text);
}

int store_refuse(int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_reason(format, args);
	va_end(args);
	return err;
}

int store_say(struct store_error *error, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_reason(format, args);
	va_end(args);
	if (error)
		(void)snprintf(error->text, sizeof(error->text), "%s", reason);
	return err;
}

int store_explain(struct store_error *error, int err)
{
	switch (err) {
	case -EBUSY:
		return store_say(error, err, "another program holds its lock");
	case -EMEDIUMTYPE:
		return store_say(error, err, "it is no SQLite database");
	case -ENOMEM:
		return store_say(error, err, "there is not enough memory");
	case -ENOSPC:
		return store_say(error, err, "its disk is full");
	case -EROFS:
		return store_say(error, err, "it cannot be written: %s", reason);
	case -EIO:
		return store_say(error, err, "it is damaged, or cannot be read: %s", reason);
	default:
		return store_say(error, err, "%s: %s", reason, strerror(-err));
	}
}
