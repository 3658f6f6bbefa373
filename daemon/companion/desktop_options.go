// SPDX-License-Identifier: Apache-2.0

package companion

import "log/slog"

// DesktopOptions say how the user's screen is reached.
type DesktopOptions struct {
	// Bus is the address of the session bus; empty: the user's own. Not used on macOS.
	Bus string
	// Setgid: the environment is not believed.
	Setgid bool
	Log    *slog.Logger
}
