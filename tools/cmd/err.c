// SPDX-License-Identifier: GPL-2.0-only
/* Error lines, hints and exit codes: the only place that knows their form. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "err.h"

/* With a few paths in it. */
#define TEXT_BYTES	(4 * PATH_MAX)

static char prog[32] = "vblk";
static bool use_syslog;
static const char *place;
static bool has_to_wipe;

/**
 * err_init() - name the program in every later line
 * @verb: the verb that runs, "attach" say; "" for the program itself
 */
void err_init(const char *verb)
{
	snprintf(prog, sizeof(prog), "vblk%s%s", *verb ? "-" : "", verb);
}

/**
 * err_use_syslog() - send later lines to the system log
 *
 * For a server that has left its terminal.
 */
void err_use_syslog(void)
{
	openlog(prog, LOG_PID, LOG_DAEMON);
	use_syslog = true;
}

/**
 * err_where() - name the place that later lines are about
 * @where: a file's line, say, which lives until another place is named, or NULL
 */
void err_where(const char *where)
{
	place = where;
}

/**
 * err_wipe() - something is on the terminal's line that the next one is to be written over
 * @has_bar: there is; or there is not any more
 */
void err_wipe(bool has_bar)
{
	has_to_wipe = has_bar;
}

/**
 * err_code() - the exit code that stands for an errno
 * @error: a positive errno
 */
enum vblk_exit err_code(int error)
{
	switch (error) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return VBLK_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return VBLK_DENIED;
	case EBUSY:
	case EAGAIN:
	case EEXIST:
	case EADDRINUSE:
	case ETXTBSY:
		return VBLK_BUSY;
	case EUCLEAN:
	case EBADMSG:
		return VBLK_DAMAGED;
	case EOPNOTSUPP:
	case ENOSYS:
		return VBLK_UNSUPPORTED;
	default:
		return VBLK_FAILED;
	}
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

/* One line, whatever names of files and images have in them. */
static void put_text(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (is_control(*text))
			fprintf(to, "\\%03o", (unsigned char)*text);
		else
			putc(*text, to);
	}
}

static void put_line(const char *object, const char *text, const char *why)
{
	char *line = NULL;
	size_t size;
	FILE *to = open_memstream(&line, &size);

	if (!to)
		return;
	if (place) {
		put_text(to, place);
		fputs(": ", to);
	}
	if (object && *object) {
		put_text(to, object);
		fputs(": ", to);
	}
	put_text(to, text);
	if (why)
		fprintf(to, ": %s", why);
	if (!fclose(to)) {
		if (use_syslog)
			syslog(LOG_ERR, "%s", line);
		else
			fprintf(stderr, "%s%s: %s\n", has_to_wipe ? "\r\033[K" : "", prog, line);
		has_to_wipe = false;
	}
	free(line);
}

/**
 * err_report() - say what failed
 * @code: what to return
 * @object: the image, device or socket that it is about, or NULL
 * @fmt: what failed and why
 *
 * Return: @code, so that a caller can return it on.
 */
int err_report(enum vblk_exit code, const char *object, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_line(object, text, NULL);
	return code;
}

/**
 * err_errno() - say which system call failed
 * @error: positive errno
 * @object: the image, device or socket that it is about, or NULL
 * @fmt: what failed; the errno's text follows it
 *
 * Return: the exit code that stands for @error.
 */
int err_errno(int error, const char *object, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_line(object, text, strerror(error));
	return err_code(error);
}

/**
 * err_warn() - say what the user should know of something that succeeds
 * @object: the image, device or socket that it is about
 * @text: what there is to know
 */
void err_warn(const char *object, const char *text)
{
	put_line(object, text, NULL);
}

static void put_hint(const char *text)
{
	if (use_syslog)
		syslog(LOG_INFO, "hint: %s", text);
	else
		fprintf(stderr, "hint: %s\n", text);
}

/**
 * err_hint() - say what to do about the error just reported
 * @fmt: usually a command to run
 */
void err_hint(const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_hint(text);
}

static bool is_plain(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789%+,-./:=@_";

	return *word && !word[strspn(word, plain)];
}

/* $'...' of bash and others, the only form for a line break in one line. */
static void put_ansi_word(FILE *to, const char *word)
{
	fputs("$'", to);
	for (; *word; word++) {
		if (*word == '\'' || *word == '\\')
			putc('\\', to);
		if (is_control(*word))
			fprintf(to, "\\%03o", (unsigned char)*word);
		else
			putc(*word, to);
	}
	putc('\'', to);
}

/* As a shell takes it for one word. */
static void put_word(FILE *to, const char *word)
{
	for (const char *c = word; *c; c++) {
		if (!is_control(*c))
			continue;
		put_ansi_word(to, word);
		return;
	}
	if (is_plain(word)) {
		fputs(word, to);
		return;
	}
	putc('\'', to);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\'", to);
		putc(*word, to);
	}
	putc('\'', to);
}

/**
 * err_hint_command() - name a command with words of the user's in it
 * @word: the program; its arguments follow, and NULL
 *
 * They are quoted where a shell would take them for something else.
 */
void err_hint_command(const char *word, ...)
{
	char *text = NULL;
	size_t size;
	va_list ap;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return;
	va_start(ap, word);
	for (; word; word = va_arg(ap, const char *)) {
		if (ftell(to) > 0)
			putc(' ', to);
		put_word(to, word);
	}
	va_end(ap);
	if (!fclose(to))
		put_hint(text);
	free(text);
}
