#!/usr/bin/env bash
# The probes under valgrind with the preload library: no invalid access, no use of what was never set.
# usage: test/preload/valgrind.sh        (needs gcc, valgrind and the built project; some minutes)
# Exit code 1 when valgrind complains about one of them.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${NETCON_VALGRIND_INSIDE:-}" != 1 ]; then
	flags=-rn
	[ "$(id -u)" != 0 ] || flags=-n
	export NETCON_VALGRIND_INSIDE=1
	exec unshare $flags bash -c 'ip link set lo up && exec "$@"' bash "$0"
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
for probe in tcp tcp_wait tcp_load tcp_beyond tcp_names tcp_more udp udp_more udp_control; do
	more=$probes/udp_util.c
	[[ $probe != tcp* ]] || more=$probes/tcp_util.c
	gcc -std=gnu11 -g -O1 -pthread -o "$dir/$probe" "$probes/$probe.c" "$probes/probe.c" "$more"
	LD_PRELOAD=$PWD/dist/native/libztintercept.so ZT_NC_NETWORK=$(head -1 "$dir/door") \
		valgrind -q --log-file="$dir/log-$probe.%p" "$dir/$probe" >"$dir/out" 2>&1 || true
	errors=$(cat "$dir/log-$probe."* | grep -c '^==[0-9]*== \(Invalid\|Conditional\|Use of\|Syscall param\)' || true)
	echo "$probe: $(wc -l <"$dir/out") lines, $errors complaints"
	[ "$errors" = 0 ] || {
		cat "$dir/log-$probe."*
		bad=1
	}
done
exit $bad
