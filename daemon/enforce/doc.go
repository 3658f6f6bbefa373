// SPDX-License-Identifier: Apache-2.0

// Package enforce turns policy and sessions into kernel verdicts: it recognises
// agents, answers what the kernel holds, and proves with a canary that each gate
// works. On Linux it stands on package ebpf.
package enforce
