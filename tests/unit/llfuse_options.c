/* SPDX-License-Identifier: MIT */
/* The command line: what each option does to the configuration, and the one line that each mistake gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "llfuse.h"

struct values {
	bool is_loud;
	bool is_quick;
	char *file;
	char *label;
	uint64_t size;
	mode_t mode;
	double timeout_s;
};

static const struct llfuse_option options[] = {
	{"--loud", LLFUSE_OPTION_FLAG, offsetof(struct values, is_loud), NULL, "be loud"},
	{"--file", LLFUSE_OPTION_STRING, offsetof(struct values, file), "PATH", "take PATH"},
	{"--size", LLFUSE_OPTION_UINT, offsetof(struct values, size), "N", "of N bytes"},
	{"quick", LLFUSE_OPTION_FLAG, offsetof(struct values, is_quick), NULL, "be quick"},
	{"label", LLFUSE_OPTION_STRING, offsetof(struct values, label), "TEXT", "call it TEXT"},
	{"mode", LLFUSE_OPTION_MODE, offsetof(struct values, mode), "M", "of mode M"},
	{"timeout", LLFUSE_OPTION_SECONDS, offsetof(struct values, timeout_s), "S", "for S seconds"},
	{NULL, LLFUSE_OPTION_FLAG, 0, NULL, NULL},
};

static const struct llfuse_program plain = {.name = "probe", .summary = "Probes.", .options = options};
static const char *const source_operand[] = {"SOURCE", NULL};
static const struct llfuse_program with_source = {
	.name = "probe", .summary = "Probes.", .arguments = source_operand, .options = options};
static const struct llfuse_program without_options = {.name = "probe", .summary = "Probes."};

struct parsed {
	struct llfuse_command command;
	struct values values;
	int status;
	char out[8192];
	char err[8192];
};

/* Puts a temporary file in the place of @fd; returns what was there. */
static int divert(int fd, FILE **file)
{
	int before = dup(fd);

	*file = tmpfile();
	assert_non_null(*file);
	assert_true(before >= 0);
	assert_int_equal(dup2(fileno(*file), fd), fd);
	return before;
}

static void put_back(int fd, int before, FILE *file, char *text, size_t size)
{
	ssize_t n = pread(fileno(file), text, size - 1, 0);

	dup2(before, fd);
	close(before);
	fclose(file);
	assert_true(n >= 0);
	text[n] = '\0';
}

static void parse(struct parsed *parsed, const struct llfuse_program *program, const char **argv)
{
	FILE *out_file, *err_file;
	int argc = 0, out, err;

	memset(parsed, 0, sizeof(*parsed));
	while (argv[argc])
		argc++;
	fflush(stdout);
	out = divert(STDOUT_FILENO, &out_file);
	err = divert(STDERR_FILENO, &err_file);
	parsed->status = llfuse_command_parse(&parsed->command, program, argc, (char **)argv, &parsed->values);
	fflush(stdout);
	put_back(STDOUT_FILENO, out, out_file, parsed->out, sizeof(parsed->out));
	put_back(STDERR_FILENO, err, err_file, parsed->err, sizeof(parsed->err));
}

#define PARSE(parsed, program, ...) parse(parsed, program, (const char *[]){"probe", ##__VA_ARGS__, NULL})

static void free_parsed(struct parsed *parsed)
{
	llfuse_command_free(&parsed->command);
	llfuse_command_free(&parsed->command); /* a second time is harmless */
}

/* The rest of the line is fine: it must go on, silently. */
#define ACCEPT(parsed, ...)                                                                                            \
	do {                                                                                                           \
		PARSE(parsed, &plain, __VA_ARGS__, "/mnt");                                                            \
		assert_string_equal((parsed)->err, "");                                                                \
		assert_string_equal((parsed)->out, "");                                                                \
		assert_int_equal((parsed)->status, -1);                                                                \
		assert_string_equal((parsed)->command.config.mountpoint, "/mnt");                                      \
	} while (0)

