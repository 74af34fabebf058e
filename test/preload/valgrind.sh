#!/usr/bin/env bash
# The probes under valgrind with the preload library: no invalid access, no use of what was never set.
# usage: test/preload/valgrind.sh [PROBE...]    (needs gcc, valgrind and the built project; some minutes)
# Exit code 1 when valgrind complains about one of them, or a case that runs on the kernel prints nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${NETCON_VALGRIND_INSIDE:-}" != 1 ]; then
	flags=-rn
	[ "$(id -u)" != 0 ] || flags=-n
	export NETCON_VALGRIND_INSIDE=1
	exec unshare $flags bash -c 'ip link set lo up && exec "$@"' bash "$0" "$@"
fi
for tool in gcc valgrind; do
	command -v $tool >/dev/null || {
		echo "SKIPPED: $tool is not installed"
		exit 0
	}
done
dir=$(mktemp -d)
probes=test/preload/probes
mkfifo "$dir/stop"
node build/test/preload/harness.js <"$dir/stop" >"$dir/door" &
harness=$!
exec 9>"$dir/stop"
trap 'exec 9>&-; wait $harness || true; rm -rf "$dir"' EXIT
until [ -s "$dir/door" ]; do
	kill -0 $harness
	sleep 0.1
done
bad=0
cases() { awk '/^[A-Z]+-?[a-z0-9]/ { print $1 }' "$1" | sort -u; }

# Name and sources of every probe, as the comparison with the kernel builds them.
# shellcheck disable=SC2016 # JavaScript
list='import { PROBES } from "./build/test/preload/conformance.js";
for (const p of PROBES) console.log(p.name, p.with.map((w) => `test/preload/probes/${w}`).join(" "));'
while read -r -a probe; do
	name=${probe[0]}
	[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
	only=()
	# The others give null pointers to the kernel on purpose, or start what valgrind is not told to follow.
	[ "$name" != matrix ] || only=(M-valid M-length M-wrong-fd M-not-ours M-nonblocking M-shutdown M-reset M-dup M-fork M-threads)
	pattern='Invalid\|Conditional\|Use of\|Syscall param'
	# What these give the kernel leads nowhere; the library must not follow it.
	[[ $name != pointers && $name != limits ]] || pattern='Invalid\|Conditional\|Use of'
	gcc -std=gnu11 -g -O1 -pthread -o "$dir/$name" "$probes/$name.c" "${probe[@]:1}" -lresolv
	unshare -n bash -c 'ip link set lo up && ip addr add 10.147.17.1/24 dev lo &&
		ip addr add fd00:17::1/64 dev lo nodad && exec "$@"' bash "$dir/$name" "${only[@]}" >"$dir/kernel" 2>/dev/null || true
	LD_PRELOAD=$PWD/dist/native/libztintercept.so ZT_NC_NETWORK=$(head -1 "$dir/door") PROBE_SLOW=10 \
		valgrind -q --suppressions=test/preload/valgrind.supp --log-file="$dir/log-$name.%p" "$dir/$name" "${only[@]}" >"$dir/out" 2>&1 </dev/null || true
	errors=$(cat "$dir/log-$name."* | grep -c "^==[0-9]*== \($pattern\)" || true)
	missing=$(comm -23 <(cases "$dir/kernel") <(cases "$dir/out") | tr '\n' ' ')
	echo "$name: $(cases "$dir/out" | wc -l) cases, $errors complaints${missing:+, missing: $missing}"
	if [ "$errors" != 0 ] || [ -n "$missing" ]; then
		cat "$dir/log-$name."*
		bad=1
	fi
done < <(node --input-type=module -e "$list")
exit $bad
