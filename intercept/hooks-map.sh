#!/bin/sh
# Writes the linker's version script for the symbols of hooks.list: hooks-map.sh LIST OUTPUT
set -eu
{
	echo '{ global:'
	awk '!/^#/ && NF { print "\t" $1 ";" }' "$1"
	echo 'local: *; };'
} >"$2"