#define REFUSE(program, line, ...)                                                                                     \
	do {                                                                                                           \
		struct parsed refused;                                                                                 \
		PARSE(&refused, program, ##__VA_ARGS__);                                                               \
		assert_string_equal(refused.err, line);                                                                \
		assert_string_equal(refused.out, "");                                                                  \
		assert_int_equal(refused.status, 2);                                                                   \
		free_parsed(&refused);                                                                                 \
	} while (0)

static void presets(void **state)
{
	struct parsed parsed;

	(void)state;
	PARSE(&parsed, &plain, "/mnt");
	assert_int_equal(parsed.status, -1);
	assert_string_equal(parsed.command.config.name, "probe");
	assert_string_equal(parsed.command.config.mountpoint, "/mnt");
	assert_null(parsed.command.config.mount_options);
	assert_null(parsed.command.config.fsname);
	assert_int_equal(parsed.command.config.transport, LLFUSE_TRANSPORT_AUTO);
	assert_int_equal(parsed.command.config.workers, 0);
	assert_int_equal(parsed.command.config.ring_depth, 0);
	assert_false(parsed.command.config.no_yield);
	assert_false(parsed.command.config.daemon);
	assert_false(parsed.command.config.debug);
	assert_false(parsed.command.config.debug_fuse);
	free_parsed(&parsed);
}

static void common_switches(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "--debug");
	assert_true(parsed.command.config.debug);
	assert_false(parsed.command.config.debug_fuse);
	free_parsed(&parsed);
	for (const char **name = (const char *[]){"--debug-fuse", "-d", "-odebug", NULL}; *name; name++) {
		ACCEPT(&parsed, *name);
		assert_true(parsed.command.config.debug_fuse);
		free_parsed(&parsed);
	}
	for (const char **name = (const char *[]){"--single", "-s", NULL}; *name; name++) {
		ACCEPT(&parsed, *name);
		assert_int_equal(parsed.command.config.workers, 1);
		free_parsed(&parsed);
	}
	ACCEPT(&parsed, "-f");
	assert_false(parsed.command.config.daemon);
	free_parsed(&parsed);
	ACCEPT(&parsed, "--daemon");
	assert_true(parsed.command.config.daemon);
	free_parsed(&parsed);
	ACCEPT(&parsed, "--daemon", "-f"); /* the last one counts */
	assert_false(parsed.command.config.daemon);
	free_parsed(&parsed);
}

static void transport_options(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "-o", "io_uring");
	assert_int_equal(parsed.command.config.transport, LLFUSE_TRANSPORT_IO_URING);
	free_parsed(&parsed);
	ACCEPT(&parsed, "-ono_io_uring");
	assert_int_equal(parsed.command.config.transport, LLFUSE_TRANSPORT_DEV_FUSE);
	assert_null(parsed.command.config.mount_options);
	free_parsed(&parsed);
	ACCEPT(&parsed, "-o", "ro,io_uring_q_depth=17,nosuid");
	assert_int_equal(parsed.command.config.ring_depth, 17);
	assert_string_equal(parsed.command.config.mount_options, "ro,nosuid");
	free_parsed(&parsed);
	ACCEPT(&parsed, "-o", "no_yield");
	assert_true(parsed.command.config.no_yield);
	assert_null(parsed.command.config.mount_options);
	free_parsed(&parsed);
	REFUSE(&plain, "probe: io_uring_q_depth=0: not a number from 1 to 1024\n", "-o", "io_uring_q_depth=0", "/mnt");
	REFUSE(&plain, "probe: io_uring_q_depth=1025: not a number from 1 to 1024\n", "-o", "io_uring_q_depth=1025",
	       "/mnt");
	REFUSE(&plain, "probe: io_uring_q_depth=: not a number from 1 to 1024\n", "-o", "io_uring_q_depth=", "/mnt");
}

#define LONG_NAME "a-name-that-somebody-has-thought-up-who-wants-to-leave-nothing-open"

