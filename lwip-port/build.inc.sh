# shellcheck shell=bash
# Sourced by build.sh from the project's root: fetches and builds lwIP.
#
#   fetch_lwip   lwIP 2.2.1 as Debian's source package (suite trixie) into build/lwip/src
#   build_lwip   dist/wasm/lwip.wasm, lwip.LICENSE, lwip.revision; src/stack/layout.ts
#
# The package comes through apt with a configuration of its own: only deb-src, own lists and caches
# below build/lwip/apt, the system's configuration untouched. The mirror is the one the machine's apt
# already uses. apt checks the signature of the suite and the hashes it signs; on top of that
# vendor.lock pins the upstream tarball (a difference is an error) and Debian's patches (a difference
# is a newer Debian revision: a warning). LWIP_SRC=<unpacked tree> replaces all of this.

# What apt must have installed for fetch_lwip and build_lwip; read by build.sh.
# shellcheck disable=SC2034
LWIP_DEBIAN_PACKAGES=(dpkg-dev xz-utils debian-archive-keyring emscripten gcc libc6-dev)

LWIP_SUITE=trixie
LWIP_WORK=build/lwip
LWIP_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# lwIP's own files that the port uses; timeouts.c is replaced by port_time.c, and port_nd6.c includes
# nd6.c, port_ip6.c ip6.c.
LWIP_CORE=(
	def inet_chksum init ip mem memp netif pbuf raw stats tcp tcp_in tcp_out udp
	ipv4/etharp ipv4/icmp ipv4/ip4 ipv4/ip4_addr ipv4/ip4_frag
	ipv6/ethip6 ipv6/icmp6 ipv6/inet6 ipv6/ip6_addr ipv6/ip6_frag
)

# Prints the Debian archive's address as the machine's own apt configuration has it. $@: apt options.
lwip_mirror_known() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get "$@" indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 2>/dev/null |
		awk '$2 == "Debian" && $3 == "Debian" && !found { print $1; found = 1 }'
}

# The same where the machine's package lists were removed, as in container images: own lists.
lwip_mirror() {
	local lists=$PWD/$LWIP_WORK/apt/system-lists mirror
	mirror=$(lwip_mirror_known)
	if [[ -z $mirror ]]; then
		mkdir -p "$lists/partial"
		apt-get -qq -o "Dir::State::Lists=$lists" -o APT::Sandbox::User= update >/dev/null 2>&1
		mirror=$(lwip_mirror_known -o "Dir::State::Lists=$lists")
	fi
	echo "$mirror"
}

# Prints the value recorded in vendor.lock for a file name.
lwip_pinned() {
	awk -v name="$1" '$2 == name { print $1 }' vendor.lock
}

lwip_apt_config() {
	local mirror=$1 dir=$PWD/$LWIP_WORK/apt
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	cat >"$dir/debian.sources" <<-EOF
		Types: deb-src
		URIs: $mirror
		Suites: $LWIP_SUITE
		Components: main
		Signed-By: $LWIP_KEYRING
	EOF
	cat >"$dir/apt.conf" <<-EOF
		Dir::Etc::SourceList "$dir/debian.sources";
		Dir::Etc::SourceParts "-";
		Dir::State::Lists "$dir/lists";
		Dir::Cache "$dir/cache";
		APT::Sandbox::User "";
		Acquire::Languages "none";
	EOF
}

lwip_download() {
	local mirror conf=$PWD/$LWIP_WORK/apt/apt.conf
	mirror=$(lwip_mirror)
	if [[ -z $mirror ]]; then
		echo "lwip: this machine's apt knows no Debian archive; set LWIP_SRC=<unpacked lwIP 2.2.1>" >&2
		return 1
	fi
	lwip_apt_config "$mirror"
	rm -rf "$LWIP_WORK/download"
	mkdir -p "$LWIP_WORK/download"
	APT_CONFIG=$conf apt-get -qq update || return 1
	(cd "$LWIP_WORK/download" && APT_CONFIG=$conf apt-get -qq source --download-only lwip) || return 1
}

lwip_check_tarball() {
	local tarball want have
	tarball=$(echo "$LWIP_WORK"/download/lwip_*.orig.tar.xz)
	want=$(lwip_pinned "$(basename "$tarball")")
	have=$(sha256sum "$tarball" | cut -d' ' -f1)
	if [[ $want != "$have" ]]; then
		echo "lwip: $(basename "$tarball") has SHA-256 $have, vendor.lock says ${want:-nothing}" >&2
		return 1
	fi
}

