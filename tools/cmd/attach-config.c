// SPDX-License-Identifier: GPL-2.0-only
/* A disk's configuration file: the long options of vblk-attach as keys, and the image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach.h"
#include "config.h"
#include "err.h"

#define MAX_BYTES	65536
#define BLANKS		" \t\r"

static int read_bytes(const char *path, int fd, char *text, size_t *size)
{
	ssize_t n;

	for (*size = 0; *size < MAX_BYTES; *size += n) {
		n = read(fd, text + *size, MAX_BYTES - *size);
		if (n < 0)
			return err_errno(errno, path, "cannot read it");
		if (!n)
			break;
	}
	if (*size == MAX_BYTES)
		return err_report(VBLK_USAGE, path, "too large for a configuration");
	if (memchr(text, 0, *size))
		return err_report(VBLK_USAGE, path, "not a text file");
	return VBLK_OK;
}

/* Whoever waits for what a pipe or a terminal will say waits for ever. */
static int open_regular(const char *path, int *fd)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0)
		return err_errno(errno, path, "cannot open it");
	if (!fstat(*fd, &st) && S_ISREG(st.st_mode))
		return VBLK_OK;
	close(*fd);
	return err_report(VBLK_USAGE, path, "not a regular file");
}

/**
 * config_read() - read a configuration
 * @text: set to all of it, which the caller frees, or keeps for as long as options point into it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int config_read(const char *path, char **text)
{
	size_t size = 0;
	int fd, ret;

	ret = open_regular(path, &fd);
	if (ret)
		return ret;
	*text = malloc(MAX_BYTES + 1);
	if (*text)
		ret = read_bytes(path, fd, *text, &size);
	else
		ret = err_report(VBLK_FAILED, path, "out of memory");
	close(fd);
	if (!ret)
		(*text)[size] = '\0';
	return ret;
}

/** config_trim() - what a key or a value is without the blanks around it; changes @word */
char *config_trim(char *word)
{
	char *end;

	word += strspn(word, BLANKS);
	for (end = word + strlen(word); end > word && strchr(BLANKS, end[-1]); end--)
		;
	*end = '\0';
	return word;
}

static int take_line(struct attach *a, char *line)
{
	char *value, *key;

	key = config_trim(line);
	if (!*key || *key == '#')
		return VBLK_OK;
	value = strchr(key, '=');
	if (value) {
		*value = '\0';
		value = config_trim(value + 1);
		key = config_trim(key);
	}
	return attach_set(a, key, value);
}

static int take_lines(struct attach *a, char *text)
{
	char where[PATH_MAX + 16], *line;
	unsigned int n = 0;
	int ret = VBLK_OK;

	while (!ret && (line = strsep(&text, "\n"))) {
		snprintf(where, sizeof(where), "%s:%u", a->config, ++n);
		err_where(where);
		ret = take_line(a, line);
	}
	err_where(NULL);
	return ret;
}

/* NAME.conf is the configuration of NAME. */
static int name_by_file(struct attach *a)
{
	const char *base = strrchr(a->config, '/');
	size_t length;
	char *name;

	base = base ? base + 1 : a->config;
	length = strlen(base);
	if (length < sizeof(CONFIG_SUFFIX) ||
	    strcmp(base + length - strlen(CONFIG_SUFFIX), CONFIG_SUFFIX))
		return err_report(VBLK_USAGE, a->config,
				  "has no name=, nor a name that ends in " CONFIG_SUFFIX);
	name = strndup(base, length - strlen(CONFIG_SUFFIX));
	a->name_arg = name;
	return name ? VBLK_OK : err_report(VBLK_FAILED, a->config, "out of memory");
}

/** attach_read_config() - the options, image and name in the file @a->config; an exit code */
int attach_read_config(struct attach *a)
{
	char *text;
	int ret;

	ret = config_read(a->config, &text);
	if (!ret)
		ret = take_lines(a, text);
	if (!ret && !a->image_arg)
		ret = err_report(VBLK_USAGE, a->config, "has no image=");
	if (!ret && !a->name_arg)
		ret = name_by_file(a);
	return ret;
}
