// SPDX-License-Identifier: Apache-2.0

// Package join puts together why something ran with what ran: the prompt, the
// turn, the tool call, the decisions and who took them, the processes, files and
// connections, and the result.
//
// It works from stored events alone, so it answers the same long after the
// processes are gone. What the kernel saw is believed. What an agent says of
// itself is told as the agent's word; what a command of a tool call says is
// heard for that tool call only. Where there is no tool call id to join by, time
// and the process tree are used, and each such Link says how sure it is.
package join
