// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package resolver

import "net"

func makeRoom(c *net.UDPConn) { _ = c.SetReadBuffer(1 << 20) }
