// SPDX-License-Identifier: Apache-2.0

// Package api is how people and tools talk to the daemon: HTTP and JSON over a
// unix socket, with the peer identified by the kernel.
//
//	GET  /v1/status
//	GET  /v1/sessions
//	GET  /v1/events?session=&name=&after=&limit=&newest=1&follow=1   one JSON event a line
//	POST /v1/run
//	GET  /v1/approvals?follow=1          one JSON approval.Change a line
//	GET  /v1/approvals/history?limit=
//	POST /v1/approvals/{id}/answer
//	POST /v1/approvals/request           for hooks of agents
//	POST /v1/hooks                       for hooks of agents: what they were told
//	GET  /v1/governed?pid=
//	GET  /v1/grants, DELETE /v1/grants/{id}
//
// Root sees everything, another user the sessions of that user. A governed
// process may ask for the status and, as an agent's hook does, whether a tool call may
// happen; for nothing else: what an agent starts must not read what is recorded of it,
// nor begin sessions of its own, nor answer what its user is asked.
package api
