#!/usr/bin/env bash
# The one build entry: builds what is missing or out of date, and says what it installs and why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
	cat <<'TXT'
usage: ./build.sh [--force] [--no-install] TARGET...

  all         everything that ships: dist/ (default)
  wasm        the packet core, dist/wasm/packetcore.wasm (AssemblyScript)
  lwip        the TCP/IP stack, dist/wasm/lwip.wasm (lwIP from Debian's source package, Emscripten)
  intercept   the preload library, dist/native/libztintercept.so and .a (C, node-gyp)
  launcher    the launcher for static programs, dist/native/zt-run (C)
  native      the addon, dist/native/netcon_io.node (C, node-gyp)
  ts          the service and command lines, dist/ (TypeScript)
  tests       the tests, build/test (TypeScript)
  test        all, then every test that needs nothing but this machine
  check       all, then format, lint, types, unit tests and vectors
  clean       removes dist/ and build/ but for downloads

Each artefact is keyed by the hash of its inputs: a second run without changes does nothing.
  --force       build the named targets even if their inputs did not change
  --no-install  never install Debian packages; name the missing ones and stop

Compilers and Emscripten come from Debian packages, which are installed with apt-get when this
runs as root or with password-less sudo; otherwise the command to run is printed. npm packages
come from package-lock.json. Set LWIP_SRC to an unpacked lwIP 2.2.1 to build without Debian.
TXT
}

say() { printf 'build: %s\n' "$*"; }
die() {
	printf 'build: %s\n' "$*" >&2
	exit 1
}

force=0
install=1
targets=()
for arg in "$@"; do
	case $arg in
	-h | --help)
		usage
		exit 0
		;;
	--force) force=1 ;;
	--no-install) install=0 ;;
	all | wasm | lwip | intercept | launcher | native | ts | tests | test | check | clean) targets+=("$arg") ;;
	*)
		usage >&2
		die "unknown target or option: $arg"
		;;
	esac
done
[ ${#targets[@]} -gt 0 ] || targets=(all)

# shellcheck source=wasm/build.inc.sh
. wasm/build.inc.sh
# shellcheck source=lwip-port/build.inc.sh
. lwip-port/build.inc.sh
# shellcheck source=intercept/build.inc.sh
. intercept/build.inc.sh
# shellcheck source=launcher/build.inc.sh
. launcher/build.inc.sh
# shellcheck source=native/build.inc.sh
. native/build.inc.sh

# ---- what the machine must have ----

need_node() {
	command -v node >/dev/null || die 'Node.js 20.19 or newer is needed (package nodejs, or nodejs.org)'
	node -e 'const [a, b] = process.versions.node.split(".").map(Number);
		process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' ||
		die "Node.js $(node --version) is too old: 20.19 or newer, or 22.12 or newer"
}

# need_packages REASON PACKAGE...: installs what is missing, or says how.
need_packages() {
	local reason=$1 missing=() p
	shift
	command -v dpkg-query >/dev/null || return 0
	for p in "$@"; do
		dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	local as_root=()
	if [ "$(id -u)" != 0 ]; then
		if sudo -n true 2>/dev/null; then as_root=(sudo -n); else install=0; fi
	fi
	if [ $install = 0 ]; then
		die "missing for $reason; run: apt-get install --no-install-recommends ${missing[*]}"
	fi
	say "installing for $reason: ${missing[*]}"
	"${as_root[@]}" apt-get -qq update
	DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq install -y --no-install-recommends \
		"${missing[@]}" >/dev/null
}

need_npm_packages() {
	local want
	want=$(sha256sum package-lock.json | cut -d' ' -f1)
	[ "$(cat node_modules/.netcon-lock 2>/dev/null)" = "$want" ] && return 0
	say 'installing npm packages (compilers and test tools) from package-lock.json'
	npm ci --no-audit --no-fund --loglevel=error
	echo "$want" >node_modules/.netcon-lock
}

# ---- keyed steps ----

# hash_of PATH...: one hash over names and contents.
hash_of() {
	find "$@" -type f -print0 2>/dev/null | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# step NAME OUTPUT KEY FUNCTION: runs FUNCTION unless OUTPUT stands from the same KEY.
step() {
	local name=$1 output=$2 key=$3 run=$4 started=$SECONDS
	mkdir -p build/keys
	if [ $force = 0 ] && [ -e "$output" ] && [ "$(cat "build/keys/$name" 2>/dev/null)" = "$key" ]; then
		return 0
	fi
	rm -f "build/keys/$name"
	say "$name ..."
	"$run" || die "$name failed"
	[ -e "$output" ] || die "$name made no $output"
	echo "$key" >"build/keys/$name"
	say "$name: $(sha256sum "$output" | cut -c1-16) $output ($((SECONDS - started)) s)"
}

target_wasm() {
	need_npm_packages
	step wasm dist/wasm/packetcore.wasm "$(hash_of wasm package-lock.json)" build_wasm
}

target_lwip() {
	[ -n "${LWIP_SRC:-}" ] || need_packages 'lwIP (TCP/IP stack)' "${LWIP_DEBIAN_PACKAGES[@]}"
	fetch_lwip || die 'lwIP could not be fetched'
	step lwip dist/wasm/lwip.wasm "$(hash_of lwip-port vendor.lock) ${LWIP_SRC:-debian}" build_lwip
}

target_intercept() {
	need_npm_packages
	need_packages 'the preload library' "${INTERCEPT_DEBIAN_PACKAGES[@]}"
	step intercept dist/native/libztintercept.so "$(hash_of intercept) $(node --version)" build_intercept
}

target_launcher() {
	target_intercept
	step launcher dist/native/zt-run "$(hash_of launcher intercept)" build_launcher
}

target_native() {
	need_npm_packages
	need_packages 'the addon' "${INTERCEPT_DEBIAN_PACKAGES[@]}"
	step native dist/native/netcon_io.node "$(hash_of native) $(node --version)" build_native
}

compile_ts() { node_modules/.bin/tsc -p .; }
compile_tests() { node_modules/.bin/tsc -p test; }

target_ts() {
	need_npm_packages
	step ts dist/service.js "$(hash_of src tsconfig.json package-lock.json)" compile_ts
}

target_tests() {
	step tests build/test/vectors/main.js "$(hash_of test/*/ test/tsconfig.json src)" compile_tests
}

target_all() {
	target_wasm
	target_lwip
	target_launcher
	target_native
	target_ts
}

target_clean() {
	rm -rf dist build/keys build/ts build/test build/intercept build/launcher build/native
}

need_node
for t in "${targets[@]}"; do
	case $t in
	test)
		target_all
		target_tests
		exec test/run.sh
		;;
	check)
		target_all
		target_tests
		exec test/run.sh --quick
		;;
	*) "target_$t" ;;
	esac
done
