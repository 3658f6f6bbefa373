// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package egress

// memory is how many bytes connections may have together, and how many one buffer.
func memory() (pressure, largest int64) { return 512 << 20, 4 << 20 }

// unlock lets buffers that had a size grow: what had one keeps it here.
func (s *sock) unlock() bool { return false }

// owes says whether there are bytes for the other side: that is not known here.
func (s *sock) owes() bool { return false }
