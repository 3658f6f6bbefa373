// SPDX-License-Identifier: Apache-2.0

// Package resolver answers the DNS of sessions. Whatever server a governed process
// asks, the kernel sends the question here, and the answer looks as if it came from
// there. The system's own resolvers (/etc/resolv.conf) are asked, with a message of
// our own making: of what the client wrote, the name and the type are passed on and
// nothing else.
//
//	question -> whose? has it too many? -> dropped
//	         -> a name at all? -> policy: denied? -> NXDOMAIN
//	         -> unfamiliar: asked a moment ago? -> the same answer
//	                        too much said in names? -> NXDOMAIN
//	         -> the system's resolvers -> answer: only what belongs to the question,
//	            nothing that hides a name later (ECH) or leads around TCP (h3)
//	         -> (session, name, address, until) is remembered -> client
//
// Unfamiliar names are resolved: a person is asked when the connection comes, which
// is then judged by the name that was resolved.
package resolver
