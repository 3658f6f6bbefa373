// SPDX-License-Identifier: Apache-2.0

// Package egress is the managed network: every TCP connection of a session comes
// here, is judged by the name it goes to, and is passed on, refused, or held until
// somebody has answered.
//
// A connection comes in one of two ways. The kernel redirects it (Linux): then an
// Origin says whose it is and where it wanted to go. Or the client was told to use a
// proxy (macOS, containers): then it came to a listener of one session.
//
//	accept -> Flow -> enough of the first bytes for a name -> policy.Hosts
//	  allow  the addresses are judged too, then dial, then bytes go both ways unread
//	  ask    held: one question for all connections of a session to one place
//	  deny   an answer in the client's own protocol that names the rule
//
// TLS is never terminated. The name is what the client says (SNI, Host, CONNECT,
// SOCKS), and it must be a name of the address the connection goes to. Where the
// client says none, it is the name that the session was given the address for. What
// is not understood is never allowed because of that.
package egress
