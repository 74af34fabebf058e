# shellcheck shell=bash
# Sourced by build.sh from the project's root: builds the launcher for programs that a preload
# cannot reach. It speaks to the service with the code of the preload library's archive; its own
# cache.c comes first and takes the place of the archive's fdtab.c.
#
#   build_launcher   dist/native/zt-run

LAUNCHER_FLAGS=(-std=gnu11 -O2 -g -D_GNU_SOURCE -DZT_STATIC -Iintercept -fvisibility=hidden
	-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Werror)

build_launcher() {
	mkdir -p build/launcher dist/native
	if ! gcc "${LAUNCHER_FLAGS[@]}" -o build/launcher/zt-run launcher/*.c \
		dist/native/libztintercept.a -lpthread -ldl >build/launcher/build.log 2>&1; then
		cat build/launcher/build.log >&2
		return 1
	fi
	install -m 755 build/launcher/zt-run dist/native/
}