static void a_name_may_be_of_any_length(void **state)
{
	static const struct llfuse_option long_options[] = {
		{"--" LONG_NAME, LLFUSE_OPTION_STRING, offsetof(struct values, file), "PATH", "take PATH"},
		{LONG_NAME, LLFUSE_OPTION_STRING, offsetof(struct values, label), "TEXT", "call it TEXT"},
		{LONG_NAME "-2", LLFUSE_OPTION_FLAG, offsetof(struct values, is_quick), NULL, "be quick"},
		{NULL, LLFUSE_OPTION_FLAG, 0, NULL, NULL},
	};
	const struct llfuse_program program = {.name = "probe", .summary = "Probes.", .options = long_options};
	struct parsed parsed;

	(void)state;
	PARSE(&parsed, &program, "--" LONG_NAME, "x", "-o", LONG_NAME "=y," LONG_NAME "-2", "/mnt");
	assert_string_equal(parsed.err, "");
	assert_int_equal(parsed.status, -1);
	assert_string_equal(parsed.values.file, "x");
	assert_string_equal(parsed.values.label, "y");
	assert_true(parsed.values.is_quick);
	free_parsed(&parsed);
	PARSE(&parsed, &program, "--help");
	assert_non_null(strstr(parsed.out, "\n      --" LONG_NAME " PATH take PATH\n"));
	free_parsed(&parsed);
}

static void mount_options_are_passed_on_in_order(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "-o", "ro,allow_other,fsname=x", "-omax_threads=4,subtype=y", "-o", "max_read=4096");
	assert_string_equal(parsed.command.config.mount_options,
			    "ro,allow_other,fsname=x,max_threads=4,subtype=y,max_read=4096");
	free_parsed(&parsed);
	REFUSE(&plain, "probe: max_threads=many: not a number\n", "-o", "max_threads=many", "/mnt");
	REFUSE(&plain, "probe: max_read=-1: not a number\n", "-o", "max_read=-1", "/mnt");
	REFUSE(&plain, "probe: max_idle_threads=4294967296: not a number\n", "-o", "max_idle_threads=4294967296",
	       "/mnt");
}

static void empty_values_of_mount_options_are_refused(void **state)
{
	(void)state;
	REFUSE(&plain, "probe: needs a value: -o fsname= (see --help)\n", "-o", "fsname=", "/mnt");
	REFUSE(&plain, "probe: needs a value: -o subtype= (see --help)\n", "-o", "ro,subtype=,nosuid", "/mnt");
	REFUSE(&plain, "probe: needs a value: -o max_read= (see --help)\n", "-omax_read=", "/mnt");
}

static void options_of_fstab_are_dropped(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "-o", "defaults,nofail,_netdev,noauto,user=joe,relatime,comment=hi there,x-systemd.automount",
	       "-o", "ro,,X-mount.mkdir=0700,x-gvfs-hide,lazytime,owner,");
	assert_string_equal(parsed.command.config.mount_options, "ro");
	free_parsed(&parsed);
}

static void unknown_options_are_refused(void **state)
{
	(void)state;
	REFUSE(&plain, "probe: unknown option: --bad (see --help)\n", "--bad", "/mnt");
	REFUSE(&plain, "probe: unknown option: -x (see --help)\n", "-x", "/mnt");
	REFUSE(&plain, "probe: unknown option: -o bad (see --help)\n", "-o", "ro,bad", "/mnt");
	REFUSE(&plain, "probe: unknown option: -o bad=1 (see --help)\n", "-obad=1", "/mnt");
	REFUSE(&plain, "probe: unknown option: -o ro=1 (see --help)\n", "-o", "ro=1", "/mnt");
	REFUSE(&plain, "probe: unknown option: -o fsname (see --help)\n", "-o", "fsname", "/mnt");
	/* What mounts a block device is fuseblk's. */
	REFUSE(&plain, "probe: unknown option: -o blkdev (see --help)\n", "-o", "ro,blkdev", "/mnt");
	REFUSE(&plain, "probe: unknown option: -o blksize=4096 (see --help)\n", "-o", "blksize=4096", "/mnt");
	/* Neither a part of a name nor more than it. */
	REFUSE(&plain, "probe: unknown option: --files=x (see --help)\n", "--files=x", "/mnt");
	REFUSE(&plain, "probe: unknown option: --loud=1 (see --help)\n", "--loud=1", "/mnt");
	REFUSE(&plain, "probe: unknown option: --debugging (see --help)\n", "--debugging", "/mnt");
	REFUSE(&without_options, "probe: unknown option: --file=x (see --help)\n", "--file=x", "/mnt");
	/* A newline in it does not make two lines. */
	REFUSE(&plain, "probe: unknown option: -o a?b (see --help)\n", "-o", "a\nb", "/mnt");
}

