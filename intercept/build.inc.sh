# shellcheck shell=bash
# Sourced by build.sh from the project's root: builds the preload library.
#
#   build_intercept   dist/native/libztintercept.so and .a

# What apt must have installed for build_intercept.
# shellcheck disable=SC2034 # read by build.sh
INTERCEPT_DEBIAN_PACKAGES=(gcc g++ libc6-dev make python3)

# Prints the prefix of the running node, whose headers node-gyp uses instead of downloading any.
intercept_nodedir() {
	dirname "$(dirname "$(readlink -f "$(command -v node)")")"
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
}
