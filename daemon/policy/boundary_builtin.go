// SPDX-License-Identifier: Apache-2.0

package policy

import "strings"

// What is built into every boundary. Each list says why its paths are in it;
// docs/requirements.md shows them all.

// Where every tool expects to be able to write.
var temporaryPaths = []string{"/tmp", "/var/tmp", "/dev/shm"}

// Caches of tools: what is in them was downloaded or can be made again. Beside some
// of them lie files that hold credentials or are run by others; so they are named
// one by one and never as a whole ~/.cargo or ~/.local.
var cachePaths = []string{
	"~/.cache", "~/.npm", "~/go/pkg", "~/.cargo/registry", "~/.cargo/git", "~/.cargo/.package-cache", "~/.cargo/.package-cache-mutate",
	"~/.cargo/.global-cache", "~/.cargo/.global-cache-journal", "~/.gradle/caches", "~/.gradle/daemon", "~/.gradle/native", "~/.gradle/notifications", "~/.gradle/workers",
	"~/.gradle/wrapper", "~/.gradle/.tmp", "~/.m2/repository", "~/.m2/wrapper", "~/.nuget/packages", "~/.local/share/pnpm/store",
	"~/.yarn/berry/cache", "~/.bun/install/cache", "~/.ivy2/cache", "~/.config/go/telemetry",
}

// What another program runs or obeys later, outside of the session: in a home
// directory.
var startupPaths = []string{
	// shells, sessions, the search path
	"~/.bashrc", "~/.bash_profile", "~/.bash_login", "~/.bash_logout", "~/.bash_aliases", "~/.profile", "~/.zshrc",
	"~/.zshenv", "~/.zprofile", "~/.zlogin", "~/.zlogout", "~/.config/fish", "~/.inputrc", "~/.pam_environment",
	// what prompts and plugins keep in a cache, and run when a shell or an editor starts
	"~/.cache/p10k-*", "~/.cache/gitstatus", "~/.cache/zsh", "~/.cache/oh-my-zsh", "~/.cache/antidote", "~/.cache/sheldon", "~/.cache/fish",
	"~/.cache/starship", "~/.cache/wal", "~/.cache/nvim",
	"~/.xprofile", "~/.xinitrc", "~/.xsession", "~/.xsessionrc", "~/.Xresources", "~/.config/autostart",
	"~/.config/systemd", "~/.config/environment.d", "~/.local/share/systemd", "~/.local/share/applications",
	"~/.local/share/dbus-1", "~/.local/bin", "~/bin", "~/.cargo/bin", "~/go/bin",
	// desktops: window managers, notification servers, terminals, and what is loaded into programs with windows
	"~/.config/dunst", "~/.config/mako", "~/.config/swaync", "~/.config/i3", "~/.i3", "~/.config/sway", "~/.config/hypr", "~/.config/niri",
	"~/.config/sxhkd", "~/.config/polybar", "~/.config/waybar", "~/.config/rofi", "~/.config/xfce4", "~/.config/dconf", "~/.config/gtk-3.0",
	"~/.config/gtk-4.0", "~/.local/share/gnome-shell", "~/.local/share/plasma", "~/.local/share/kio", "~/.config/kitty", "~/.config/alacritty",
	"~/.config/wezterm", "~/.wezterm.lua", "~/.config/ghostty", "~/.config/foot", "~/.config/zellij",
	// editors
	"~/.vimrc", "~/.vim", "~/.config/nvim", "~/.emacs", "~/.emacs.d", "~/.config/emacs", "~/.nanorc",
	"~/.config/Code/User", "~/.vscode", "~/.vscode-server", "~/.config/JetBrains", "~/.config/zed",
	// tools that run what their configuration says
	"~/.gitconfig", "~/.config/git", "~/.git-templates", "~/.hgrc", "~/.npmrc", "~/.yarnrc", "~/.yarnrc.yml",
	"~/.config/pip", "~/.pip", "~/.pypirc", "~/.cargo/config.toml", "~/.cargo/config", "~/.gradle/init.gradle",
	"~/.gradle/init.d", "~/.gradle/gradle.properties", "~/.m2/settings.xml", "~/.condarc", "~/.config/direnv",
	"~/.tmux.conf", "~/.config/tmux", "~/.screenrc", "~/.gdbinit", "~/.config/gdb", "~/.lldbinit", "~/.psqlrc",
	"~/.config/containers", "~/.docker", "~/.config/mise", "~/.asdfrc", "~/.pythonrc", "~/.config/go/env",
}

// AtHome returns what of a home directory every boundary protects since others run or
// obey it, relative to the home directory. There are no patterns among them.
func AtHome() []string {
	out := make([]string, len(startupPaths))
	for i, p := range startupPaths {
		out[i] = strings.TrimPrefix(p, "~/")
	}
	return out
}

// The same for the whole machine; only an agent that runs as root could write there
// at all, or someone who was given the directory.
var systemPaths = []string{
	"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/opt", "/var/spool/cron", "/var/lib/systemd",
	"/run/systemd", "/run/udev",
}

