#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Starts a private daemon on example requirements, governs a small session of an agent of its own, and tells what
# happened and why. Leaves nothing behind.
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "make demo: run it as root: the daemon loads kernel programs" >&2; exit 1; }
paddock=${PADDOCK_BIN:-$(cd "$(dirname "$0")/.." && pwd)/bin/paddock}

dir=$(mktemp -d)
daemon=
mounted=()
made=
finish() {
	if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; fi
	cd /
	for at in "${mounted[@]}"; do
		# What somebody else has pinned meanwhile would be gone with the mount.
		if [ "$at" = /sys/fs/bpf ] && find "$at" -mindepth 1 ! -name '*.debug' | grep -q .; then continue; fi
		umount "$at" || true # it says why itself
	done
	if [ -n "$made" ]; then rmdir "$made" || true; fi
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# What a bare machine may lack, and loses again.
if ! mountpoint -q /sys/fs/bpf; then
	mount -t bpf bpf /sys/fs/bpf
	mounted+=(/sys/fs/bpf)
fi
if ! grep -q ' cgroup2 ' /proc/mounts; then
	unified=/sys/fs/cgroup/unified
	if [ ! -d "$unified" ]; then
		mkdir "$unified"
		made=$unified
	fi
	mount -t cgroup2 none "$unified"
	mounted+=("$unified")
fi

# An agent nobody else has: a copy of the shell under a name of its own. Real agents on this machine stay as they are.
agent=paddock-demo-agent-$$
mkdir -p "$dir/root/etc/paddock" "$dir/work"
cp /bin/sh "$dir/work/$agent"
cp /bin/ls "$dir/work/innocent"
ln -s /bin/ls "$dir/work/link"
printf '[[agents]]\nname = "demo"\n[[agents.match]]\nprogram = ["%s"]\n' "$agent" >"$dir/agents.toml"
cat >"$dir/root/etc/paddock/requirements.toml" <<'TOML'
[rules]
prefix_rules = [
  { pattern = [{ token = "ls" }], decision = "forbidden", justification = "use the file tool" },
]
[paddock]
mode = "enforce"
[paddock.network]
default = "allow"
[[paddock.network.rules]]
cidr = "127.0.0.99/32"
decision = "deny"
justification = "an internal service"
TOML
chmod -R go-w "$dir/root"

"$paddock" daemon --root "$dir/root" --state-dir "$dir/state" --run-dir "$dir/run" --agents "$dir/agents.toml" \
	--detach-on-stop 2>"$dir/log" &
daemon=$!
export PADDOCK_SOCKET=$dir/run/paddock.sock
until [ -S "$PADDOCK_SOCKET" ]; do
	kill -0 "$daemon" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
	sleep 0.1
done

# Where /bin is /usr/bin, a shell that is refused a program in the one tries the other: each refusal would be told twice.
path=
while IFS= read -r -d : at; do
	at=$(readlink -e "$at") || continue
	case ":$path:" in *":$at:"*) ;; *) path=${path:+$path:}$at ;; esac
done <<<"$PATH:"

echo "== The session: an agent runs these commands; ls is forbidden, 127.0.0.99 is denied"
cd "$dir/work"
while IFS= read -r command; do
	printf '\n$ %s\n' "$command"
	PATH=$path "./$agent" -c "$command; true" 2>&1 | sed 's/^/    /'
done <<'COMMANDS'
echo hello
ls
echo $(ls)
FOO=1 ls > f
env ls
bash -c 'ls'
./innocent
./link
bash -c 'exec 3<>/dev/tcp/127.0.0.99/9'
COMMANDS

printf '\n== What Paddock recorded\n'
"$paddock" events --limit 200 | grep -v ' process [0-9]* ended'
printf '\n== What is in force\n'
"$paddock" status || true
