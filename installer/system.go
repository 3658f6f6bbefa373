// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"bytes"
	_ "embed" // the templates below
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

//go:embed daemon.service.tmpl
var daemonUnit string

// Where things are installed on Linux.
const (
	Program          = "/usr/bin/paddock"
	CompanionProgram = "/usr/libexec/paddock/companion"
	// CompanionGroup is what the companion's file, and nothing else, runs with.
	CompanionGroup = "paddock-ui"
)

// File is one to be installed, owned by root. Of a program the text is empty: it is
// Paddock's own.
type File struct {
	Path  string
	Mode  fs.FileMode // with fs.ModeSetgid
	Group string      // empty: root
	Text  []byte
}

// DaemonUnit is the systemd unit of the daemon.
func DaemonUnit(program string) ([]byte, error) { return unit("daemon.service", daemonUnit, program) }

// LinuxFiles lists what a Linux package installs, in this order: the group has to be
// there (systemd-sysusers) before the companion.
func LinuxFiles() ([]File, error) {
	daemon, err := DaemonUnit(Program)
	if err != nil {
		return nil, err
	}
	companion, err := CompanionUnit(CompanionProgram)
	if err != nil {
		return nil, err
	}
	return []File{
		{Path: "/usr/lib/sysusers.d/paddock.conf", Mode: 0o644, Text: []byte("# who may speak for a person: the companion's file alone\ng " + CompanionGroup + " -\n")},
		{Path: Program, Mode: 0o755},
		{Path: CompanionProgram, Mode: 0o755 | fs.ModeSetgid, Group: CompanionGroup},
		{Path: "/usr/share/polkit-1/actions/dev.paddock.policy", Mode: 0o644, Text: []byte(approval.PolkitPolicy)},
		{Path: "/usr/lib/systemd/system/paddock.service", Mode: 0o644, Text: daemon},
		{Path: "/usr/lib/systemd/user/paddock-companion.service", Mode: 0o644, Text: companion},
	}, nil
}

// unit fills in a unit's template.
func unit(name, text, program string) ([]byte, error) {
	if err := checkProgram(program); err != nil {
		return nil, err
	}
	t, err := template.New(name).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("writing the unit %s: %w", name, err)
	}
	var out bytes.Buffer
	// A percent sign begins a specifier of systemd's.
	if err := t.Execute(&out, strings.ReplaceAll(program, "%", "%%")); err != nil {
		return nil, fmt.Errorf("writing the unit %s: %w", name, err)
	}
	return out.Bytes(), nil
}
