# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Completion of vblk and vblk-VERB for bash. Verbs, options and arguments are those that --help names, so that none is
# named here; what may stand for a word in capitals there is in _vblk_kind.

_vblk_run()
{
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin timeout -s KILL 2 vblk "$@" 2>/dev/null
}

# _vblk_split: sets words to those on the line, as the shell will take them: readline breaks them at = : and @ as well.
# The last one ends at the cursor; rest has those behind it.
_vblk_split()
{
	local line=$COMP_LINE i space

	words=()
	rest=()
	for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
		space=${line%%[![:space:]]*}
		line=${line#"$space"}
		if ((i > COMP_CWORD)); then
			rest+=("${COMP_WORDS[i]}")
		elif [ "$i" = 0 ] || [ -n "$space" ]; then
			words+=("${COMP_WORDS[i]}")
		else
			words[-1]+=${COMP_WORDS[i]}
		fi
		line=${line#"${COMP_WORDS[i]}"}
	done
	# What is behind the cursor in its own word.
	line=${COMP_LINE:0:COMP_POINT}
	while [[ ${words[-1]} && $line != *"${words[-1]}" ]]; do
		words[-1]=${words[-1]%?}
	done
}

# _vblk_options: reads a help; a line an option, its long name and what it wants: "--output COLUMNS".
_vblk_options()
{
	sed -n 's/^ *\(-., \)\?\(--[a-z-]\+\)\( [A-Z]\+\)\?\( .*\)\?$/\2\3/p'
}

# _vblk_wants OPTION: sets wanted to what it wants behind it; fails if that is nothing, or there is no such option. What
# somebody types is compared, and never becomes a part of a pattern or a script.
_vblk_wants()
{
	local option=$1 line name

	wanted=
	# A short one is in front of its long one.
	if [[ $option != --* ]]; then
		while read -r name line _; do
			[[ $name != "$option," ]] || option=$line
		done <<<"$help"
	fi
	while read -r name line; do
		[[ $name != "$option" ]] || wanted=$line
	done <<<"$options"
	[ -n "$wanted" ]
}

# _vblk_arguments WORD...: sets arguments to those that are neither options nor what options want.
_vblk_arguments()
{
	local wanted

	arguments=()
	while [ $# -gt 0 ]; do
		case $1 in
		--)
			arguments+=("${@:2}")
			return
			;;
		--*=* | '' | '[OPTION...]') ;;
		-?*) ! _vblk_wants "$1" || shift ;;
		*) arguments+=("$1") ;;
		esac
		[ $# = 0 ] || shift
	done
}

# _vblk_devices PREFIX: names of devices whose UUIDs begin so, those that need no quotes. Whoever hangs, this does not,
# and no right is needed.
_vblk_devices()
{
	local file uuid name

	for file in /sys/block/dm-*/dm/uuid; do
		{ read -r uuid <"$file" && read -r name <"${file%uuid}name"; } 2>/dev/null || continue
		[[ $uuid != "$1"* || $name == *[!A-Za-z0-9+.:=@_-]* ]] || echo "$name"
	done
}

# _vblk_list VERB OPTION: names of what the verb lists of the disk that is on the line, those that need no quotes.
# Behind them there is a state, or a path.
_vblk_list()
{
	local arguments disk

	_vblk_arguments "${words[@]:first}" "${rest[@]}"
	for disk in $(_vblk_devices VBLK-); do
		[[ " ${arguments[*]} " != *" $disk "* ]] || _vblk_run "$1" "$2" "$disk" |
			sed -n 's/^\([[:alnum:]%+,.@_-]\+\) \+\(recording\|disabled\|in-use\|\/\).*/\1/p'
	done
}

# _vblk_commands: they are lines of the help that begin with two spaces, "pause, resume" or "write-cache on|off".
_vblk_commands()
{
	awk '/^  [a-z]/ { sub(/^  /, ""); sub(/  .*/, ""); n = split($0, w, ", ")
		for (i = 1; i <= n; i++) { sub(/ .*/, "", w[i]); print w[i] } }' <<<"$help"
}

_vblk_verbs()
{
	local help

	help=$(_vblk_run --help) && _vblk_commands
}

# _vblk_columns: those behind -o, to the next option; each behind what is there of the list.
_vblk_columns()
{
	local before=${value%"${value##*,}"} column

	while read -r column; do
		echo "$before$column"
	done < <(awk '/--output COLUMNS/ { is_on = 1; sub(/.*COLUMNS/, ""); print; next }
		/^ *(-., )?--/ { is_on = 0 } is_on' <<<"$help" | grep -oE '[A-Z][A-Z_]+')
}

# _vblk_arguments_of COMMAND: "write-cache on|off" in the help.
_vblk_arguments_of()
{
	local name choices

	while read -r name choices _; do
		[[ $name != "$1" || $choices != [a-z]*'|'* ]] || echo "${choices//|/$'\n'}"
	done <<<"$help"
}

# _vblk_kind WORD: what may stand where the help has this word.
_vblk_kind()
{
	case $1 in
	DISK | DEVICE) _vblk_devices VBLK- ;;
	NAME-frozen) _vblk_devices VBLKVIEW- ;;
	BITMAP | FROM | INTO) [ "${arguments[0]:-}" = add ] || _vblk_list bitmap list ;;
	COMMAND) _vblk_commands ;;
	ARGUMENT) _vblk_arguments_of "${arguments[1]:-}" ;;
	COLUMNS) _vblk_columns ;;
	USER) compgen -u ;;
	GROUP) compgen -g ;;
	CMD) compgen -c -- "$value" ;;
	[a-z]*) echo "$1" ;;
	esac
}

