// SPDX-License-Identifier: Apache-2.0

// Package api is how people and tools talk to the daemon: HTTP and JSON over a
// unix socket, with the peer identified by the kernel.
//
//	GET  /v1/status
//	GET  /v1/sessions
//	GET  /v1/events?session=&name=&after=&limit=&newest=1&follow=1   one JSON event a line
//	POST /v1/run
//
// Root sees everything, another user the sessions of that user. A governed
// process may ask for the status and for nothing else: what an agent starts
// must not read what is recorded of it, nor begin sessions of its own.
package api
