// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// Where a person may be asked, an agent is kept from answering; not where nobody is.
func TestGuardWherePeopleAreAsked(t *testing.T) {
	const prompt, host = "[rules]\nprefix_rules = [{ pattern = [{ token = \"a\" }], decision = \"prompt\" }]\n", "[paddock.network]\nunfamiliar = \"ask\"\n"
	for name, test := range map[string]struct {
		layers []string
		want   Boundary
	}{
		"nobody is asked":               {[]string{"[rules]\nprefix_rules = [{ pattern = [{ token = \"a\" }], decision = \"forbidden\" }]\n"}, Boundary{}},
		"about a command":               {[]string{prompt}, Boundary{Mode: FullAccess, Guard: true}},
		"about every command":           {[]string{"[paddock]\nunmatched = \"prompt\"\n"}, Boundary{Mode: FullAccess, Guard: true}},
		"about a host":                  {[]string{host}, Boundary{Mode: FullAccess, Guard: true}},
		"requirements want it anyway":   {[]string{"[paddock.approvals]\nguard = true\n"}, Boundary{Mode: FullAccess, Guard: true}},
		"about no host":                 {[]string{"[paddock.network]\nunfamiliar = \"deny\"\n"}, Boundary{}},
		"requirements do without":       {[]string{prompt + "[paddock.approvals]\nguard = false\n"}, Boundary{}},
		"one layer does not do without": {[]string{prompt + "[paddock.approvals]\nguard = false\n", "[paddock.approvals]\nguard = true\n"}, Boundary{Mode: FullAccess, Guard: true}},
		"the boundary is there":         {[]string{prompt + "[paddock.boundary]\nmode = \"read-only\"\n"}, Boundary{Table: true, Mode: ReadOnly}},
	} {
		t.Run(name, func(t *testing.T) {
			var layers []*Requirements
			for _, text := range test.layers {
				r, err := Parse("f", []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				layers = append(layers, r)
			}
			got := Merge(layers...).Limits()
			if got.Mode != test.want.Mode || got.Guard != test.want.Guard {
				t.Errorf("%v, guard %v; want %v, %v", got.Mode, got.Guard, test.want.Mode, test.want.Guard)
			}
		})
	}
	for _, r := range (Boundary{Mode: FullAccess, Guard: true}).Rules() {
		if r.Kind != Broker {
			t.Errorf("it speaks of a file: %v", r)
		}
	}
}

// What the user's shell, desktop or editor runs later is none of a session's, also where
// the home directory is its project.
func TestWhatTheUserRunsLaterIsProtected(t *testing.T) {
	rules := Boundary{Mode: WorkspaceWrite}.Rules()
	for _, path := range []string{
		"~/.bashrc", "~/.profile", "~/.zshenv", "~/.config/fish/config.fish", "~/.local/bin/paddock", "~/bin/paddock", "~/.config/autostart/x.desktop",
		"~/.config/systemd/user/x.service", "~/.config/environment.d/x.conf", "~/.pam_environment", "~/.local/share/dbus-1/services/x.service",
		"~/.config/gtk-3.0/settings.ini", "~/.config/dunst/dunstrc", "~/.tmux.conf", "~/.config/sway/config", "/var/spool/cron/atjobs/a0001", "/etc/xdg/autostart/x.desktop",
	} {
		near, found := "", Writable
		for _, r := range rules {
			if r.Agent == "" && (r.Kind == Writable || r.Kind == Protected) && within(path, r.Text) && len(r.Text) >= len(near) {
				near, found = r.Text, r.Kind
			}
		}
		if near == "" || found != Protected {
			t.Errorf("%s: %s %v", path, near, found)
		}
	}
}
