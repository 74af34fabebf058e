#!/usr/bin/env bash
# Installs the programs that the end-to-end tests drive, with apt, without starting their daemons.
# Needs root. Without these programs their tests skip loudly.
set -euo pipefail
programs=(iproute2 util-linux curl nftables miniupnpd nginx-light redis-server redis-tools python3 iputils-ping wget wrk iperf3 openssl busybox-static golang-go libc6-dev dnsmasq-base bind9-dnsutils memcached netcat-openbsd socat clang-format shellcheck lighttpd git musl-tools)
# Only where the architecture has them: without, the tests that need them skip.
optional=(gcc-multilib)
missing=()
absent=()
installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }
for p in "${programs[@]}"; do installed "$p" || missing+=("$p"); done
for p in "${optional[@]}"; do installed "$p" || absent+=("$p"); done
[ $((${#missing[@]} + ${#absent[@]})) -gt 0 ] || exit 0
# A fresh machine knows no package until it has asked.
apt-get -qq update
for p in "${absent[@]}"; do
	if apt-cache show "$p" >/dev/null 2>&1; then missing+=("$p"); fi
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing programs for the tests: ${missing[*]}"
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
	trap 'rm -f "$policy"' EXIT
fi
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
