# shellcheck shell=bash
# Builds the packet core. Sourced by build.sh; call build_wasm from the project's root.
#
# dist/wasm/packetcore.wasm  the module: no imports, no heap, 36 pages that never grow
# build/packetcore.wat       its text form, for the golden test and for reading
# src/packetcore/layout.ts   the memory map, generated from wasm/layout.ts

# Strips the types of wasm/layout.ts: comments and expressions are the same in both languages.
wasm_layout() {
	{
		echo '// Generated from wasm/layout.ts by wasm/build.inc.sh. Do not edit.'
		sed -E 's/^(export const [A-Z0-9_]+): (u32|i32) =/\1 =/' wasm/layout.ts
	} >src/packetcore/layout.ts.new || return 1
	if grep -E '^export' src/packetcore/layout.ts.new | grep -qvE '^export const [A-Z0-9_]+ = [^;]+;$'; then
		echo 'wasm/layout.ts: a line that is not "export const NAME: u32|i32 = expression;"' >&2
		rm -f src/packetcore/layout.ts.new
		return 1
	fi
	if cmp -s src/packetcore/layout.ts.new src/packetcore/layout.ts; then
		rm -f src/packetcore/layout.ts.new # an unchanged file keeps its time, and tsc its cache
	else
		mv src/packetcore/layout.ts.new src/packetcore/layout.ts
	fi
}

build_wasm() {
	local pages said
	wasm_layout || return 1
	pages=$(sed -nE 's/^export const PAGES: u32 = ([0-9]+);$/\1/p' wasm/layout.ts)
	mkdir -p dist/wasm build
	said=$(node_modules/.bin/asc wasm/index.ts --runtime stub -O3 --enable simd \
		--initialMemory "$pages" --maximumMemory "$pages" \
		--outFile build/packetcore.wasm --textFile build/packetcore.wat 2>&1) || {
		printf '%s\n' "$said" >&2
		return 1
	}
	if [ -n "$said" ]; then
		printf '%s\nwasm: a compiler warning is an error here\n' "$said" >&2
		return 1
	fi
	mv build/packetcore.wasm dist/wasm/packetcore.wasm
}
