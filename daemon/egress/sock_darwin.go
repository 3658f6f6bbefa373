// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"net/netip"
	"syscall"
)

// ended reports whether the other side will send nothing more than what is there.
// kqueue wakes for data and for the end; if it woke and there is no more, it was the end.
func ended(_ int, woken bool) bool { return woken }

// ahead does nothing here.
func ahead(syscall.RawConn, netip.AddrPort) error { return nil }
