# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the setup scripts: apt without questions, with patience, and silent when it works.

# missing_packages NAME...: those that are not installed, one per line.
missing_packages() {
	local name
	for name in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
	done
}

# patiently COMMAND...: three attempts, and the output only of the last: mirrors time out now and then.
patiently() {
	local attempt log
	log=$(mktemp)
	for attempt in 1 2 3; do
		if "$@" >"$log" 2>&1; then
			rm -f "$log"
			return 0
		fi
		sleep $((attempt * 2))
	done
	cat "$log" >&2
	rm -f "$log"
	echo "setup: failed three times: $*" >&2
	return 1
}

# install_packages NAME...: the lists are fetched first when they are missing or too old to know the packages' files.
install_packages() {
	echo "setup: installing $*"
	export DEBIAN_FRONTEND=noninteractive
	local install=(apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300)
	"${install[@]}" "$@" >/dev/null 2>&1 && return
	patiently apt-get update -q
	patiently "${install[@]}" "$@"
}
