// SPDX-License-Identifier: Apache-2.0

package installer

import (
	_ "embed" // the template below
	"fmt"
	"path"
	"strings"

	"howett.net/plist"
)

// CompanionLabel is what launchd knows the companion by.
const CompanionLabel = "dev.paddock.companion"

//go:embed companion.service.tmpl
var companionUnit string

// CompanionUnit is the systemd user unit of the companion, to be installed as
// /usr/lib/systemd/user/paddock-companion.service. program is its file, an absolute
// path.
func CompanionUnit(program string) ([]byte, error) {
	return unit("companion.service", companionUnit, program)
}

// launchAgent has the keys of launchd.plist(5).
type launchAgent struct {
	Label            string   `plist:"Label"`
	ProgramArguments []string `plist:"ProgramArguments"`
	RunAtLoad        bool     `plist:"RunAtLoad"`
	KeepAlive        bool     `plist:"KeepAlive"`
	// Aqua: in sessions with a screen only.
	LimitLoadToSessionType string `plist:"LimitLoadToSessionType"`
	ProcessType            string `plist:"ProcessType"`
	ThrottleInterval       int    `plist:"ThrottleInterval"` // seconds
}

// CompanionAgent is the launchd agent of the companion, to be installed as
// /Library/LaunchAgents/dev.paddock.companion.plist.
func CompanionAgent(program string) ([]byte, error) {
	if err := checkProgram(program); err != nil {
		return nil, err
	}
	out, err := plist.MarshalIndent(launchAgent{
		Label: CompanionLabel, ProgramArguments: []string{program, "companion"}, RunAtLoad: true, KeepAlive: true,
		LimitLoadToSessionType: "Aqua", ProcessType: "Interactive", ThrottleInterval: 5,
	}, plist.XMLFormat, "\t")
	if err != nil {
		return nil, fmt.Errorf("writing the companion's launch agent: %w", err)
	}
	return append(out, '\n'), nil
}

func checkProgram(program string) error {
	if !path.IsAbs(program) || strings.ContainsAny(program, " \t\r\n\"'\\$;") {
		return fmt.Errorf("the program %q: must be an absolute path without spaces and quotes", program)
	}
	return nil
}
