#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Everything CI does, in the order in which a failure is cheapest to find. Every step runs even when an earlier one
# failed, so that one run shows all that is wrong. The last line is always `N passed, N failed, N skipped`.
#
#   KERNELS=all tests/run.sh             every kernel of the VM tests
#   tests/run.sh ./daemon/... -run Foo   the same checks, then only these tests (arguments of `go test`)
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export CGO_ENABLED=0
# As the Makefile builds. Everything is compiled twice when half of the steps leave it out.
export GOFLAGS=-trimpath

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=$work/checks
: >"$checks"

# check NAME COMMAND...
check() {
	local name=$1 began=$SECONDS status
	shift
	if "$@" 2>&1; then
		printf 'ok    %s (%ds)\n' "$name" $((SECONDS - began))
		printf 'pass\t%s\n' "$name" >>"$checks"
	else
		status=$?
		printf 'FAIL  %s: exit status %d\n' "$name" "$status"
		printf 'fail\t%s\texit status %d\n' "$name" "$status" >>"$checks"
	fi
}

# Setup mostly waits for downloads, building needs nothing of it.
make --silent --no-print-directory setup >"$work/setup" 2>&1 &
setup=$!
# await PID FILE: what it printed, and its exit status.
await() {
	local status=0
	wait "$1" || status=$?
	cat "$2"
	return $status
}

check build-all make --silent --no-print-directory build-all
check setup await $setup "$work/setup"
check generate tests/setup/generated.sh
check vet go vet ./...
check vet-darwin env GOOS=darwin GOARCH=arm64 go vet ./...

# Built first: `go run` would answer 1 for whatever status the program ends with, and hide that it did not build.
if ! go build -o "$work/report" ./tests/report; then
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
# A cached result says nothing about the kernel under it, hence -count=1.
go_test=(go test -json -count=1 -timeout 25m)
if [ $# -gt 0 ]; then
	"$work/report" -checks "$checks" -- "${go_test[@]}" -p 1 "$@"
	exit
fi

# every: what attaches to this kernel's hooks, one package at a time, which leaves more than one processor idle; beside it
# the real Codex in its virtual machine, which takes one, and what attaches to nothing, in what time is left: an emulated
# daemon whose processor is taken away does not prove its gates in time. Then every kernel in a machine of its own.
every() {
	local status=0 hooked others out beside=()
	out=$(mktemp -d)
	mapfile -t hooked < <(go list ./ebpf ./daemon/enforce ./tests/... | grep -vE '/tests/(vm|codex)$')
	mapfile -t others < <(go list ./... | grep -vE '/(ebpf|daemon/enforce|tests(/.*)?)$')
	"${go_test[@]}" ./tests/codex >"$out/codex" &
	beside+=($!)
	nice -n 10 "${go_test[@]}" -p 1 "${others[@]}" >"$out/others" &
	beside+=($!)
	"${go_test[@]}" -p 1 "${hooked[@]}" || status=$?
	"${go_test[@]}" ./tests/vm || status=$?
	for one in "${beside[@]}"; do
		wait "$one" || status=$?
	done
	cat "$out"/*
	rm -r "$out"
	return $status
}
export -f every
# An array is not exported.
"$work/report" -checks "$checks" -- bash -c "$(declare -p go_test); every"
