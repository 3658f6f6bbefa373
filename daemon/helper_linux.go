// SPDX-License-Identifier: Apache-2.0

package daemon

import "github.com/seed-649e9bbc/paddock/daemon/enforce"

// HelperMain runs one of the processes the daemon starts for itself: the guard,
// the canary.
func HelperMain(args []string) error { return enforce.HelperMain(args) }