// In a project: what is run or obeyed when its owner works in it. Codex keeps
// .git, .agents, .codex and .aws from being written; of .git, Paddock keeps what
// others run, so that an agent can commit.
// A commondir in .git would have git take its configuration from elsewhere. Modules
// are those at any depth, worktrees only those that are, or were, outside of the project.
var projectPaths = []string{
	".git/hooks", ".git/config", ".git/config.worktree", ".git/commondir", ".git/modules/*/hooks", ".git/modules/*/config", ".git/modules/*/config.worktree",
	".git/modules/*/commondir", ".git/worktrees/*/config.worktree", ".git/worktrees/*/commondir", ".agents", ".aws",
}

// Credentials, and what opens them.
var secretPaths = []string{
	"~/.ssh", "~/.gnupg", "~/.aws", "~/.azure", "~/.config/gcloud", "~/.kube", "~/.oci", "~/.config/doctl", "~/.config/hcloud",
	"~/.terraform.d/credentials.tfrc.json", "~/.vault-token", "~/.config/sops", "~/.config/op", "~/.config/Bitwarden",
	"~/.password-store", "~/.local/share/keyrings", "~/.local/share/kwalletd", "~/.config/kwalletrc",
	"~/.netrc", "~/.git-credentials", "~/.config/gh/hosts.yml", "~/.config/glab-cli", "~/.docker/config.json",
	"~/.cargo/credentials.toml", "~/.cargo/credentials", "~/.pgpass", "~/.my.cnf", "~/.Xauthority",
	"~/.bash_history", "~/.zsh_history", "~/.local/share/fish/fish_history", "~/.python_history", "~/.psql_history",
	"~/.config/git/credentials", "~/.config/hub", "~/.config/rclone", "~/.config/1Password", "~/.config/containers/auth.json",
	"/run/user/*/containers/auth.json", "~/.s3cfg", "~/.boto", "~/.databrickscfg", "~/.kaggle",
	"~/.pulumi/credentials.json", "~/.fly/config.yml", "~/.cloudflared", "~/.config/netlify", "~/.local/share/com.vercel.cli",
	// wallets
	"~/.bitcoin", "~/.ethereum", "~/.electrum", "~/.config/solana",
	// what has a notebook's server run code
	"~/.local/share/jupyter/runtime", "~/.config/code-server",
	// what opens the user's screen and bus where they listen on TCP; what is typed, and what types
	"~/.serverauth.*", "~/.dbus-keyrings", "/run/user/*/gdm/Xauthority", "/run/user/*/.mutter-Xwaylandauth.*", "/run/user/*/xauth_*",
	"/run/lightdm", "/dev/input", "/dev/uinput",
	// browsers: cookies and saved passwords
	"~/.mozilla", "~/.config/google-chrome", "~/.config/chromium", "~/.config/BraveSoftware", "~/.config/microsoft-edge",
	"~/.config/vivaldi", "~/.config/opera", "~/.thunderbird", "~/snap/firefox", "~/snap/chromium",
	"~/.var/app/org.mozilla.firefox", "~/.var/app/com.google.Chrome", "~/.var/app/org.chromium.Chromium",
	// tickets, and what is typed, shown, heard and seen at this machine
	"/tmp/krb5cc_*", "/run/user/*/krb5cc*", "/dev/hidraw*", "/dev/vcs*", "/dev/fb*", "/dev/snd", "/dev/video*", "/dev/media*",
	"/etc/shadow", "/etc/gshadow", "/etc/ssh/ssh_host_*_key", "/etc/sudoers.d", "/proc/kcore",
}

// agentPaths are an agent's own: its program writes there, what it starts does not.
var agentPaths = map[string][]string{
	"codex":       {"~/.codex", ".codex"},
	"claude-code": {"~/.claude", "~/.claude.json", "~/.local/share/claude", "~/.local/state/claude", ".claude", ".mcp.json"},
	"gemini-cli":  {"~/.gemini", ".gemini"},
	"cursor":      {"~/.cursor", "~/.config/Cursor", "~/.config/cursor", ".cursor"},
	"copilot":     {"~/.copilot", "~/.config/github-copilot"},
	"opencode":    {"~/.local/share/opencode", "~/.local/state/opencode", "~/.config/opencode", ".opencode"},
	"qwen":        {"~/.qwen", ".qwen"},
}

// agentSecrets are an agent's credentials: its own program reads them, nobody else.
var agentSecrets = map[string][]string{
	"codex":       {"~/.codex/auth.json", "~/.codex/.credentials.json"},
	"claude-code": {"~/.claude/.credentials.json"},
	"gemini-cli":  {"~/.gemini/oauth_creds.json", "~/.gemini/google_accounts.json"},
	"cursor":      {"~/.config/Cursor/User/globalStorage/state.vscdb", "~/.config/cursor/auth.json"},
	"copilot":     {"~/.config/github-copilot", "~/.copilot/config.json"},
	"opencode":    {"~/.local/share/opencode/auth.json"},
	"qwen":        {"~/.qwen/oauth_creds.json"},
}

