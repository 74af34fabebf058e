#!/usr/bin/env bash
# Runs every test that needs nothing but this machine, and adds up the results.
#   test/run.sh [--quick]     --quick: format, lint, types, unit tests, vectors
# With NETCON_TEST_RESULTS=FILE the two closing lines are written there too.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
passed=0
failed=0
skipped=0
reasons=()

# measured NAME COMMAND...: runs it; its output is NAME's log, its exit code and seconds stand beside.
measured() {
	local log=build/test-logs/${1// /-}.log started=$SECONDS code
	shift
	mkdir -p build/test-logs
	"$@" >"$log" 2>&1
	code=$?
	echo "$code $((SECONDS - started))" >"$log.code"
}

# counted NAME: the last "N passed, N failed[, N skipped: why]" line of its log counts; without one
# its exit code is one test.
counted() {
	local name=$1 log=build/test-logs/${1// /-}.log line p f s code seconds
	read -r code seconds <"$log.code"
	line=$(grep -E '[0-9]+ passed, [0-9]+ failed' "$log" | tail -1)
	if [ -n "$line" ]; then
		p=$(sed -nE 's/.*\b([0-9]+) passed.*/\1/p' <<<"$line")
		f=$(sed -nE 's/.*\b([0-9]+) failed.*/\1/p' <<<"$line")
	elif [ "$code" = 0 ]; then
		p=1 f=0
	else
		p=0 f=1
	fi
	[ "$code" = 0 ] || [ "$f" -gt 0 ] || f=1
	s=$(grep -cE '^(SKIPPED|skipped): ' "$log")
	while IFS= read -r line; do reasons+=("${line#*: }"); done < <(grep -E '^(SKIPPED|skipped): ' "$log" | sort -u)
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-28s %6d passed %4d failed %4d skipped %5d s\n' "$name" "$p" "$f" "$s" "$seconds"
	if [ "$f" -gt 0 ]; then
		echo "---- $name: last lines of $log"
		tail -60 "$log"
		echo '----'
	fi
}

suite() {
	measured "$@"
	counted "$1"
}

ava_suite() {
	node_modules/.bin/ava --tap "$@" >build/test-logs/ava.tap 2>&1
	local code=$?
	grep -E '^not ok' -A 30 build/test-logs/ava.tap
	grep -oE '^ok .*# SKIP.*' build/test-logs/ava.tap | sed -E 's/^ok [0-9]+ - (.*) # SKIP.*/SKIPPED: \1/'
	local p f
	p=$(grep -E '^ok ' build/test-logs/ava.tap | grep -vc '# SKIP')
	f=$(grep -cE '^not ok' build/test-logs/ava.tap)
	[ $code = 0 ] || [ "$f" -gt 0 ] || { f=1; tail -40 build/test-logs/ava.tap; }
	echo "ava: $p passed, $f failed"
	return $code
}

# locked TOOL VERSION_COMMAND...: whether the tool's version is the one of tools.lock.
locked() {
	local tool=$1 want
	shift
	want=$(awk -v t="$tool" '$1 == t { print $2 }' tools.lock)
	command -v "$tool" >/dev/null && "$@" 2>/dev/null | grep -qF "$want"
}

c_format() {
	clang-format --dry-run -Werror intercept/*.[ch] launcher/*.[ch] native/*.[ch] lwip-port/*.[ch] lwip-port/arch/*.h examples/*.c \
		test/preload/probes/*.c test/launcher/probes/*.c test/stress/*.c
}

scripts() { shellcheck -x build.sh .ci/run test/*.sh test/preload/*.sh intercept/*.sh launcher/*.sh native/*.sh wasm/*.sh lwip-port/*.sh; }

if locked clang-format clang-format --version; then
	suite 'format of C' c_format
else
	suite 'format of C' echo 'SKIPPED: format of C: clang-format is not of the version in tools.lock
0 passed, 0 failed'
fi
if locked shellcheck shellcheck --version; then
	suite 'shell scripts' scripts
else
	suite 'shell scripts' echo 'SKIPPED: shell scripts: shellcheck is not of the version in tools.lock
0 passed, 0 failed'
fi
suite 'format and lint' node_modules/.bin/biome ci --colors=off --error-on-warnings .
suite 'unit, properties, layout' ava_suite
suite 'vectors' node build/test/vectors/main.js
[ -f build/test/transcripts/main.js ] && suite 'transcripts' node build/test/transcripts/main.js
if [ "${1:-}" != --quick ]; then
	# These wait more than they compute: they run beside the others, one after the other, in a
	# process group of their own, which ends with this script.
	set -m
	{
		measured 'service records' node build/test/service/main.js
		measured 'NATs and interfaces' node build/test/underlay/main.js
		measured 'fall-through' node build/test/policy/main.js
		measured 'end to end' node build/test/e2e/main.js
	} &
	beside=$!
	set +m
	trap 'kill -- -$beside 2>/dev/null' EXIT
	suite 'altered vectors noticed' node build/test/mutation/main.js
	suite 'fuzz' node build/test/fuzz/main.js --share 60
	suite 'planted bugs found' node build/test/fuzz/main.js --planted
	suite 'preload' node build/test/preload/main.js
	suite 'preload without the addon' node build/test/preload/main.js --no-addon --only tcp_ends
	suite 'preload, linked' node build/test/preload/main.js --linked shared --only tcp_ends
	suite 'preload, sanitizers' node build/test/preload/sanitize.js --quick
	suite 'launcher' node build/test/launcher/main.js
	suite 'applications' node build/test/apps/main.js --core
	wait $beside
	trap - EXIT
	for name in 'service records' 'NATs and interfaces' 'fall-through' 'end to end'; do counted "$name"; done
fi

unique=$(printf '%s\n' "${reasons[@]+"${reasons[@]}"}" | sort -u | paste -sd';' -)
{
	echo "$skipped skipped: ${unique:-nothing}"
	echo "$passed passed, $failed failed"
} | tee "${NETCON_TEST_RESULTS:-/dev/null}"
[ $failed = 0 ]
