# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# For tests of completion: type into a bash that has it.

requires python3
completion_script=$VBLK_TOP/tools/completion/vblk.bash
# What a user's own .bashrc may say.
breaks=:

cat >"$TMP/type" <<'EOP'
import os, pty, sys

END = b'---end---'
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM='dumb', PS1='', HISTFILE='')
    os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])

def answer_to(line):
    os.write(fd, line + b'\n')
    got = b''
    while not got.rstrip().endswith(END):
        got += os.read(fd, 4096)
    return got

# Verbs print the words that they have been given, one a line. The key ^T types all that would be offered.
answer_to(b'bind "\"\\C-t\": insert-completions"; . "' +
          sys.argv[1].encode() + b'"; ' + sys.argv[3].encode() + b'; shown() { printf "\\n=%s=" "$@"; echo; echo "---"end---; };'
          b' for v in $(compgen -c vblk); do eval "$v() { shown \\"\\$@\\"; }"; done; shown')
typed = answer_to(sys.argv[2].encode() + b'\x14').decode().replace('\r', '')
print('\n'.join(word[1:-1] for word in typed.split('\n') if word[:1] == '=' == word[-1:]))
EOP

# offered LINE: the words of the line behind the first, when all that is offered at its end has been typed.
offered()
{
	timeout 60 python3 "$TMP/type" "$completion_script" "$1" "$breaks"
}

# offers LINE WORD...: just these words are offered, in any order, in addition to WORD... of the line.
offers()
{
	local line=$1 want got
	shift

	want=$(printf '%s\n' "$@" | sort)
	got=$(offered "$line" | sort)
	echo "$line^T: ${got//$'\n'/ }" >&2
	[ "$got" = "$want" ] || fail "at the end of '$line' not $* but: ${got//$'\n'/ }"
}