// brokerPaths are sockets of services that start programs, type, press buttons, or act
// otherwise, for whoever asks: what they do belongs to no session. Nor may the agent's
// own program reach them: a command can start it with code of its choice
// (NODE_OPTIONS, LD_PRELOAD), and the user's bus starts services.
var brokerPaths = []string{
	"/run/docker.sock", "/run/containerd", "/run/podman", "/run/crio", "/run/buildkit", "/run/user/*/podman",
	"/run/user/*/docker.sock", "/run/user/*/containerd-rootless", "/run/user/*/buildkit", "/run/snapd.socket", "/run/snapd-snap.socket",
	"/run/libvirt", "/run/user/*/libvirt", "/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket", "/var/lib/incus/unix.socket",
	"/run/systemd/private", "/run/systemd/io.system.ManagedOOM", "/run/systemd/machine", "/run/user/*/systemd/private",
	"/run/dbus/system_bus_socket", "/run/user/*/bus", "/tmp/dbus-*", "/run/user/*/at-spi",
	"/tmp/.X11-unix", "/run/user/*/wayland-*", "/tmp/.ICE-unix", "/run/user/*/gnome-shell",
	"/run/user/*/sway-ipc.*", "/run/user/*/i3", "/run/user/*/hypr", "/run/user/*/niri.*",
	"/run/user/*/.ydotool_socket", "/tmp/.ydotool_socket",
	// terminals and editors
	"/tmp/tmux-*", "/run/user/*/tmux-*", "/run/screen", "/run/user/*/screen", "/run/user/*/zellij", "/tmp/zellij-*",
	"/run/user/*/wezterm", "/run/user/*/kitty*", "/tmp/kitty*", "/run/user/*/Alacritty-*", "/run/user/*/foot*",
	"/tmp/emacs*", "/run/user/*/emacs", "/run/user/*/nvim.*", "/tmp/nvim.*",
	"/run/user/*/vscode-*", "/tmp/vscode-*", "/run/user/*/snapd-session-agent.socket", "/run/cups/cups.sock",
	"/run/systemd/io.systemd.*", "/run/tailscale", "/run/user/*/gvfsd",
	// Docker and containers in virtual machines of the user's
	"~/.docker/run", "~/.docker/desktop", "~/.colima", "~/.lima", "~/.rd",
	"/run/user/*/dbus-*", "/tmp/i3-*", "/tmp/hypr",
	// sound servers hear, and load modules from any file
	"/run/user/*/pulse", "/run/user/*/pipewire-*", "/tmp/pulse-*", "/run/pulse", "/run/pipewire",
	// what runs a command when a file changes, or builds for whoever asks
	"/usr/local/var/run/watchman", "/run/watchman", "~/.local/state/watchman", "~/.sbt/1.0/server",
}

// namePaths are sockets of services that resolve names: they ask in their own name,
// whatever the names say and wherever they lead. Clients that cannot reach them ask a
// DNS server, which is judged.
var namePaths = []string{"/run/systemd/resolve", "/run/nscd", "/run/avahi-daemon"}

// keyPaths are sockets of services that use the user's keys for whoever asks.
var keyPaths = []string{
	"/run/pcscd", "/run/user/*/keyring", "/run/user/*/gnupg", "/run/user/*/gcr", "/run/user/*/openssh_agent",
	"/run/user/*/ssh-agent.socket", "/tmp/ssh-*", "~/.1password", "~/.bitwarden-ssh-agent.sock",
	"/run/user/*/org.keepassxc.KeePassXC.BrowserServer", "/run/user/*/app/org.keepassxc.KeePassXC",
}

// What may not be a project: directories of the system, and below them.
var systemDirectories = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr", "/var",
}

// What is everybody's, and cannot be one session's project itself.
var sharedDirectories = []string{"/home", "/opt", "/srv", "/mnt", "/media", "/tmp", "/var/tmp", "/dev/shm"}

func builtIn() []PathRule {
	var out []PathRule
	add := func(kind PathKind, agent string, texts []string) {
		for _, t := range texts {
			out = append(out, PathRule{Pattern: Pattern{Text: t, Source: byDefault}, Kind: kind, Agent: agent})
		}
	}
	add(Writable, "", temporaryPaths)
	add(Writable, "", cachePaths)
	add(Protected, "", startupPaths)
	add(Protected, "", systemPaths)
	add(Protected, "", projectPaths)
	add(Unreadable, "", secretPaths)
	for _, agent := range sortedKeys(agentPaths) {
		add(Protected, agent, agentPaths[agent])
		add(Unreadable, agent, agentSecrets[agent])
	}
	add(Broker, "", brokerPaths)
	add(Broker, "", keyPaths)
	add(Broker, "", namePaths)
	return out
}
