// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"context"
	"os"
	"syscall"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/companion/dialog"
)

const (
	osascript   = "/usr/bin/osascript"
	swiftDialog = "/usr/local/bin/dialog"
)

// Desktop returns the screen of the user whose process this is, and what takes it
// down.
func Desktop(ctx context.Context, _ *api.Client, o DesktopOptions) (Screen, func(), error) {
	var program dialog.Program = dialog.AppleScript{Path: osascript}
	if ofRoot(swiftDialog) {
		program = dialog.SwiftDialog{Path: swiftDialog}
	}
	screen := dialog.New(ctx, program, o.Log)
	return screen, screen.Shutdown, nil
}

// ofRoot reports whether a program is root's, with nobody else to write it: another
// would press its own buttons.
func ofRoot(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0
}
