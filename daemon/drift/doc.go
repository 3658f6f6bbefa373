// SPDX-License-Identifier: Apache-2.0

// Package drift tells of changes to the files that manage agents and Paddock, by whom
// they were made, and puts back those that are Paddock's own. It works on Linux.
package drift
