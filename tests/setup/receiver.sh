# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the scripts that build a receiver of events from released modules.

# build_receiver TITLE BINARY WANTED ARGUMENT...: `go build` with these arguments in this directory, whose go.sum pins the
# modules, unless `BINARY --version` says WANTED already. Then it says nothing.
build_receiver() {
	local title=$1 binary=$2 wanted=$3 log attempt
	shift 3
	[ "$("$binary" --version 2>/dev/null)" = "$wanted" ] && return

	echo "setup: building $title"
	mkdir -p "$(dirname "$binary")"
	log=$(mktemp)
	for attempt in 1 2 3; do
		# Downloads fail now and then; what was downloaded and built before is kept. go.mod decides, whatever the machine's own settings say.
		if CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -o "$binary.new" "$@" >"$log" 2>&1; then
			mv "$binary.new" "$binary"
			break
		fi
		if [ "$attempt" = 3 ]; then
			cat "$log" >&2
			rm -f "$log" "$binary.new"
			echo "setup: building $title failed three times" >&2
			exit 1
		fi
		sleep $((attempt * 2))
	done
	rm -f "$log"
	if [ "$("$binary" --version)" != "$wanted" ]; then
		echo "setup: $binary says it is $("$binary" --version), not $wanted" >&2
		exit 1
	fi
}
