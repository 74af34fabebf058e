# shellcheck shell=bash
# Sourced by build.sh from the project's root, after intercept/build.inc.sh: builds the addon.
#
#   build_native   dist/native/netcon_io.node

build_native() {
	local nodedir
	nodedir=$(intercept_nodedir)
	rm -rf build/native
	mkdir -p build/native dist/native
	cp native/*.[ch] native/binding.gyp build/native/
	if ! npx --no-install node-gyp rebuild --directory build/native \
		--nodedir="$nodedir" --silent >build/native/build.log 2>&1; then
		cat build/native/build.log >&2
		return 1
	fi
	install -m 755 build/native/build/Release/netcon_io.node dist/native/
}