static void own_options_of_each_type(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "--loud", "--file", "a b", "--size", "18446744073709551615", "-o",
	       "quick,label=l,mode=1750,timeout=2.5");
	assert_true(parsed.values.is_loud);
	assert_true(parsed.values.is_quick);
	assert_string_equal(parsed.values.file, "a b");
	assert_string_equal(parsed.values.label, "l");
	assert_true(parsed.values.size == UINT64_MAX);
	assert_int_equal(parsed.values.mode, 01750);
	assert_true(parsed.values.timeout_s == 2.5);
	assert_null(parsed.command.config.mount_options);
	free_parsed(&parsed);
}

static void long_options_take_their_value_both_ways(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "--file=one", "--size=7");
	assert_string_equal(parsed.values.file, "one");
	assert_int_equal(parsed.values.size, 7);
	free_parsed(&parsed);
	ACCEPT(&parsed, "--file", "--loud"); /* the value, whatever it looks like */
	assert_string_equal(parsed.values.file, "--loud");
	assert_false(parsed.values.is_loud);
	free_parsed(&parsed);
	ACCEPT(&parsed, "--file=a=b,c\\,d");
	assert_string_equal(parsed.values.file, "a=b,c\\,d");
	free_parsed(&parsed);
	ACCEPT(&parsed, "--file=");
	assert_string_equal(parsed.values.file, "");
	free_parsed(&parsed);
	ACCEPT(&parsed, "--file", "--");
	assert_string_equal(parsed.values.file, "--");
	free_parsed(&parsed);
	ACCEPT(&parsed, "--file", "one", "--file=two"); /* the last one counts */
	assert_string_equal(parsed.values.file, "two");
	free_parsed(&parsed);
}

static void malformed_values_are_refused(void **state)
{
	(void)state;
	REFUSE(&plain, "probe: --size=: not a number\n", "--size=", "/mnt");
	REFUSE(&plain, "probe: --size=12k: not a number\n", "--size", "12k", "/mnt");
	REFUSE(&plain, "probe: --size=-1: not a number\n", "--size=-1", "/mnt");
	REFUSE(&plain, "probe: --size= 1: not a number\n", "--size= 1", "/mnt");
	REFUSE(&plain, "probe: --size=18446744073709551616: not a number\n", "--size=18446744073709551616", "/mnt");
	REFUSE(&plain, "probe: mode=8: not an octal mode\n", "-o", "mode=8", "/mnt");
	REFUSE(&plain, "probe: mode=10000: not an octal mode\n", "-o", "mode=10000", "/mnt");
	REFUSE(&plain, "probe: mode=: not an octal mode\n", "-o", "mode=", "/mnt");
	REFUSE(&plain, "probe: timeout=-1: not a number of seconds\n", "-o", "timeout=-1", "/mnt");
	REFUSE(&plain, "probe: timeout=nan: not a number of seconds\n", "-o", "timeout=nan", "/mnt");
	REFUSE(&plain, "probe: timeout=1s: not a number of seconds\n", "-o", "timeout=1s", "/mnt");
	REFUSE(&plain, "probe: timeout=1e999: not a number of seconds\n", "-o", "timeout=1e999", "/mnt");
	REFUSE(&plain, "probe: needs a value: --file (see --help)\n", "/mnt", "--file");
	REFUSE(&plain, "probe: needs a value: -o (see --help)\n", "/mnt", "-o");
}

static void operands(void **state)
{
	struct parsed parsed;

	(void)state;
	PARSE(&parsed, &with_source, "/src", "--loud", "/mnt");
	assert_int_equal(parsed.status, -1);
	assert_string_equal(parsed.command.arguments[0], "/src");
	assert_string_equal(parsed.command.config.mountpoint, "/mnt");
	assert_true(parsed.values.is_loud);
	free_parsed(&parsed);
	REFUSE(&plain, "probe: missing operand: MOUNTPOINT (see --help)\n");
	REFUSE(&with_source, "probe: missing operand: SOURCE (see --help)\n");
	REFUSE(&with_source, "probe: missing operand: MOUNTPOINT (see --help)\n", "/src");
	REFUSE(&plain, "probe: extra operand: /more (see --help)\n", "/mnt", "/more");
	REFUSE(&with_source, "probe: extra operand: c (see --help)\n", "a", "b", "c");
}

