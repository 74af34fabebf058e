# shellcheck shell=bash
# Sourced by build.sh from the project's root: builds the preload library.
#
#   build_intercept   dist/native/libztintercept.so and .a, libztintercept-static.a and its flags

# What apt must have installed for build_intercept.
# shellcheck disable=SC2034 # read by build.sh
INTERCEPT_DEBIAN_PACKAGES=(binutils gcc g++ libc6-dev make python3)

# Prints the prefix of the running node, whose headers node-gyp uses instead of downloading any.
intercept_nodedir() {
	dirname "$(dirname "$(readlink -f "$(command -v node)")")"
}

# The archive for fully static programs. libc's members that hold name functions define several, so
# that ours would clash with them: there they are reached by the linker's --wrap [5 section 16].
build_static_archive() {
	awk '/^[^#_]/ && $2 ~ /^hook_(name|dns|iface|async|remote)\.c$/ { print $1 }' intercept/hooks.list \
		>build/intercept/wrapped
	sed 's/.*/& __wrap_&/' build/intercept/wrapped >build/intercept/renames
	objcopy --redefine-syms=build/intercept/renames \
		build/intercept/build/Release/libztintercept-static.a \
		dist/native/libztintercept-static.a
	sed 's/^/-Wl,--wrap=/' build/intercept/wrapped >dist/native/ztintercept-static.flags
}

build_intercept() {
	local nodedir
	nodedir=$(intercept_nodedir)
	if [ ! -e "$nodedir/include/node/common.gypi" ]; then
		echo "build_intercept: node's headers are missing in $nodedir/include/node" \
			"(Debian: libnode-dev)" >&2
		return 1
	fi
	rm -rf build/intercept
	mkdir -p build/intercept dist/native
	cp intercept/*.[ch] intercept/hooks.list intercept/hooks-map.sh intercept/binding.gyp \
		build/intercept/
	if ! npx --no-install node-gyp rebuild --directory build/intercept \
		--nodedir="$nodedir" --silent >build/intercept/build.log 2>&1; then
		cat build/intercept/build.log >&2
		return 1
	fi
	install -m 755 build/intercept/build/Release/libztintercept.so dist/native/
	install -m 644 build/intercept/build/Release/libztintercept.a dist/native/
	build_static_archive
}