# _vblk_value OPTION: what may follow it. A snapshot that an option names is there; another argument makes one.
_vblk_value()
{
	case "$1 $wanted" in
	'--format '* | '--backing-format '*) printf '%s\n' raw qcow2 ;;
	'--discard '*) printf '%s\n' unmap keep ignore ;;
	'--progress '*) printf '%s\n' auto none plain json ;;
	'--level '*) printf '%s\n' auto full incremental ;;
	*' SNAPSHOT') _vblk_list snapshot --list ;;
	*) _vblk_kind "$wanted" ;;
	esac
}

# _vblk_usages: what each line of the usage has behind the verb, without options that may be left out.
_vblk_usages()
{
	sed -n '/^$/q; s/^\(Usage:\|      \) [^ ]* *//p' <<<"$help" | sed 's/\[,[^]]*\]//g; s/\[-[^]]*\]//g; s/\.\.\. |.*//'
}

# _vblk_words: sets kinds to what may stand here by a line of the usage that has all that is there so far.
_vblk_words()
{
	local given=("${arguments[@]}") usage i kind

	while read -ra usage; do
		_vblk_arguments "${usage[@]}"
		usage=("${arguments[@]}")
		arguments=("${given[@]}")
		for ((i = 0; i < ${#given[@]}; i++)); do
			kind=${usage[i]:-}
			[[ $kind != [a-z]* || "|$kind|" == *"|${given[i]}|"* ]] || continue 2
		done
		kind=${usage[i]:-}
		# The last one may be there again.
		[ -n "$kind" ] || [[ ${usage[*]} != *... ]] || kind=${usage[-1]}
		kind=${kind%...}
		IFS='|' read -ra usage <<<"${kind//[][]/}"
		kinds+=("${usage[@]}")
	done < <(_vblk_usages)
}

# _vblk_choose WORD...: those that begin with value; readline has what is in front of the last = : or @ at which it
# breaks.
_vblk_choose()
{
	local word breaks=${COMP_WORDBREAKS//[^=:@]/} has='' before=''

	[ -z "$breaks" ] || has=${value%"${value##*["$breaks"]}"}
	# It may take an option with its value for one word.
	[[ -z $option || $has || $breaks == *=* ]] || before=$option=
	for word; do
		[[ $word != "$value"* ]] || COMPREPLY+=("$before${word#"$has"}")
	done
}

_vblk()
{
	local words rest first=1 help options wanted='' value option='' arguments=() kinds=() choices previous kind

	COMPREPLY=()
	_vblk_split
	value=${words[-1]}
	help=${words[0]##*/vblk-}
	help=${help#vblk-}
	if [ "${words[0]##*/}" = vblk ]; then
		if [ ${#words[@]} = 2 ]; then
			mapfile -t choices < <(_vblk_verbs)
			_vblk_choose "${choices[@]}"
			return
		fi
		first=2
		help=${words[1]}
	fi
	help=$(_vblk_run "$help" --help)
	options=$(_vblk_options <<<"$help")

	previous=${words[-2]}
	if [[ $value == --*=* ]]; then
		previous=${value%%=*}
		option=$previous
		value=${value#*=}
		_vblk_wants "$previous" || return
	elif [[ ${#words[@]} -gt $((first + 1)) && $previous == -?* ]]; then
		_vblk_wants "$previous"
	fi
	if [ -n "$wanted" ]; then
		kinds=("$wanted")
		mapfile -t choices < <(_vblk_value "$previous")
	elif [[ $value == -* ]]; then
		mapfile -t choices < <(sed 's/ .*//' <<<"$options")
	else
		_vblk_arguments "${words[@]:first:${#words[@]}-first-1}"
		_vblk_words
		mapfile -t choices < <(for kind in "${kinds[@]}"; do _vblk_kind "$kind"; done | sort -u)
	fi
	_vblk_choose "${choices[@]}"
	if [[ ${#COMPREPLY[@]} = 0 && " ${kinds[*]} " == *' '@(FILE|PATH|IMAGE|TARGET)' '* ]]; then
		compopt -o default
	elif [ "$wanted" = COLUMNS ]; then
		compopt -o nospace
	fi
}

# shellcheck disable=SC2046 # words
complete -F _vblk vblk $(_vblk_verbs | sed 's/^/vblk-/')
