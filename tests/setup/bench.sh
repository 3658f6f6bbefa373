#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what only `make bench` needs: two more proxies to compare with. Neither is started.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/apt.sh

mapfile -t missing < <(missing_packages squid haproxy)
[ ${#missing[@]} -gt 0 ] || exit 0

# Debian asks this whether a package may start its service (invoke-rc.d(8)).
if [ ! -e /usr/sbin/policy-rc.d ]; then
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
fi
install_packages "${missing[@]}"