lwip_check_patches() {
	local file name want
	for file in "$LWIP_WORK"/src/debian/patches/*; do
		name=lwip/debian/patches/$(basename "$file")
		want=$(lwip_pinned "$name")
		if [[ $want != "$(sha256sum "$file" | cut -d' ' -f1)" ]]; then
			echo "lwip: warning: $name is not the one of vendor.lock (another Debian revision)" >&2
		fi
	done
}

fetch_lwip() {
	local dsc
	if [[ -n ${LWIP_SRC:-} || -f $LWIP_WORK/src/.complete ]]; then
		return 0
	fi
	lwip_download || return 1
	lwip_check_tarball || return 1
	dsc=$(echo "$LWIP_WORK"/download/lwip_*.dsc)
	rm -rf "$LWIP_WORK/src"
	# --no-check: apt has verified the hashes; the uploader's key is in no keyring of a plain system
	dpkg-source --no-check -x "$dsc" "$LWIP_WORK/src" >"$LWIP_WORK/unpack.log" || return 1
	lwip_check_patches
	awk '$1 == "Version:" { print $2; exit }' "$dsc" >"$LWIP_WORK/src/.revision"
	touch "$LWIP_WORK/src/.complete"
	echo "lwip: Debian source package $(<"$LWIP_WORK/src/.revision")"
}

lwip_tree() {
	echo "${LWIP_SRC:-$LWIP_WORK/src}"
}

# src/stack/layout.ts from port_api.h; written only when it changes.
lwip_layout() {
	mkdir -p "$LWIP_WORK"
	gcc -std=c11 -Wall -Wextra -Werror -Ilwip-port lwip-port/layout.c -o "$LWIP_WORK/layout" || return 1
	"$LWIP_WORK/layout" >"$LWIP_WORK/layout.ts" || return 1
	if ! cmp -s "$LWIP_WORK/layout.ts" src/stack/layout.ts; then
		cp "$LWIP_WORK/layout.ts" src/stack/layout.ts
		echo "lwip: src/stack/layout.ts changed"
	fi
}

# SHA-256 over everything the artefact depends on.
lwip_input_hash() {
	local tree
	tree=$(lwip_tree)
	{
		emcc -dumpversion
		cat lwip-port/*.c lwip-port/*.h lwip-port/arch/*.h lwip-port/exports.list lwip-port/build.inc.sh
		find "$tree/src/core" "$tree/src/netif" "$tree/src/include" -type f -print0 |
			sort -z | xargs -0 cat
	} | sha256sum | cut -d' ' -f1
}

lwip_compile() {
	local tree=$1 root=$PWD out=$PWD/$LWIP_WORK/obj sources
	local flags=(
		-O3 -flto -msimd128 -mbulk-memory -fno-strict-aliasing -std=gnu11
		-I"$PWD/lwip-port" -I"$(realpath "$1")/src/include" -I"$(realpath "$1")/src"
	)
	# Ours with warnings as errors. Upstream compares 16-bit values with our larger windows.
	local quiet=(-Wno-tautological-constant-out-of-range-compare)
	local strict=(-Wall -Wextra -Werror -Wshadow -Wno-unused-parameter)
	rm -rf "$out"
	mkdir -p "$out"
	sources=("${LWIP_CORE[@]/#/$(realpath "$tree")/src/core/}" "$(realpath "$tree")/src/netif/ethernet")
	(cd "$out" && emcc "${flags[@]}" "${quiet[@]}" -c "${sources[@]/%/.c}") || return 1
	(cd "$out" && emcc "${flags[@]}" "${strict[@]}" -c "$root"/lwip-port/port_*.c) || return 1
	emcc "${flags[@]}" "$out"/*.o -o "$LWIP_WORK/lwip.wasm" \
		-sSTANDALONE_WASM --no-entry -sFILESYSTEM=0 -sASSERTIONS=0 \
		-sINITIAL_MEMORY=268435456 -sTOTAL_STACK=262144 \
		-sEXPORTED_FUNCTIONS="$(sed 's/^/_/' lwip-port/exports.list | paste -sd,)" || return 1
}

build_lwip() {
	local tree hash
	tree=$(lwip_tree)
	if [[ ! -f $tree/src/core/tcp.c ]]; then
		echo "lwip: no lwIP source in $tree" >&2
		return 1
	fi
	hash=$(lwip_input_hash)
	if [[ -f dist/wasm/lwip.wasm && -f dist/wasm/lwip.revision ]] &&
		grep -q "$hash" dist/wasm/lwip.revision; then
		lwip_layout
		return
	fi
	mkdir -p dist/wasm
	lwip_compile "$tree" || return 1
	lwip_layout || return 1
	cp "$LWIP_WORK/lwip.wasm" dist/wasm/lwip.wasm
	cp "$tree/COPYING" dist/wasm/lwip.LICENSE
	{
		echo "lwip $(cat "$tree/.revision" 2>/dev/null || echo 'from LWIP_SRC')"
		echo "inputs $hash"
		sha256sum dist/wasm/lwip.wasm | sed 's/ .*//; s/^/sha256 /'
	} >dist/wasm/lwip.revision
	echo "lwip: dist/wasm/lwip.wasm ($(stat -c %s dist/wasm/lwip.wasm) bytes), $(head -1 dist/wasm/lwip.revision)"
}