static void double_dash_ends_the_options(void **state)
{
	struct parsed parsed;

	(void)state;
	PARSE(&parsed, &with_source, "--loud", "--", "--file", "-o");
	assert_string_equal(parsed.err, "");
	assert_int_equal(parsed.status, -1);
	assert_string_equal(parsed.command.arguments[0], "--file");
	assert_string_equal(parsed.command.config.mountpoint, "-o");
	assert_null(parsed.values.file);
	free_parsed(&parsed);
	PARSE(&parsed, &plain, "--", "--debug");
	assert_int_equal(parsed.status, -1);
	assert_string_equal(parsed.command.config.mountpoint, "--debug");
	assert_false(parsed.command.config.debug);
	free_parsed(&parsed);
	REFUSE(&plain, "probe: missing operand: MOUNTPOINT (see --help)\n", "--");
}

static void commas_and_backslashes_in_values_stay_escaped_for_the_mount(void **state)
{
	struct parsed parsed;

	(void)state;
	ACCEPT(&parsed, "-o", "fsname=a\\,b\\\\c,ro");
	assert_string_equal(parsed.command.config.mount_options, "fsname=a\\,b\\\\c,ro");
	free_parsed(&parsed);
	ACCEPT(&parsed, "-o", "label=a\\,b\\\\c"); /* and not for us */
	assert_string_equal(parsed.values.label, "a,b\\c");
	free_parsed(&parsed);
}

static void help_needs_no_operands(void **state)
{
	(void)state;
	for (const char **name = (const char *[]){"-h", "--help", NULL}; *name; name++) {
		struct parsed parsed;

		PARSE(&parsed, &with_source, *name);
		assert_int_equal(parsed.status, 0);
		assert_string_equal(parsed.err, "");
		assert_ptr_equal(strstr(parsed.out, "usage: probe [options] SOURCE MOUNTPOINT\nProbes.\n"), parsed.out);
		assert_non_null(strstr(parsed.out, "--file PATH"));
		assert_non_null(strstr(parsed.out, "take PATH\n"));
		assert_non_null(strstr(parsed.out, " mode=M "));
		assert_non_null(strstr(parsed.out, " quick "));
		assert_non_null(strstr(parsed.out, "--single, -s"));
		free_parsed(&parsed);
	}
	REFUSE(&plain, "probe: unknown option: --bad (see --help)\n", "--help", "--bad");
}

static void version_needs_no_operands(void **state)
{
	(void)state;
	for (const char **name = (const char *[]){"-V", "--version", NULL}; *name; name++) {
		char expected[64];
		struct parsed parsed;

		PARSE(&parsed, &plain, *name);
		assert_int_equal(parsed.status, 0);
		assert_string_equal(parsed.err, "");
		snprintf(expected, sizeof(expected), "probe %d.%d.%d (libfuse 3.", LLFUSE_VERSION_MAJOR,
			 LLFUSE_VERSION_MINOR, LLFUSE_VERSION_PATCH);
		assert_ptr_equal(strstr(parsed.out, expected), parsed.out);
		free_parsed(&parsed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(presets),
		cmocka_unit_test(common_switches),
		cmocka_unit_test(transport_options),
		cmocka_unit_test(a_name_may_be_of_any_length),
		cmocka_unit_test(mount_options_are_passed_on_in_order),
		cmocka_unit_test(empty_values_of_mount_options_are_refused),
		cmocka_unit_test(options_of_fstab_are_dropped),
		cmocka_unit_test(unknown_options_are_refused),
		cmocka_unit_test(own_options_of_each_type),
		cmocka_unit_test(long_options_take_their_value_both_ways),
		cmocka_unit_test(malformed_values_are_refused),
		cmocka_unit_test(operands),
		cmocka_unit_test(double_dash_ends_the_options),
		cmocka_unit_test(commas_and_backslashes_in_values_stay_escaped_for_the_mount),
		cmocka_unit_test(help_needs_no_operands),
		cmocka_unit_test(version_needs_no_operands),
	};

	return cmocka_run_group_tests_name("llfuse_options", tests, NULL, NULL);
}
