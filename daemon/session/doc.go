// SPDX-License-Identifier: Apache-2.0

// Package session knows AI coding agents and the sessions they run in.
//
// Profiles say how an agent is recognised, by what the kernel saw of an exec:
// the file, the path it was called by and the arguments. An environment is
// never enough, for any process can set one. A profile finds an agent; it does
// not trust one: what is not recognised is not governed, and what is recognised
// by mistake is merely governed too.
//
// Table holds the sessions. Which process belongs to which session is kept in
// the kernel; here a session is known by the key the kernel gave it.
package session
